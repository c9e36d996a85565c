// Keeps self-refreshing fragments alive through lost connections and quiet while nobody looks.
const RETRY_AFTER_MS = 3000;
const HIGHEST_FINAL_STATUS = 499;
const waiting = new Set();

// A fragment asks again on the event "retry" (see its hx-trigger).
function askAgain(element) {
  if (element.isConnected && element.matches("[data-live]")) {
    element.dispatchEvent(new CustomEvent("retry"));
  }
}

function retryLater(event) {
  const element = event.detail.elt;
  if (!element.matches("[data-live]")) return;
  document.body.classList.add("connection-lost");
  setTimeout(() => askAgain(element), RETRY_AFTER_MS);
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const element = event.detail.elt;
  if (document.hidden && element.matches("[data-live]")) {
    event.preventDefault();
    waiting.add(element);
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const element of waiting) askAgain(element);
  waiting.clear();
});
document.addEventListener("htmx:sendError", retryLater);
document.addEventListener("htmx:timeout", retryLater);
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status > HIGHEST_FINAL_STATUS) retryLater(event);
});
document.addEventListener("htmx:afterOnLoad", () => {
  document.body.classList.remove("connection-lost");
});

// htmx keeps the focus on elements with an id; where the element is gone, its fragment takes it.
let focusHome = null;
document.addEventListener("htmx:beforeRequest", (event) => {
  // Before the request: a button that is disabled meanwhile loses the focus at once.
  const { elt, target } = event.detail;
  if (elt.contains(document.activeElement)) focusHome = target.id;
});
document.addEventListener("htmx:afterSettle", () => {
  if (focusHome && document.activeElement === document.body) {
    document.getElementById(focusHome)?.focus({ preventScroll: true });
    focusHome = null;
  }
});

// What was unfolded or folded stays so when its fragment is drawn anew; each such part has an id.
const folds = new Map();
document.addEventListener("htmx:beforeSwap", (event) => {
  for (const part of event.detail.target.querySelectorAll("details[id]")) folds.set(part.id, part.open);
});
document.addEventListener("htmx:load", (event) => {
  for (const [id, isOpen] of folds) {
    const part = document.getElementById(id);
    if (part && event.target.contains(part)) part.open = isOpen;
  }
});

// What a screen reader is told when a run ends.
document.addEventListener("htmx:load", (event) => {
  const news = event.target.closest("[data-announce]") ?? event.target.querySelector("[data-announce]");
  if (news) document.getElementById("announcer").textContent = news.dataset.announce;
});

// Filters apply at once; the button stays for everyone without script.
document.addEventListener("change", (event) => {
  event.target.closest("form[data-autosubmit]")?.requestSubmit();
});

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
});

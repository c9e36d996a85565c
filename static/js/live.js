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
  if (!element.matches("[data-live]")) return tellSilence();
  document.body.classList.add("connection-lost");
  setTimeout(() => askAgain(element), RETRY_AFTER_MS);
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const element = event.detail.elt;
  if (!element.matches("[data-live]")) return;
  if (element.querySelector(".snooze[open]")) event.preventDefault(); // somebody fills it in
  else if (document.hidden) {
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
  const { elt, xhr } = event.detail;
  if (!elt.matches("[data-live]")) tellRefusal(xhr);
  else if (xhr.status > HIGHEST_FINAL_STATUS) retryLater(event);
});
document.addEventListener("htmx:afterOnLoad", (event) => {
  document.body.classList.remove("connection-lost");
  if (event.detail.successful) refusal.hidden = true;
});

// What somebody asked for was not done: the sentences of the error's page say why.
const refusal = document.getElementById("refusal");
function tellSilence() {
  refusal.firstElementChild.textContent = "The server gave no answer, so whether it was done is not certain.";
  refusal.hidden = false;
}
function tellRefusal(xhr) {
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const more = xhr.status > HIGHEST_FINAL_STATUS ? ", .error-message ~ p:not(.actions, .muted)" : "";
  const words = [...page.querySelectorAll(`.error-message${more}`)];
  const said = words.map((part) => part.textContent.trim()).join(" ");
  refusal.firstElementChild.textContent = said || `The server refused this (HTTP ${xhr.status}).`;
  refusal.hidden = false;
}

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

// What a screen reader is told when a run ends or the state changes; each piece of news once.
const told = new Map();
for (const part of document.querySelectorAll("[data-announce]")) told.set(part.id, part.dataset.announce);
document.addEventListener("htmx:load", (event) => {
  const part = event.target.closest("[data-live], [data-announce]") ?? event.target.querySelector("[data-announce]");
  if (!part) return;
  const news = part.dataset.announce;
  if (news && told.get(part.id) !== news) document.getElementById("announcer").textContent = news;
  told.set(part.id, news);
});

// A field whose answer says what is wrong with it is marked as long as that is so.
document.addEventListener("htmx:load", (event) => {
  const field = event.target.id && document.querySelector(`[aria-describedby="${event.target.id}"]`);
  if (!field) return;
  field.toggleAttribute("aria-invalid", false);
  if (event.target.querySelector(".notice-error")) field.setAttribute("aria-invalid", "true");
});

// Filters apply at once; the button stays for everyone without script.
document.addEventListener("change", (event) => {
  event.target.closest("form[data-autosubmit]")?.requestSubmit();
});

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
});

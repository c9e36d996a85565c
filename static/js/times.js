// Keeps ages and countdowns current and adds the viewer's own time to exact instants.
// The wording follows app/web/formats.py.
const UNITS = [
  [86400, "d", 3600, "h"],
  [3600, "h", 60, "min"],
  [60, "min", 1, "s"],
];
// The server's clock is the one that counts.
const drawnAt = Date.parse(document.body.dataset.now ?? "");
const skew = Number.isNaN(drawnAt) ? 0 : drawnAt - Date.now();
const offset = Math.abs(skew) > 5000 ? skew : 0;

function spanText(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  for (const [size, unit, smaller, smallUnit] of UNITS) {
    if (left < size) continue;
    const small = Math.floor((left % size) / smaller);
    return `${Math.floor(left / size)} ${unit}` + (small ? ` ${small} ${smallUnit}` : "");
  }
  return `${left} s`;
}

function ageText(instant, now) {
  const seconds = (now - instant) / 1000;
  if (Math.abs(seconds) < 1) return "just now";
  const length = spanText(Math.abs(seconds));
  return seconds > 0 ? `${length.replace(/(min) \d+ s$/, "$1")} ago` : `in ${length}`;
}

function countdownText(instant, now) {
  return instant - now >= 1000 ? ageText(instant, now) : "due now";
}

function refresh() {
  if (document.hidden) return;
  const now = Date.now() + offset;
  for (const time of document.querySelectorAll("time.age")) {
    const words = time.classList.contains("countdown") ? countdownText : ageText;
    const text = words(Date.parse(time.dateTime), now);
    if (time.textContent !== text) time.textContent = text;
  }
}

function addLocalTime(root) {
  for (const time of root.querySelectorAll("time:is(.age, .instant)")) {
    const local = new Date(time.dateTime).toLocaleTimeString([], { timeZoneName: "short" });
    time.title = `${time.title.split(" · ")[0]} · ${local}`;
  }
}

// An age that stands alone takes the focus itself; in a row or a link it shows with theirs.
function makeReachable(root) {
  for (const time of root.querySelectorAll("time.age")) {
    if (!time.closest("a, button") && !time.closest("tr")?.querySelector("a, button")) time.tabIndex = 0;
  }
}

// Columns in the viewer's own zone are hidden until this fills them.
function fillLocalTimes(root) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const time of root.querySelectorAll("time.local")) {
    time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
  for (const heading of root.querySelectorAll("[data-local-zone]")) heading.textContent = `(${zone})`;
  for (const cell of root.querySelectorAll(".local-cell")) cell.classList.add("known");
}

refresh();
addLocalTime(document);
makeReachable(document);
fillLocalTimes(document);
setInterval(refresh, 1000);
document.addEventListener("visibilitychange", refresh);
document.addEventListener("htmx:load", (event) => {
  refresh();
  addLocalTime(event.target);
  makeReachable(event.target);
  fillLocalTimes(event.target);
});

// Shows the instant under the pointer in every chart of the page at once.
const pad = (number) => String(number).padStart(2, "0");

function words(time) {
  const at = new Date(time);
  const day = `${at.getUTCFullYear()}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
  return `${day} ${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())} UTC`;
}

function cursorOf(area) {
  const line = document.createElement("div");
  const reading = document.createElement("div");
  line.className = "plot-cursor";
  reading.className = "plot-reading";
  line.hidden = reading.hidden = true;
  area.append(line, reading);
  return { line, reading };
}

let charts = [];

function show(share) {
  for (const { area, line, reading, start, end } of charts) {
    const width = area.clientWidth;
    line.hidden = reading.hidden = false;
    line.style.left = `${share * width}px`;
    reading.textContent = words(start + share * (end - start));
    const room = width - reading.offsetWidth;
    reading.style.left = `${Math.max(0, Math.min(room, share * width + 6))}px`;
  }
}

function hide() {
  for (const { line, reading } of charts) line.hidden = reading.hidden = true;
}

function start() {
  const areas = [...document.querySelectorAll("[data-plot]")];
  if (areas.length === charts.length && areas.every((area, place) => area === charts[place].area)) return;
  charts = areas.map((area) => ({
    area,
    start: Date.parse(area.dataset.start),
    end: Date.parse(area.dataset.end),
    ...cursorOf(area),
  }));
  for (const { area } of charts) {
    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      show(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
    });
    area.addEventListener("pointerleave", hide);
  }
}

document.addEventListener("htmx:load", start);
start();

// Draws each chart of the page of metrics over the server's drawing, from the table beneath it.
// Pointing reads all charts at once; dragging looks closer, a double click goes back.
const SYNC_KEY = "metrics";
const FONT_SIZE = 12;
const DAY = 86400;
// As in plot.css.
const DASHES = { 1: [], 2: [9, 3.5], 3: [1.5, 3.5], 4: [11, 3.5, 1.5, 3.5], 5: [18, 4] };
const charts = [];

// A colour of the stylesheet as the browser resolves it in the present scheme.
function resolve(box, kind) {
  const probe = document.createElement("span");
  probe.className = kind;
  box.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const pad = (number) => String(number).padStart(2, "0");

// Labels of the time axis in UTC: hours while the marks are that close, else days.
function timeLabels(chart, marks, axis, space, step) {
  return marks.map((seconds) => {
    const at = new Date(seconds * 1000);
    if (step < DAY) return `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
    return at.toLocaleDateString("en-GB", { day: "2-digit", month: "short", timeZone: "UTC" });
  });
}

// Times in seconds, one array of values a line, and each cell's own words; oldest first.
function readTable(table) {
  const rows = [...table.tBodies[0].rows].reverse();
  const cells = rows.map((row) => [...row.cells].filter((cell) => cell.dataset.value !== undefined));
  const lines = cells[0].map((_, place) => cells.map((row) => row[place]));
  return {
    times: rows.map((row) => Number(row.dataset.at)),
    names: rows.map((row) => row.cells[0].textContent),
    values: lines.map((line) => line.map(({ dataset }) => (dataset.value === "" ? null : Number(dataset.value)))),
    words: lines.map((line) => line.map((cell) => (cell.dataset.value === "" ? "—" : cell.textContent.trim()))),
  };
}

// The points without a neighbour, which no line reaches.
function lonely(chart, line, isShown, gaps) {
  const values = chart.data[line];
  const isThere = (place) => values[place] !== null && values[place] !== undefined;
  return [...values.keys()].filter((place) => isThere(place) && !isThere(place - 1) && !isThere(place + 1));
}

class Trend {
  constructor(box) {
    this.box = box;
    this.plotArea = box.querySelector(".plot-area");
    const name = box.dataset.trend;
    this.data = readTable(document.querySelector(`[data-trend-table="${name}"]`));
    this.legend = document.querySelector(`[data-legend="${name}"]`);
    this.readings = [...this.legend.querySelectorAll("[data-reading]")];
    this.newest = this.readings.map((reading) => [...reading.childNodes]);
    this.at = this.legend.querySelector("[data-reading-at]");
    this.scale = box.dataset.scale.split(" ").map(Number);
    this.labels = box.dataset.labels.split("|");
    this.recolour();
    this.frame = document.createElement("div");
    this.frame.className = "trend-frame";
    this.frame.ariaHidden = "true";
    box.append(this.frame);
    this.chart = new uPlot(this.options(), [this.data.times, ...this.data.values], this.frame);
    box.classList.add("drawn");
    new ResizeObserver(() => this.chart.setSize(this.size())).observe(box);
  }

  size() {
    return { width: this.frame.clientWidth, height: this.frame.clientHeight };
  }

  labelWidth() {
    const pencil = document.createElement("canvas").getContext("2d");
    pencil.font = `${FONT_SIZE}px ${getComputedStyle(document.body).fontFamily}`;
    return Math.max(60, 12 + Math.max(...this.labels.map((label) => pencil.measureText(label).width)));
  }

  recolour() {
    this.colours = {
      text: resolve(this.box, "muted"),
      grid: resolve(this.box, "probe-line"),
      lines: Object.fromEntries(Object.keys(DASHES).map((tone) => [tone, resolve(this.box, `line-${tone}`)])),
    };
    this.chart?.redraw();
  }

  axis(more) {
    return {
      stroke: () => this.colours.text,
      font: `${FONT_SIZE}px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: () => this.colours.grid, width: 1 },
      ticks: { show: false },
      gap: 6,
      ...more,
    };
  }

  options() {
    const tones = [...this.legend.querySelectorAll("[data-tone]")].map((item) => item.dataset.tone);
    return {
      ...this.size(),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { sync: { key: SYNC_KEY }, y: false, points: { size: 7 } },
      hooks: { setCursor: [(chart) => this.read(chart.cursor.idx)] },
      scales: { y: { range: () => [0, this.scale.at(-1)] } },
      axes: [
        this.axis({ size: 26, values: timeLabels }),
        this.axis({ size: this.labelWidth(), splits: () => this.scale, values: () => this.labels }),
      ],
      series: [
        {},
        ...tones.map((tone) => ({
          stroke: () => this.colours.lines[tone],
          width: tone === "3" ? 2.25 : 1.75,
          dash: DASHES[tone],
          cap: "round",
          points: { show: true, size: 6, width: 0, fill: () => this.colours.lines[tone], filter: lonely },
        })),
      ],
    };
  }

  read(place) {
    const isOver = place !== null && place !== undefined;
    this.readings.forEach((reading, line) => {
      reading.replaceChildren(...(isOver ? [this.data.words[line][place]] : this.newest[line]));
    });
    this.at.textContent = isOver ? `from ${this.data.names[place]}` : "newest";
  }
}

function startAll() {
  if (typeof uPlot === "undefined") return; // the server's drawings stay
  for (const box of document.querySelectorAll("[data-trend]")) charts.push(new Trend(box));
}

const recolourAll = () => charts.forEach((trend) => trend.recolour());
document.addEventListener("theme-changed", recolourAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolourAll);
startAll();

// Draws the candle chart over the server's line: a chosen time, and what came before as one drags.
const MOST_POINTS = 800;
const PIXELS_PER_CANDLE = 1.5;
const PIXELS_OF_SCALE = 80;
const LOAD_WHEN_LEFT_BARS = 20;
const BARS_OF_MARGIN = 3;
const HOUR = 3600;
const DAY = 24 * HOUR;
const STEPS = { hourly: HOUR, daily: DAY, weekly: 7 * DAY };
// Name in the address, label, seconds; the first one of each that is marked is shown at first.
const RANGES = {
  hourly: [["1d", "1 d", DAY], ["7d", "7 d", 7 * DAY, true], ["30d", "30 d", 30 * DAY], ["90d", "90 d", 90 * DAY], ["1y", "1 y", 365 * DAY]],
  daily: [["30d", "30 d", 30 * DAY], ["90d", "90 d", 90 * DAY], ["1y", "1 y", 365 * DAY, true], ["3y", "3 y", 1096 * DAY]],
  weekly: [["1y", "1 y", 365 * DAY], ["3y", "3 y", 1096 * DAY, true], ["10y", "10 y", 3653 * DAY]],
};
const live = new Set();

// The colours of the stylesheet as the browser resolves them in the present scheme.
function colours(box) {
  const probe = document.createElement("span");
  box.append(probe);
  const pencil = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const pick = (name) => {
    probe.className = `probe-${name}`;
    // The chart library reads rgba() only, so the colour goes through a pixel.
    pencil.clearRect(0, 0, 1, 1);
    pencil.fillStyle = getComputedStyle(probe).color;
    pencil.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pencil.getImageData(0, 0, 1, 1).data;
    return `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
  };
  const found = Object.fromEntries(
    ["text", "line", "up", "down", "volume", "accent"].map((name) => [name, pick(name)]),
  );
  probe.remove();
  return found;
}

function options(c) {
  return {
    autoSize: true,
    layout: {
      attributionLogo: false,
      background: { type: "solid", color: "transparent" },
      textColor: c.text,
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 12,
    },
    grid: { vertLines: { color: c.line }, horzLines: { color: c.line } },
    rightPriceScale: { borderColor: c.line },
    timeScale: { borderColor: c.line, timeVisible: true, secondsVisible: false },
    crosshair: { mode: LightweightCharts.CrosshairMode.Normal },
  };
}

const candleColours = (c) => ({
  upColor: c.up,
  downColor: c.down,
  wickUpColor: c.up,
  wickDownColor: c.down,
  borderVisible: false,
});

// As app/web/formats.py: no exponents, zeros behind the point counted in a subscript.
function priceText(price) {
  const size = Math.abs(price);
  if (size >= 1e9) return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 3 }).format(price);
  if (size >= 1000) return price.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  if (size >= 0.0001 || size === 0) return price.toLocaleString("en", { maximumSignificantDigits: 6 });
  const [digits, power] = size.toExponential(3).split("e-");
  const zeros = [...String(Number(power) - 1)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");
  return `${price < 0 ? "−" : ""}0.0${zeros}${digits.replace(".", "").replace(/0+$/, "")}`;
}

// How many steps of the price scale a whole has: fine enough for the smallest price of the series.
// A power of ten that a number holds exactly; one over such a small step would be a little off.
function stepsOfOne(candles) {
  const lowest = Math.min(...candles.map((candle) => candle.low));
  return 10 ** Math.min(22, Math.max(2, 5 - Math.floor(Math.log10(lowest))));
}

function readRow(row) {
  return {
    time: Math.floor(Date.parse(row.openedAt) / 1000),
    open: Number(row.open),
    high: Number(row.high),
    low: Number(row.low),
    close: Number(row.close),
    volume: row.volume === null || row.volume === undefined ? null : Number(row.volume),
  };
}

// { widthHours, hasOlder, candles }, at most as many candles as asked for, merged where there are more.
async function fetchChart(box, query, signal) {
  const address = new URL(box.dataset.candleChart, location.href);
  address.searchParams.set("granularity", box.dataset.granularity);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const answer = await fetch(address, { headers: { Accept: "application/json" }, signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const chart = await answer.json();
  return { ...chart, candles: chart.candles.map(readRow) };
}

// As many candles as the width can show, in fifties, so that similar screens ask for the same.
function pointsOf(box) {
  const fitting = Math.floor((box.clientWidth - PIXELS_OF_SCALE) / PIXELS_PER_CANDLE / 50) * 50;
  return Math.min(MOST_POINTS, Math.max(100, fitting));
}

const instant = (seconds) => new Date(seconds * 1000).toISOString();

// Begins where the newest `seconds` do; all there is for null.
function queryOf(box, seconds) {
  const points = pointsOf(box);
  if (seconds === null) return { points };
  const newest = Date.parse(box.dataset.newest) / 1000;
  return { points, start: instant(newest + STEPS[box.dataset.granularity] - seconds) };
}

function widthText(hours) {
  const [count, unit] =
    hours % 168 === 0 ? [hours / 168, "week"] : hours % 24 === 0 ? [hours / 24, "day"] : [hours, "hour"];
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

function rangesOf(box) {
  return [...RANGES[box.dataset.granularity], ["all", "All", null]];
}

// The range that the address names, else the one shown at first.
function rangeOf(box) {
  const ranges = rangesOf(box);
  const named = new URL(location.href).searchParams.get("range");
  return ranges.find(([name]) => name === named) ?? ranges.find(([, , , isFirst]) => isFirst);
}

class CandleChart {
  constructor(box, chart) {
    const c = colours(box);
    this.box = box;
    this.isLoading = false;
    this.isMoved = false; // by a person: what is on screen at first needs no older candles
    this.note = box.closest("section").querySelector("[data-chart-note]");
    this.frame = document.createElement("div");
    this.frame.className = "chart-frame";
    this.legend = document.createElement("p");
    this.legend.className = "chart-legend";
    this.fallback = [...box.children];
    box.append(this.frame, this.legend);
    this.chart = LightweightCharts.createChart(this.frame, options(c));
    this.price = this.chart.addSeries(LightweightCharts.CandlestickSeries, candleColours(c));
    this.volume = this.chart.addSeries(LightweightCharts.HistogramSeries, {
      color: c.volume,
      priceFormat: { type: "volume" },
      priceScaleId: "volume",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.price.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.22 } });
    for (const element of this.fallback) element.hidden = true;
    this.show(chart);
    this.chart.subscribeCrosshairMove((move) => this.describe(move.seriesData?.get(this.price), move.time));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && this.isMoved && range.from < LOAD_WHEN_LEFT_BARS) this.loadOlder();
    });
    for (const name of ["pointerdown", "wheel", "touchstart"]) {
      this.frame.addEventListener(name, () => (this.isMoved = true), { passive: true, capture: true });
    }
    this.addRanges();
  }

  // Replaces what is drawn, and shows all of it.
  show({ candles, widthHours, hasOlder }) {
    this.candles = candles;
    this.widthHours = widthHours;
    this.isComplete = !hasOlder;
    this.isMoved = false;
    this.price.applyOptions({
      priceFormat: { type: "custom", base: stepsOfOne(candles), formatter: priceText },
    });
    this.draw();
    this.describe();
    this.chart.timeScale().setVisibleLogicalRange({ from: 0, to: candles.length - 1 + BARS_OF_MARGIN });
    const isMerged = widthHours * HOUR > STEPS[this.box.dataset.granularity];
    this.note.textContent = isMerged ? `Each candle shows ${widthText(widthHours)}.` : "";
    this.note.hidden = !isMerged;
  }

  draw() {
    this.price.setData(this.candles);
    this.volume.setData(
      this.candles.filter((candle) => candle.volume !== null).map(({ time, volume }) => ({ time, value: volume })),
    );
  }

  describe(candle, time) {
    const shown = candle ?? this.candles.at(-1);
    const at = new Date((time ?? shown.time) * 1000).toISOString().slice(0, 16).replace("T", " ");
    const figures = { O: shown.open, H: shown.high, L: shown.low, C: shown.close };
    const texts = Object.entries(figures).map(([name, price]) => `${name}\u00a0${priceText(price)}`);
    this.legend.textContent = [`${at} UTC`, ...texts].join("  ");
  }

  async loadOlder() {
    if (this.isLoading || this.isComplete) return;
    this.isLoading = true;
    const shown = this.candles;
    const query = { points: pointsOf(this.box), width_hours: this.widthHours, end: instant(shown[0].time) };
    try {
      const older = await fetchChart(this.box, query);
      if (this.candles !== shown || !live.has(this)) return; // another range was chosen meanwhile
      this.isComplete = !older.hasOlder || older.candles.length === 0;
      this.candles = [...older.candles, ...shown];
      if (older.candles.length) this.draw();
    } catch {
      this.isComplete = true; // what is drawn stays; another range tries again
    } finally {
      this.isLoading = false;
    }
  }

  addRanges() {
    const bar = this.box.closest("section").querySelector("[data-ranges]");
    const chosen = rangeOf(this.box)[0];
    bar.replaceChildren(...rangesOf(this.box).map((range) => this.button(range, range[0] === chosen)));
    bar.hidden = false;
  }

  button([name, label, seconds], isChosen) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.ariaPressed = String(isChosen);
    button.addEventListener("click", () => this.choose(button, name, seconds));
    return button;
  }

  async choose(button, name, seconds) {
    this.request?.abort();
    const request = (this.request = new AbortController());
    const mark = (state) => {
      for (const other of button.parentElement?.children ?? []) other.ariaPressed = String(other === state);
    };
    const before = [...button.parentElement.children].find((other) => other.ariaPressed === "true");
    mark(button);
    try {
      const chart = await fetchChart(this.box, queryOf(this.box, seconds), request.signal);
      if (!live.has(this) || chart.candles.length === 0) return;
      this.show(chart);
      const address = new URL(location.href);
      address.searchParams.set("range", name);
      history.replaceState(history.state, "", address);
    } catch {
      if (!request.signal.aborted) mark(before); // what is drawn stays
    }
  }

  recolour() {
    const c = colours(this.box);
    this.chart.applyOptions(options(c));
    this.price.applyOptions(candleColours(c));
    this.volume.applyOptions({ color: c.volume });
  }

  remove() {
    live.delete(this);
    this.chart.remove();
  }
}

async function start(box) {
  if (box.dataset.started || typeof LightweightCharts === "undefined") return;
  box.dataset.started = "true";
  try {
    const chart = await fetchChart(box, queryOf(box, rangeOf(box)[2]));
    if (chart.candles.length > 0 && box.isConnected) live.add(new CandleChart(box, chart));
  } catch {
    box.classList.add("chart-failed"); // the server's line stays
  }
}

function startAll() {
  for (const chart of live) if (!chart.box.isConnected) chart.remove();
  for (const box of document.querySelectorAll("[data-candle-chart]")) start(box);
}

const recolourAll = () => live.forEach((chart) => chart.recolour());
document.addEventListener("theme-changed", recolourAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolourAll);
document.addEventListener("htmx:load", startAll);
startAll();

// Draws the candle chart over the server's line, loads older candles as one scrolls.
const CHUNK = 500;
const LOAD_WHEN_LEFT_BARS = 20;
const BARS_OF_MARGIN = 3;
const DAY = 86400;
const RANGES = {
  hourly: [["24 h", DAY], ["3 d", 3 * DAY], ["7 d", 7 * DAY], ["30 d", 30 * DAY]],
  daily: [["30 d", 30 * DAY], ["90 d", 90 * DAY], ["1 y", 365 * DAY]],
  weekly: [["6 m", 183 * DAY], ["1 y", 365 * DAY], ["3 y", 1096 * DAY]],
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

// Fine enough for the smallest price of the series.
function smallestMove(candles) {
  const lowest = Math.min(...candles.map((candle) => candle.low));
  return 10 ** Math.min(-2, Math.floor(Math.log10(lowest)) - 5);
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

async function fetchCandles(box, before) {
  const address = new URL(box.dataset.candleChart, location.href);
  address.searchParams.set("granularity", box.dataset.granularity);
  address.searchParams.set("limit", CHUNK);
  if (before) address.searchParams.set("end", new Date(before * 1000).toISOString());
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const body = await answer.json();
  return body.candles.map(readRow).sort((a, b) => a.time - b.time);
}

class CandleChart {
  constructor(box, candles) {
    const c = colours(box);
    this.box = box;
    this.candles = candles;
    this.isLoading = false;
    this.isComplete = candles.length < CHUNK;
    this.frame = document.createElement("div");
    this.frame.className = "chart-frame";
    this.legend = document.createElement("p");
    this.legend.className = "chart-legend";
    this.fallback = [...box.children];
    box.append(this.frame, this.legend);
    this.chart = LightweightCharts.createChart(this.frame, options(c));
    this.price = this.chart.addSeries(LightweightCharts.CandlestickSeries, {
      ...candleColours(c),
      priceFormat: { type: "custom", minMove: smallestMove(candles), formatter: priceText },
    });
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
    this.draw();
    this.chart.subscribeCrosshairMove((move) => this.describe(move.seriesData?.get(this.price), move.time));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < LOAD_WHEN_LEFT_BARS) this.loadOlder();
    });
    this.addRanges();
    this.describe();
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
    this.legend.textContent =
      `${at} UTC  O ${priceText(shown.open)}  H ${priceText(shown.high)}` +
      `  L ${priceText(shown.low)}  C ${priceText(shown.close)}`;
  }

  async loadOlder() {
    if (this.isLoading || this.isComplete) return;
    this.isLoading = true;
    try {
      const first = this.candles[0].time;
      const older = (await fetchCandles(this.box, first)).filter((candle) => candle.time < first);
      this.isComplete = older.length === 0;
      this.candles = [...older, ...this.candles];
      if (older.length && live.has(this)) this.draw();
    } catch {
      this.isComplete = true; // what is drawn stays; a reload tries again
    } finally {
      this.isLoading = false;
    }
  }

  addRanges() {
    const bar = this.box.closest("section").querySelector("[data-ranges]");
    const buttons = RANGES[this.box.dataset.granularity].map(([label, seconds]) => this.button(label, seconds));
    bar.replaceChildren(...buttons, this.button("All", null));
    bar.hidden = false;
    buttons[Math.min(2, buttons.length - 1)].click();
  }

  button(label, seconds) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      for (const other of button.parentElement.children) other.ariaPressed = String(other === button);
      this.show(seconds);
    });
    return button;
  }

  show(seconds) {
    const since = seconds === null ? 0 : this.candles.at(-1).time - seconds;
    const from = this.candles.findIndex((candle) => candle.time >= since);
    const to = this.candles.length - 1 + BARS_OF_MARGIN;
    this.chart.timeScale().setVisibleLogicalRange({ from, to });
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
    const candles = await fetchCandles(box);
    if (candles.length > 0 && box.isConnected) live.add(new CandleChart(box, candles));
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

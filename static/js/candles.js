// Draws the candle chart over the server's line, and loads what it lacks as one drags and zooms.
import { candleColours, colours, options, priceText, stepsOfOne, widthText } from "./candle_look.js";
import { around, fittingHours, HOUR, MOST_POINTS, Stretch } from "./candle_times.js";

const PIXELS_PER_CANDLE = 1.5;
const PIXELS_OF_SCALE = 80;
const LOAD_WHEN_LEFT_BARS = 20;
const BARS_OF_MARGIN = 3;
const FEWEST_BARS = 24;
const STILL_AFTER_MS = 150;
let current = null;
let loading = null;

const instant = (seconds) => new Date(seconds * 1000).toISOString();
const secondsOf = (text) => Math.floor(Date.parse(text) / 1000);

function readRow(row) {
  return {
    time: secondsOf(row.openedAt),
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

async function fetchRange(box, signal) {
  const { start } = box.dataset;
  const chart = await fetchChart(box, { points: pointsOf(box), ...(start && { start }) }, signal);
  if (chart.candles.length === 0) throw new Error("no candles");
  return new Stretch({ ...chart, until: chart.candles.at(-1).time + chart.widthHours * HOUR });
}

class CandleChart {
  constructor(box) {
    const c = colours(box);
    this.frame = box.querySelector(".chart-frame");
    const plot = document.createElement("div");
    plot.className = "chart-plot";
    this.legend = document.createElement("p");
    this.legend.className = "chart-legend";
    this.frame.replaceChildren(plot, this.legend);
    this.chart = LightweightCharts.createChart(plot, options(c));
    this.times = this.chart.timeScale();
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
    this.fingers = new Set(); // pointers that are down: the library reckons a drag from where it began
    this.listen();
  }

  listen() {
    this.chart.subscribeCrosshairMove(({ time, seriesData }) => {
      this.pointed = seriesData?.has(this.price) ? time : null;
      this.describe();
    });
    this.times.subscribeVisibleLogicalRangeChange(() => {
      this.describe();
      this.follow();
    });
    const press = (event) => {
      this.isMoved = true; // by a person: what is on screen at first needs no more candles
      if (event.type === "pointerdown" && event.button === 0) this.fingers.add(event.pointerId);
    };
    for (const name of ["pointerdown", "wheel"]) {
      this.frame.addEventListener(name, press, { passive: true, capture: true });
    }
    this.release = ({ pointerId }) => {
      if (this.fingers.delete(pointerId)) this.follow();
    };
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, this.release, true);
  }

  isShowing({ dataset }) {
    return this.box.dataset.granularity === dataset.granularity && this.box.dataset.range === dataset.range;
  }

  attach(box) {
    this.box = box;
    this.newest = secondsOf(box.dataset.newest);
    this.widths = box.dataset.widths.split(" ").map(Number);
    this.note = box.closest("section").querySelector("[data-chart-note]");
    if (this.stretch) this.sayWidth();
  }

  // Shows all of a range.
  show(box, stretch) {
    this.attach(box);
    this.isMoved = this.isBehind = false;
    this.arrived = null;
    this.price.applyOptions({
      priceFormat: { type: "custom", base: stepsOfOne(stretch.candles), formatter: priceText },
    });
    this.draw(stretch);
    const to = stretch.candles.length - 1 + BARS_OF_MARGIN;
    this.times.setVisibleLogicalRange({ from: Math.min(0, to - FEWEST_BARS), to });
  }

  draw(stretch) {
    this.stretch = stretch;
    this.price.setData(stretch.candles);
    this.volume.setData(
      stretch.candles.filter((candle) => candle.volume !== null).map(({ time, volume }) => ({ time, value: volume })),
    );
    this.frame.dataset.widthHours = stretch.widthHours;
    this.describe();
    this.sayWidth();
  }

  // Draws other candles of the time that is looked at, which stays where it is.
  redraw(stretch) {
    const { left, right } = this.view();
    this.draw(stretch);
    this.times.setVisibleLogicalRange({ from: stretch.edgeAt(left), to: stretch.edgeAt(right) - 1 });
  }

  sayWidth() {
    const isMerged = this.stretch.widthHours > this.widths[0];
    const words = isMerged ? `Each candle shows ${widthText(this.stretch.widthHours)}.` : "";
    if (this.note.textContent !== words) this.note.textContent = words;
    this.note.hidden = !isMerged;
  }

  // The candle under the pointer in words, or the newest one that is on screen.
  describe() {
    const { candles } = this.stretch;
    const rightmost = Math.round(this.times.getVisibleLogicalRange()?.to ?? Infinity);
    const pointed = this.pointed && candles.findLast((candle) => candle.time <= this.pointed);
    const shown = pointed || candles[Math.min(Math.max(rightmost, 0), candles.length - 1)];
    const at = instant(shown.time).slice(0, 16).replace("T", " ");
    const figures = { O: shown.open, H: shown.high, L: shown.low, C: shown.close };
    const texts = Object.entries(figures).map(([name, price]) => `${name}\u00a0${priceText(price)}`);
    this.legend.textContent = [`${at} UTC`, ...texts].join("  ");
  }

  // The time between the left and the right edge of the chart, also where there are no candles.
  view() {
    const { from, to } = this.times.getVisibleLogicalRange();
    return { left: this.stretch.timeAt(from), right: this.stretch.timeAt(to + 1) };
  }

  // After each movement; what is missing is asked for once it has come to rest. Only older candles
  // come while one drags: they are put before the others, which moves nothing.
  follow() {
    if (!this.isMoved) return;
    if (this.fingers.size) this.loadOlder();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.rest(), STILL_AFTER_MS);
  }

  rest() {
    this.timer = null;
    if (this.fingers.size) return;
    const take = this.arrived;
    if (!take) return void (this.loadWidth() || this.loadOlder() || this.loadNewer());
    this.arrived = null;
    take();
    this.follow(); // the library takes a new view with its next picture, not at once
  }

  // What of the view has candles, and how long these should be.
  wanted() {
    const { left, right } = this.view();
    const { hasOlder, first, widthHours } = this.stretch;
    const begins = hasOlder ? left : Math.max(left, first);
    const ends = Math.min(right, this.newest + this.widths[0] * HOUR);
    const [hours, held] = [(right - left) / HOUR, (ends - begins) / HOUR];
    const fitting = fittingHours({ hours, held, widthHours, pixels: this.times.width(), widths: this.widths });
    return { left: begins, right: ends, hours: fitting };
  }

  loadWidth() {
    const wanted = this.wanted();
    const { hours } = wanted;
    if (hours === this.stretch.widthHours || wanted.left >= wanted.right) return false;
    const { start, end } = around(wanted, hours * HOUR, this.newest);
    if (this.vain === `${hours} ${start}`) return false;
    return this.load({ width_hours: hours, start, end }, (chart) => {
      const now = this.wanted();
      const middle = (now.left + now.right) / 2;
      // One has gone on meanwhile: what is missing now is asked for.
      if (now.hours !== hours || middle < start || middle > end) return;
      if (chart.candles.length) this.redraw(new Stretch({ ...chart, until: end }));
      else this.vain = `${hours} ${start}`;
    });
  }

  loadOlder() {
    const { hasOlder, widthHours, first } = this.stretch;
    if (!hasOlder || this.times.getVisibleLogicalRange().from >= LOAD_WHEN_LEFT_BARS) return false;
    const query = { width_hours: widthHours, points: pointsOf(this.box), end: first };
    const take = (chart) => {
      if (chart.candles.length) this.draw(this.stretch.joined({ ...chart, until: 0 }));
      else this.stretch.hasOlder = false;
    };
    return this.load(query, take, { isAtOnce: true });
  }

  // Those after the last, or after a run the last one and those that came since.
  loadNewer() {
    const { until, last, step, widthHours, candles } = this.stretch;
    const isNear = this.times.getVisibleLogicalRange().to > candles.length - LOAD_WHEN_LEFT_BARS;
    if (!this.isBehind && (!isNear || until > this.newest)) return false;
    const start = this.isBehind ? last : until;
    const end = start + MOST_POINTS * step;
    this.isBehind = false;
    return this.load({ width_hours: widthHours, start, end }, (chart) =>
      this.redraw(this.stretch.joined({ ...chart, until: end })),
    );
  }

  // One request at a time. What it brings is drawn when the chart is at rest, unless no movement
  // can be disturbed by it; where it fails, what is drawn stays until the next movement.
  load({ start, end, ...query }, take, { isAtOnce = false } = {}) {
    if (this.isLoading) return true;
    this.isLoading = true;
    const before = this.stretch;
    const span = { ...(start !== undefined && { start: instant(start) }), end: instant(end) };
    fetchChart(this.box, { points: MOST_POINTS, ...query, ...span })
      .then((chart) => {
        this.isLoading = false;
        if (this.stretch !== before || current !== this) return; // another range was chosen meanwhile
        if (isAtOnce) {
          take(chart);
          return this.follow();
        }
        this.arrived = () => this.stretch === before && take(chart);
        if (this.timer === null) this.rest();
      })
      .catch(() => (this.isLoading = false));
    return true;
  }

  // New data has come in: what one looks at stays, and the newest candles are brought up to date.
  catchUp(box) {
    this.isBehind = this.stretch.until > this.newest;
    this.attach(box);
    this.follow();
  }

  recolour() {
    const c = colours(this.box);
    this.chart.applyOptions(options(c));
    this.price.applyOptions(candleColours(c));
    this.volume.applyOptions({ color: c.volume });
  }

  remove() {
    clearTimeout(this.timer);
    for (const name of ["pointerup", "pointercancel"]) removeEventListener(name, this.release, true);
    current = null;
    this.chart.remove();
    this.frame.replaceChildren();
  }
}

async function start(box) {
  if (box.dataset.started || typeof LightweightCharts === "undefined") return;
  box.dataset.started = "true";
  const isSame = current?.isShowing(box);
  if (isSame && current.isMoved) return current.catchUp(box);
  loading?.abort();
  const request = (loading = new AbortController());
  try {
    const stretch = await fetchRange(box, request.signal);
    if (!box.isConnected) return;
    current ??= new CandleChart(box);
    current.show(box, stretch);
  } catch {
    if (request.signal.aborted || isSame) return;
    current?.remove(); // the server's line is shown
    box.querySelector(".chart-frame").replaceChildren();
  }
}

function startAll() {
  if (current && !current.frame.isConnected) current.remove();
  for (const box of document.querySelectorAll("[data-candle-chart]")) start(box);
}

const recolour = () => current?.recolour();
document.addEventListener("theme-changed", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
document.addEventListener("htmx:load", startAll);
startAll();

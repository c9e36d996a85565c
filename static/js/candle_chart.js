// The candle chart itself: draws candles, follows what a person does with them, loads what it lacks.
import { noteView } from "./candle_address.js";
import { fetchChart, instant, pointsOf, secondsOf } from "./candle_data.js";
import { BARS_OF_MARGIN, labelOf, listenToKeys } from "./candle_keys.js";
import { writeLegend } from "./candle_legend.js";
import { candleColours, colours, options, priceText, stepsOfOne, widthText } from "./candle_look.js";
import { around, fittingHours, HOUR, MOST_POINTS, Stretch } from "./candle_times.js";

const LOAD_WHEN_LEFT_BARS = 20;
const PIXELS_OF_MARGIN = 10;
const FEWEST_BARS = 24;
const LEAST_BARS = 0.1;
const STILL_AFTER_MS = 150;

export class CandleChart {
  constructor(box) {
    const c = colours(box);
    this.frame = box.querySelector(".chart-frame");
    this.plot = document.createElement("div");
    Object.assign(this.plot, { className: "chart-plot", tabIndex: 0, role: "application" });
    this.legend = document.createElement("p");
    this.legend.className = "chart-legend";
    this.frame.replaceChildren(this.plot, this.legend);
    this.chart = LightweightCharts.createChart(this.plot, options(c));
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
      this.begin();
      if (event.type === "pointerdown" && event.button === 0) this.fingers.add(event.pointerId);
    };
    for (const name of ["pointerdown", "wheel"]) {
      this.frame.addEventListener(name, press, { passive: true, capture: true });
    }
    this.release = ({ pointerId }) => {
      if (this.fingers.delete(pointerId)) this.follow();
    };
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, this.release, true);
    listenToKeys(this.plot, this);
  }

  // A person moves it from now on: what is on screen at first needs no more candles.
  begin() {
    if (this.isMoved) return;
    this.isMoved = true;
    this.noted = this.view();
  }

  attach(box) {
    this.box = box;
    this.newest = secondsOf(box.dataset.newest);
    this.widths = box.dataset.widths.split(" ").map(Number);
    this.note = box.closest("section").querySelector("[data-chart-note]");
    this.plot.ariaLabel = labelOf(box.dataset);
    if (this.stretch) this.sayWidth();
  }

  // Shows all of a range, or the time of the address.
  show(box, stretch) {
    this.attach(box);
    this.isMoved = this.isBehind = false;
    clearTimeout(this.timer);
    this.arrived = this.pointed = this.timer = null;
    this.price.applyOptions({
      priceFormat: { type: "custom", base: stepsOfOne(stretch.candles), formatter: priceText },
    });
    this.draw(stretch);
    this.times.setVisibleLogicalRange(box.dataset.end ? this.given(stretch) : this.whole(stretch));
  }

  // A little room beside the first and the last candle.
  whole({ candles }) {
    const to = candles.length - 1 + BARS_OF_MARGIN;
    const room = (candles.length * PIXELS_OF_MARGIN) / this.frame.clientWidth;
    return { from: Math.min(-0.5 - room, to - FEWEST_BARS), to };
  }

  // The time of the address; it may begin or end where candles are missing, which takes no room.
  given(stretch) {
    const { start, end } = this.box.dataset;
    const [from, to] = [stretch.edgeAt(secondsOf(start)), stretch.edgeAt(secondsOf(end))];
    const isInside = stretch.last < this.newest - stretch.step;
    return {
      from: stretch.hasOlder ? Math.max(0, from) : from,
      to: (isInside ? Math.min(to, stretch.candles.length) : to) - 1,
    };
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
    writeLegend(this.legend, this.described());
  }

  described() {
    const { candles } = this.stretch;
    const pointed = this.pointed && candles.findLast((candle) => candle.time <= this.pointed);
    return pointed || candles[this.rightmost()];
  }

  rightmost() {
    const last = this.stretch.candles.length - 1;
    return Math.min(Math.max(Math.round(this.times.getVisibleLogicalRange()?.to ?? last), 0), last);
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
    if (this.isMoved) this.noteView();
    const take = this.arrived;
    if (!take) return void (this.loadWidth() || this.loadOlder() || this.loadNewer());
    this.arrived = null;
    take();
    this.follow(); // the library takes a new view with its next picture, not at once
  }

  // The page's address says what is looked at; no range is, from now on.
  noteView() {
    const view = this.view();
    const way = Math.hypot(view.left - this.noted.left, view.right - this.noted.right);
    if (way < LEAST_BARS * this.stretch.step) return;
    this.noted = view;
    noteView(this.box.dataset.granularity, view);
    for (const link of document.querySelectorAll("#candles [data-ranges] [aria-current]")) link.ariaCurrent = null;
    if (this.isSteered) this.announce();
    this.isSteered = false;
  }

  // Another view, or another candle under the crosshair, by keys.
  steer(range) {
    this.begin();
    this.isSteered = true;
    this.pointAt(null);
    this.times.setVisibleLogicalRange(range);
  }

  pointAt(candle) {
    this.pointed = candle?.time ?? null;
    if (candle) this.chart.setCrosshairPosition(candle.close, candle.time, this.price);
    else this.chart.clearCrosshairPosition();
    this.describe();
    if (candle) this.announce();
  }

  announce() {
    document.getElementById("announcer").textContent = this.legend.textContent;
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
        if (this.stretch !== before || this.isRemoved) return; // another range was chosen meanwhile
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
    this.isRemoved = true;
    this.chart.remove();
    this.frame.replaceChildren();
  }
}

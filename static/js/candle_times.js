// Which time the candle chart holds and shows, and how long its candles should be; draws nothing.
export const MOST_POINTS = 800;
export const HOUR = 3600;
const MONDAY = 4 * 24 * HOUR;
const ROOMY_POINTS = 400;
const ROOMY_PIXELS = 3;
const LEAST_PIXELS = 1.2;

// The beginning of the candle that holds an instant; candles begin at marks counted from a Monday.
const floor = (seconds, step) => seconds - ((((seconds - MONDAY) % step) + step) % step);

// A stretch of candles without a hole, all of one width; `until` is how far it is known to reach.
// Its edges are counted: the candle at place 3 is drawn from edge 3 to edge 4.
export class Stretch {
  constructor({ candles, widthHours, hasOlder, until }) {
    Object.assign(this, { candles, widthHours, hasOlder, until, step: widthHours * HOUR });
  }

  get first() {
    return this.candles[0].time;
  }

  get last() {
    return this.candles.at(-1).time;
  }

  timeAt(edge) {
    const place = Math.min(Math.max(Math.floor(edge), 0), this.candles.length - 1);
    return this.candles[place].time + (edge - place) * this.step;
  }

  edgeAt(time) {
    let place = this.candles.findLastIndex((candle) => candle.time <= time);
    if (place < 0) place = 0;
    const edge = place + (time - this.candles[place].time) / this.step;
    // Time without candles takes no room, but for what lies beyond the ends.
    return place === this.candles.length - 1 ? edge : Math.min(edge, place + 1);
  }

  // Older candles, those that come after, or the newest ones once more: what is new goes before.
  joined({ candles, hasOlder, until }) {
    if (candles.length === 0) return new Stretch({ ...this, until: Math.max(this.until, until) });
    const [from, to] = [candles[0].time, candles.at(-1).time];
    const kept = [this.candles.filter(({ time }) => time < from), this.candles.filter(({ time }) => time > to)];
    return new Stretch({
      candles: [...kept[0], ...candles, ...kept[1]],
      widthHours: this.widthHours,
      hasOlder: kept[0].length ? this.hasOlder : hasOlder,
      until: Math.max(this.until, until),
    });
  }
}

// How long candles should be to show a view of `hours`, `held` of which have candles, now that they
// are `widthHours` long: longer when too many would get too thin to see, shorter when at least twice
// as many have room. In between they stay.
export function fittingHours({ hours, held, widthHours, pixels, widths }) {
  const points = Math.min(ROOMY_POINTS, pixels / ROOMY_PIXELS);
  const fitting = widths.find((width) => hours / width <= points) ?? widths.at(-1);
  if (fitting > widthHours) return held / widthHours > pixels / LEAST_PIXELS ? fitting : widthHours;
  return fitting * 2 <= widthHours || fitting === widths[0] ? fitting : widthHours;
}

// From where to where to ask for candles so long, so that the view and as much beside it is there.
export function around(view, step, newest) {
  const shown = Math.min(MOST_POINTS, Math.ceil((view.right - view.left) / step) + 1);
  const margin = Math.min(shown, Math.floor((MOST_POINTS - shown) / 2));
  const start = floor(view.left, step) - margin * step;
  const end = Math.min(start + (shown + 2 * margin) * step, floor(newest, step) + step);
  return { start, end };
}

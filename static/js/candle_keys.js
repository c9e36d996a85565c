// Moves the candle chart by keys; what can be done is said in the label of the chart.
export const BARS_OF_MARGIN = 3;
const SHARE = 0.1;
const CLOSER = 0.8;
const CLOSEST_BARS = 4;

// Along the time by a share of the view, as long as some candles stay in it.
function shift(chart, share) {
  const { from, to } = chart.times.getVisibleLogicalRange();
  const last = chart.stretch.candles.length - 1;
  const step = Math.min(Math.max((to - from) * share, CLOSEST_BARS - to), last - CLOSEST_BARS - from);
  chart.steer({ from: from + step, to: to + step });
}

function zoom(chart, factor) {
  const { from, to } = chart.times.getVisibleLogicalRange();
  const [middle, half] = [(from + to) / 2, Math.max(((to - from) * factor) / 2, CLOSEST_BARS / 2)];
  chart.steer({ from: middle - half, to: middle + half });
}

function goToEnd(chart, isNewest) {
  const { from, to } = chart.times.getVisibleLogicalRange();
  const step = isNewest ? chart.stretch.candles.length - 1 + BARS_OF_MARGIN - to : -0.5 - from;
  chart.steer({ from: from + step, to: to + step });
}

// The crosshair goes on by a candle, at first to the newest on screen; the view goes with it.
function point(chart, step) {
  const { candles } = chart.stretch;
  const { from, to } = chart.times.getVisibleLogicalRange();
  const { pointed } = chart;
  const wanted = pointed ? candles.findLastIndex(({ time }) => time <= pointed) + step : chart.rightmost();
  const place = Math.min(Math.max(wanted, 0), candles.length - 1);
  const beyond = Math.max(place + 1 - to, 0) + Math.min(place - 1 - from, 0);
  if (beyond) chart.steer({ from: from + beyond, to: to + beyond });
  chart.pointAt(candles[place]);
}

const KEYS = {
  ArrowLeft: (chart) => shift(chart, -SHARE),
  ArrowRight: (chart) => shift(chart, SHARE),
  PageUp: (chart) => shift(chart, -1),
  PageDown: (chart) => shift(chart, 1),
  "+": (chart) => zoom(chart, CLOSER),
  "=": (chart) => zoom(chart, CLOSER),
  "-": (chart) => zoom(chart, 1 / CLOSER),
  Home: (chart) => goToEnd(chart, false),
  End: (chart) => goToEnd(chart, true),
  Escape: (chart) => chart.pointAt(null),
};
const WITH_SHIFT = {
  ArrowLeft: (chart) => point(chart, -1),
  ArrowRight: (chart) => point(chart, 1),
  "+": KEYS["+"],
  _: KEYS["-"],
};

export const labelOf = ({ market, granularity }) =>
  `Chart of ${granularity} candles of ${market}. Arrow keys move along it, with Shift from candle to candle. ` +
  "Plus and minus zoom, Home and End go to the oldest and to the newest that are loaded.";

export function listenToKeys(plot, chart) {
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = (event.shiftKey ? WITH_SHIFT : KEYS)[event.key];
    if (!act) return;
    event.preventDefault();
    act(chart);
  });
}

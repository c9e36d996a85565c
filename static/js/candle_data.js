// Asks the server for the candles of the chart: those of a range at first, later what it lacks.
import { HOUR, MOST_POINTS, Stretch } from "./candle_times.js";

const PIXELS_PER_CANDLE = 1.5;
const PIXELS_OF_SCALE = 80;

export const instant = (seconds) => new Date(seconds * 1000).toISOString();
export const secondsOf = (text) => Math.floor(Date.parse(text) / 1000);

// What is drawn are numbers; `exact` keeps the figures as they are stored.
function readRow(row) {
  return {
    time: secondsOf(row.openedAt),
    open: Number(row.open),
    high: Number(row.high),
    low: Number(row.low),
    close: Number(row.close),
    volume: row.volume === null || row.volume === undefined ? null : Number(row.volume),
    exact: row,
  };
}

// { widthHours, hasOlder, candles }, at most as many candles as asked for, merged where there are more.
export async function fetchChart(box, query, signal) {
  const address = new URL(box.dataset.candleChart, location.href);
  address.searchParams.set("granularity", box.dataset.granularity);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const answer = await fetch(address, { headers: { Accept: "application/json" }, signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const chart = await answer.json();
  return { ...chart, candles: chart.candles.map(readRow) };
}

// As many candles as the width can show, in fifties, so that similar screens ask for the same.
export function pointsOf(box) {
  const fitting = Math.floor((box.clientWidth - PIXELS_OF_SCALE) / PIXELS_PER_CANDLE / 50) * 50;
  return Math.min(MOST_POINTS, Math.max(100, fitting));
}

// The candles of the box's range, or of the time that its address names.
export async function fetchRange(box, signal) {
  const { start, end } = box.dataset;
  const query = { points: pointsOf(box), ...(start && { start }), ...(end && { end }) };
  const chart = await fetchChart(box, query, signal);
  if (chart.candles.length === 0) throw new Error("no candles");
  return new Stretch({ ...chart, until: chart.candles.at(-1).time + chart.widthHours * HOUR });
}

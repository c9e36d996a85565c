// The line above the candle chart: one candle in exact figures.
import { amountText } from "./candle_look.js";

const PRICES = { O: "open", H: "high", L: "low", C: "close" };

// Every digit that is stored, the whole part in groups of three: 72,292.45 and 0.0000000000001234.
function exactText(figures) {
  const [whole, ...rest] = figures.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".");
}

// As signed_text in app/web/formats.py.
function changeText({ open, close }) {
  const change = (100 * (close - open)) / open;
  const size = Math.abs(change).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const sign = size === "0.00" ? "" : change > 0 ? "+" : "−";
  return { text: `${sign}${size}\u00a0%`, direction: { "+": "up", "−": "down" }[sign] ?? "flat" };
}

function part(text, name = "") {
  const piece = document.createElement("span");
  piece.className = name;
  piece.textContent = text;
  return piece;
}

// Writes a candle into the legend: its beginning, prices, change and volume.
export function writeLegend(legend, { exact, ...candle }) {
  const at = new Date(candle.time * 1000).toISOString().slice(0, 16).replace("T", " ");
  const prices = Object.entries(PRICES).map(([letter, name]) => part(`${letter}\u00a0${exactText(exact[name])}`));
  const { text, direction } = changeText(candle);
  const volume = candle.volume === null ? [] : [part(`V\u00a0${amountText(candle.volume, { maximumSignificantDigits: 4 })}`)];
  const parts = [part(`${at} UTC`), ...prices, part(text, `delta ${direction}`), ...volume];
  legend.replaceChildren(...parts.flatMap((piece) => [piece, " "]));
}

// Puts the candle chart over the server's line, and keeps it while its part of the page is drawn anew.
import { withView } from "./candle_address.js";
import { CandleChart } from "./candle_chart.js";
import { fetchRange } from "./candle_data.js";

let current = null;
let loading = null;
let isRefresh = false;

function remove() {
  current?.remove();
  current = null;
}

async function start(box) {
  if (box.dataset.started || typeof LightweightCharts === "undefined") return;
  box.dataset.started = "true";
  const isSame = current !== null && isRefresh;
  isRefresh = false;
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
    remove(); // the server's line is shown
    box.querySelector(".chart-frame").replaceChildren();
  }
}

function startAll() {
  if (current && !current.frame.isConnected) remove();
  for (const box of document.querySelectorAll("[data-candle-chart]")) start(box);
}

// Whether the part draws itself anew, which leaves what one looks at, or shows what was chosen.
document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.target?.id !== "candles") return;
  isRefresh = !detail.elt.closest(".segments");
  if (detail.elt.id !== "candles" || !current?.isMoved) return;
  const { pathname, search } = withView(detail.path, current.box.dataset.granularity, current.view());
  detail.path = pathname + search;
});
const recolour = () => current?.recolour();
document.addEventListener("theme-changed", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
document.addEventListener("htmx:load", startAll);
startAll();

// How the candle chart looks: the stylesheet's colours, and prices and lengths in words.
const PLOTTED = ["text", "line", "up", "down", "volume"];

// The colours of the stylesheet as the browser resolves them in the present scheme.
export function colours(box) {
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
  const found = Object.fromEntries(PLOTTED.map((name) => [name, pick(name)]));
  probe.remove();
  return found;
}

export function options(c) {
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
    timeScale: { borderColor: c.line, timeVisible: true, secondsVisible: false, lockVisibleTimeRangeOnResize: true },
    handleScroll: { vertTouchDrag: false }, // a finger that goes up or down scrolls the page
    crosshair: { mode: LightweightCharts.CrosshairMode.Normal },
  };
}

export const candleColours = (c) => ({
  upColor: c.up,
  downColor: c.down,
  wickUpColor: c.up,
  wickDownColor: c.down,
  borderVisible: false,
});

// As compact_text in app/web/formats.py: 1.234 B.
export const amountText = (amount, digits) =>
  new Intl.NumberFormat("en", { notation: "compact", useGrouping: true, ...digits })
    .format(amount)
    .replace(/([KMBT])$/, "\u00a0$1");

// As price_text in app/web/formats.py: no exponents, zeros behind the point counted in a subscript.
export function priceText(price) {
  const size = Math.abs(price);
  if (size >= 1e9) return amountText(price, { maximumFractionDigits: 3 });
  if (size >= 1000) return price.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  if (size >= 0.0001 || size === 0) return price.toLocaleString("en", { maximumSignificantDigits: 6 });
  const [digits, power] = size.toExponential(3).split("e-");
  const zeros = [...String(Number(power) - 1)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");
  return `${price < 0 ? "−" : ""}0.0${zeros}${digits.replace(".", "").replace(/0+$/, "")}`;
}

// How many steps of the price scale a whole has: fine enough for the smallest price of the series.
// A power of ten that a number holds exactly; one over such a small step would be a little off.
export function stepsOfOne(candles) {
  const lowest = candles.reduce((least, candle) => Math.min(least, candle.low), Infinity);
  return 10 ** Math.min(22, Math.max(2, 5 - Math.floor(Math.log10(lowest))));
}

// As length_words in app/web/words.py.
export function widthText(hours) {
  const [count, unit] =
    hours % 168 === 0 ? [hours / 168, "week"] : hours % 24 === 0 ? [hours / 24, "day"] : [hours, "hour"];
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

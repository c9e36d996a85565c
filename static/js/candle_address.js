// The view of the candle chart in addresses: of the page, so that a link or a reload brings it
// back, and of the part that draws itself anew.
const EARLIEST = Date.parse("0001-01-01T00:00Z");
const LATEST = Date.parse("9999-12-31T00:00Z");

function minuteOf(seconds) {
  const at = Math.min(Math.max(seconds * 1000, EARLIEST), LATEST);
  return `${new Date(at).toISOString().slice(0, 16)}Z`;
}

// The address with the time between left and right, in seconds, instead of a range.
export function withView(address, granularity, { left, right }) {
  const found = new URL(address, location.href);
  const query = found.searchParams;
  query.delete("range");
  query.set("granularity", granularity);
  query.set("from", minuteOf(left));
  query.set("to", minuteOf(Math.max(right, left + 60)));
  found.search = query.toString().replaceAll("%3A", ":");
  return found;
}

export function noteView(granularity, view) {
  history.replaceState(history.state, "", withView(location.href, granularity, view));
}

"""Forty pages of CoinGecko's ranking from a server that takes 100 ms, side by side and serially."""

from datetime import UTC, datetime

from app.providers.base import ProviderContext
from app.providers.coingecko import CoinGecko, CoinGeckoSettings
from benchmarks.figures import Figure, at_most, interleave, ratio, seconds, timed
from benchmarks.pages import PAGE_ROWS, serving

PAGES = 40


def measure() -> list[Figure]:
    """The provider with its usual concurrency, and with one call at a time."""
    with serving() as address:
        usual = CoinGeckoSettings().concurrency
        fetch(address, usual)  # the server builds its pages
        taken = interleave(
            {
                "serial": lambda: timed(lambda: fetch(address, 1)),
                "side by side": lambda: timed(lambda: fetch(address, usual)),
            }
        )
    together, serial = taken["side by side"], taken["serial"]
    detail = f"{PAGES} pages in {seconds(together)} with {usual} calls, {seconds(serial)} serially"
    return [at_most("fetch-pages", ratio(together, serial), 0.25, detail)]


def fetch(address: str, concurrency: int) -> None:
    """The whole ranking, with a rate budget that does not hinder."""
    settings = CoinGeckoSettings(
        base_url=address, requests_per_minute=100_000, concurrency=concurrency
    )
    provider = CoinGecko(settings, ProviderContext(clock=lambda: datetime.now(UTC)))
    try:
        ranked = provider.fetch_ranked(PAGES * PAGE_ROWS, "USD")
    finally:
        provider.close()
    if len(ranked.snapshots.rows) != PAGES * PAGE_ROWS:
        raise AssertionError(f"{len(ranked.snapshots.rows)} snapshots; {ranked.snapshots.problems}")

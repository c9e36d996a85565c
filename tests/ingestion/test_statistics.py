"""ROI statistics over the four windows, stored when a figure changed."""

from datetime import timedelta
from decimal import Decimal

from app.domain import HOUR
from tests.ingestion.making import NOW, Script, Tape, build_candle, build_listing, build_snapshot

THIS_HOUR = NOW.replace(minute=0)
STORED = """
    SELECT "window", roi_pct, sample_count FROM market_roi_statistic
    WHERE market_id = 1 ORDER BY last_at, "window"
"""
D = Decimal


def history(hours: int, price: str = "100") -> list[object]:
    """So many hours that close at `price`, the last of them just over."""
    return [build_candle(THIS_HOUR - n * HOUR, price) for n in range(1, hours + 1)]


def test_a_market_with_history_has_a_statistic_of_every_window(tape: Tape) -> None:
    row = build_snapshot("110", at=THIS_HOUR)
    tape.run(Script([row], history(24 * 31)), now=THIS_HOUR, lookback_days=31)
    stored = {window: roi for window, roi, _ in tape.rows(STORED)}
    assert stored == {"1h": D(10), "24h": D(10), "7d": D(10), "30d": D(10)}


def test_a_statistic_without_base_has_its_reason(tape: Tape) -> None:
    tape.run([build_snapshot()])
    reasons = tape.rows("SELECT null_reasons ->> 'roi_pct' FROM market_roi_statistic")
    assert len(reasons) == 4
    assert all(reasons)


def test_the_same_figures_later_are_not_stored_again(tape: Tape) -> None:
    row = build_snapshot("100", at=THIS_HOUR)
    tape.run(Script([row], history(24 * 31)), now=THIS_HOUR, lookback_days=31)
    report = tape.run([build_snapshot("100", at=NOW)], now=NOW)
    assert report.ingested["roi_stats"] == 0
    assert tape.count("market_roi_statistic") == 4


def test_a_market_that_has_nothing_but_its_present_price_is_served_too(tape: Tape) -> None:
    known, new = build_snapshot(at=NOW), build_snapshot(listing=build_listing("NEW-USD"))
    tape.run(Script([known, new], history(30)), markets="BTC-USD,NEW-USD", lookback_days=2)
    counts = "SELECT market_id, count(*) FROM market_roi_statistic GROUP BY 1 ORDER BY 1"
    assert tape.rows(counts) == [(1, 4), (2, 4)]


def test_a_stale_price_is_judged_by_its_own_instant(tape: Tape) -> None:
    old = build_snapshot("110", at=THIS_HOUR - timedelta(hours=30))
    tape.run(Script([old], history(24 * 3)), now=NOW, lookback_days=4)
    last = tape.rows("SELECT DISTINCT last_at FROM market_roi_statistic")
    assert all(instant <= NOW for instant in last)

"""Snapshots as they are stored: exact, derived where the provider is silent, jumps flagged."""

from decimal import Decimal

import pytest
from sqlalchemy import text

from app.domain import DAY, HOUR
from tests.ingestion.making import MINUTE, NOW, Script, Tape, build_candle, build_snapshot

D = Decimal
STORED = "SELECT observed_at, price, flags FROM market_snapshot ORDER BY observed_at"
FIELDS = """
    SELECT roi_1h_pct, roi_24h_pct, roi_7d_pct, roi_30d_pct, derived FROM market_snapshot
    ORDER BY observed_at DESC LIMIT 1
"""
THIS_HOUR = NOW.replace(minute=0)


@pytest.mark.parametrize(
    "price", ["1E-400", "1E-1000", "9" * 30, "0.000000000001", "1." + "3" * 30, "123.4500"]
)
def test_every_digit_of_a_price_comes_back_through_the_whole_pipeline(
    tape: Tape, price: str
) -> None:
    tape.run([build_snapshot(price), build_snapshot(price, at=NOW - HOUR)])
    assert [row[1] for row in tape.rows(STORED)] == [D(price)] * 2
    assert tape.candles()[0][1:5] == (D(price),) * 4


@pytest.mark.parametrize(("price", "is_suspect"), [("199", False), ("200000", True), ("0.1", True)])
def test_a_jump_is_stored_and_flagged(tape: Tape, price: str, *, is_suspect: bool) -> None:
    tape.run([build_snapshot("100", at=NOW - HOUR)], now=NOW - HOUR)
    tape.run([build_snapshot(price)])
    assert tape.rows(STORED)[1] == (NOW, D(price), ["suspect"] if is_suspect else [])


def test_of_two_rows_of_one_instant_the_last_is_stored_and_flagged(tape: Tape) -> None:
    report = tape.run([build_snapshot("7"), build_snapshot("8")])
    assert tape.rows(STORED) == [(NOW, D(8), ["repeated"])]
    assert report.ingested["snapshots"] == 1


def test_several_instants_of_one_market_build_on_each_other(tape: Tape) -> None:
    rows = [build_snapshot("300"), build_snapshot("100", at=NOW - MINUTE)]
    tape.run(rows)
    assert [row[1:] for row in tape.rows(STORED)] == [(D(100), []), (D(300), ["suspect"])]


def test_each_of_several_instants_has_its_own_derived_figures(tape: Tape) -> None:
    history = [build_candle(THIS_HOUR - n * HOUR, str(100 + n)) for n in range(1, 40)]
    rows = [build_snapshot("200"), build_snapshot("150", at=NOW - 30 * MINUTE)]
    tape.run(Script(rows, history), lookback_days=2)
    found = tape.rows("SELECT price, roi_24h_pct FROM market_snapshot ORDER BY observed_at")
    assert [price for price, _ in found] == [D(150), D(200)]
    assert found[0][1] != found[1][1]


def test_what_the_provider_gives_is_kept_and_the_rest_is_derived(tape: Tape) -> None:
    history = [build_candle(THIS_HOUR - n * HOUR, "100") for n in range(1, 200)]
    row = build_snapshot("110", at=THIS_HOUR, roi_24h_pct=D("3.5"))
    tape.run(Script([row], history), now=THIS_HOUR, lookback_days=10)
    one_hour, one_day, week, month, derived = tape.rows(FIELDS)[0]
    assert (one_hour, one_day, week, month) == (D(10), D("3.5"), D(10), None)
    assert set(derived) == {"volatility", "roi_1h_pct", "roi_7d_pct"}


def test_a_first_snapshot_has_no_derived_figures(tape: Tape) -> None:
    tape.run([build_snapshot()])
    assert tape.rows(FIELDS) == [(None, None, None, None, [])]


def test_a_snapshot_that_comes_again_changes_nothing(tape: Tape) -> None:
    row = build_snapshot("5", volume=D("1.50"))
    first = tape.run([row])
    before = tape.data()["market_snapshot"]
    for hours in range(5):
        report = tape.run([row], now=NOW + hours * HOUR)
        assert report.ingested["snapshots"] == 0
    assert first.ingested["snapshots"] == 1
    assert tape.data()["market_snapshot"] == before


def test_a_snapshot_that_grows_old_is_flagged_once(tape: Tape) -> None:
    row = build_snapshot("5")
    changes = [
        tape.run([row], now=NOW + hours * HOUR).ingested["snapshots"] for hours in (0, 24, 25, 26)
    ]
    assert changes == [1, 0, 1, 0]
    assert tape.rows(STORED) == [(NOW, D(5), ["stale"])]


def test_a_corrected_snapshot_is_updated(tape: Tape) -> None:
    tape.run([build_snapshot("5")])
    report = tape.run([build_snapshot("6")])
    assert [row[:2] for row in tape.rows(STORED)] == [(NOW, D(6))]
    assert report.totals.updated >= 1


def test_old_rows_are_stored_and_flagged_as_stale(tape: Tape) -> None:
    tape.run([build_snapshot("5", at=NOW - 11 * DAY)])
    assert tape.rows(STORED) == [(NOW - 11 * DAY, D(5), ["stale"])]


def test_a_listing_knows_the_instant_of_its_newest_snapshot(tape: Tape) -> None:
    def known() -> list[object]:
        return tape.rows("SELECT observed_at FROM listing")

    tape.run([build_snapshot("1", at=NOW - HOUR), build_snapshot("2", at=NOW - 2 * HOUR)])
    assert known() == [NOW - HOUR]
    tape.run([build_snapshot("3", at=NOW - 3 * HOUR)])
    assert known() == [NOW - HOUR]
    tape.run([build_snapshot("4", at=NOW - MINUTE)])
    assert known() == [NOW - MINUTE]


def test_a_listing_that_does_not_know_learns_it_from_what_is_stored(tape: Tape) -> None:
    tape.run([build_snapshot("1", at=NOW - HOUR)])
    with tape.engine.begin() as connection:
        connection.execute(text("UPDATE listing SET observed_at = NULL"))
    tape.run([build_snapshot("2", at=NOW - 2 * HOUR)])
    assert tape.rows("SELECT observed_at FROM listing") == [NOW - HOUR]

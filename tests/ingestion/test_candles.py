"""Candles from snapshots, from the provider, and days and weeks from hours."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.domain import HOUR, CandleBasis
from tests.ingestion.making import MINUTE, Script, Tape, build_candle, build_listing, build_snapshot

TEN = datetime(2026, 3, 4, 10, tzinfo=UTC)
AT = TEN + 20 * MINUTE
TODAY = datetime(2026, 3, 4, tzinfo=UTC)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
D = Decimal


def observe(tape: Tape, price: str, at: datetime, *, now: datetime | None = None) -> None:
    """A run that brings one snapshot, at its own instant unless told otherwise."""
    tape.run([build_snapshot(price, at=at)], now=now or at)


def test_an_hour_is_derived_from_all_its_snapshots(tape: Tape) -> None:
    for minute, price in ((1, "10"), (20, "14"), (40, "9"), (59, "11")):
        observe(tape, price, TEN + minute * MINUTE)
    assert tape.candles() == [(TEN, D(10), D(14), D(9), D(11), False, "snapshots")]


def test_an_hour_becomes_final_at_the_next_run_after_its_end(tape: Tape) -> None:
    observe(tape, "10", AT)
    observe(tape, "20", TEN + HOUR)
    assert [(row[0], row[4], row[5]) for row in tape.candles()] == [
        (TEN, D(10), True),
        (TEN + HOUR, D(20), False),
    ]


def test_days_and_weeks_follow_their_hours(tape: Tape) -> None:
    observe(tape, "10", AT)
    observe(tape, "30", AT + HOUR)
    observe(tape, "20", AT + 2 * HOUR)
    day = (D(10), D(30), D(10), D(20), False, "finer")
    assert tape.candles("daily") == [(TODAY, *day)]
    assert tape.candles("weekly") == [(MONDAY, *day)]


def test_a_day_and_a_week_become_final_when_they_are_over(tape: Tape) -> None:
    sunday = datetime(2026, 3, 8, 23, 59, 59, 999_999, tzinfo=UTC)
    observe(tape, "10", sunday)
    observe(tape, "20", sunday + timedelta(microseconds=1))
    for granularity, first, second in (
        ("daily", datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)),
        ("weekly", MONDAY, datetime(2026, 3, 9, tzinfo=UTC)),
    ):
        rows = [(row[0], row[4], row[5]) for row in tape.candles(granularity)]
        assert rows == [(first, D(10), True), (second, D(20), False)]


def test_the_turn_of_the_year_splits_days_but_not_the_week(tape: Tape) -> None:
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    observe(tape, "10", new_year - MINUTE)
    observe(tape, "20", new_year)
    assert [row[0] for row in tape.candles("daily")] == [new_year - 24 * HOUR, new_year]
    # 2026-W53 ends on 3 January 2027.
    assert [row[0] for row in tape.candles("weekly")] == [datetime(2026, 12, 28, tzinfo=UTC)]
    observe(tape, "30", datetime(2027, 1, 4, tzinfo=UTC))
    assert len(tape.candles("weekly")) == 2


def test_a_late_observation_changes_only_the_candles_it_falls_into(tape: Tape) -> None:
    for hours in range(4):
        observe(tape, "10", AT + hours * HOUR)
    stored = "SELECT granularity, opened_at, run_id FROM market_aggregate"
    before = {row[:2]: row[2] for row in tape.rows(stored)}
    observe(tape, "99", TEN + 30 * MINUTE, now=AT + 3 * HOUR)
    after = {row[:2]: row[2] for row in tape.rows(stored)}
    changed = {key for key, run_id in after.items() if before[key] != run_id}
    assert changed == {("hourly", TEN), ("daily", TODAY), ("weekly", MONDAY)}
    assert tape.candles()[0] == (TEN, D(10), D(99), D(10), D(99), True, "snapshots")


def test_the_order_of_arrival_changes_nothing(tape: Tape) -> None:
    rows = [build_snapshot(str(10 + n), at=AT - n * 7 * MINUTE) for n in range(9)]
    tape.run(rows, now=AT)
    expected = tape.data()
    with tape.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE market RESTART IDENTITY CASCADE")
    tape.run(rows[::-1][4:] + rows[::-1][:4], now=AT)
    assert tape.data() == expected


def test_an_hour_of_the_provider_is_better_than_one_from_snapshots(tape: Tape) -> None:
    observe(tape, "10", AT)
    script = Script([build_snapshot("7", at=AT + HOUR)], [build_candle(TEN, "50")])
    tape.run(script, now=AT + HOUR, lookback_days=1)
    assert tape.candles()[0] == (TEN, D(100), D(100), D(50), D(50), True, "provider")
    observe(tape, "99", TEN + MINUTE, now=AT + HOUR)
    assert tape.candles()[0][1:5] == (D(100), D(100), D(50), D(50))


def test_an_hour_of_the_provider_is_not_derived_as_well(tape: Tape) -> None:
    script = Script([build_snapshot("60", at=AT)], [build_candle(TEN, "50")])
    report = tape.run(script, now=AT, lookback_days=1)
    assert report.totals.unchanged == 0
    assert report.ingested["aggregates"] == 3


def test_a_finished_hour_replaces_an_unfinished_one_of_the_provider(tape: Tape) -> None:
    unfinished = build_candle(TEN, "50", is_final=False)
    tape.run(Script([build_snapshot("60", at=AT)], [unfinished]), now=AT, lookback_days=1)
    assert tape.candles()[0][4:] == (D(50), False, "provider")
    observe(tape, "70", AT + HOUR)
    assert tape.candles()[0][4:] == (D(60), True, "snapshots")


def test_a_day_that_is_over_is_finished_by_a_run_of_other_markets(tape: Tape) -> None:
    observe(tape, "10", AT)
    for later in (HOUR, 24 * HOUR):  # the first one finishes the hour, so nothing of it is left
        other = build_snapshot("7", at=AT + later, listing=build_listing("ETH-USD"))
        tape.run([other], now=AT + later, markets="ETH-USD")
    assert [row[5] for row in tape.candles("daily")] == [True]
    assert [row[5] for row in tape.candles("weekly")] == [False]


def test_an_unfinished_hour_never_replaces_a_finished_one(tape: Tape) -> None:
    observe(tape, "10", AT)
    observe(tape, "20", AT + HOUR)
    before = tape.data()
    # The clock stands where it stood in the first run, as in a replay.
    observe(tape, "10", AT)
    assert tape.data() == before


def test_a_correction_by_the_provider_reaches_days_and_weeks(tape: Tape) -> None:
    hours = [build_candle(TODAY + n * HOUR, str(100 + n)) for n in range(10)]
    row = build_snapshot("109", at=AT)
    tape.run(Script([row], hours), now=AT, lookback_days=1)
    hours[3] = build_candle(TODAY + 3 * HOUR, "500")
    with tape.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE listing SET history_from = NULL")
    report = tape.run(Script([row], hours), now=AT, lookback_days=1)
    assert tape.candles("daily")[0][2] == D(500)
    assert tape.candles("weekly")[0][2] == D(500)
    assert report.totals.updated >= 3


@pytest.mark.parametrize("basis", list(CandleBasis))
def test_the_basis_of_a_candle_is_stored(tape: Tape, basis: CandleBasis) -> None:
    script = Script([build_snapshot(at=AT)], [build_candle(TODAY, basis=basis)])
    tape.run(script, now=AT, lookback_days=1)
    assert tape.candles()[0][6] == basis.value


def test_candles_of_many_markets_keep_to_their_market(tape: Tape) -> None:
    listings = [build_listing(f"M{n}-USD") for n in range(30)]
    rows = [build_snapshot(str(n + 1), at=AT, listing=each) for n, each in enumerate(listings)]
    tape.run(rows, now=AT, markets=",".join(each.symbol for each in listings))
    found = tape.rows(
        "SELECT DISTINCT m.symbol, a.close FROM market_aggregate a JOIN market m "
        "ON m.id = a.market_id"
    )
    assert sorted(found) == sorted((f"M{n}-USD", D(n + 1)) for n in range(30))

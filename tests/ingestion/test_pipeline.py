"""One pass as a whole: all or nothing, again without change, and an end at safe points only."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from app.domain import HOUR, MarketProblem, RejectedRow, RunStatus, Snapshot
from app.errors import PermanentProviderError, RunStopped
from app.ingestion import stages
from app.ingestion.context import StopSignal
from app.ingestion.stages import STORING, TITLES
from tests.ingestion.making import (
    DATA_TABLES,
    MINUTE,
    NOW,
    Notes,
    Script,
    Tape,
    build_candle,
    build_listing,
    build_snapshot,
)

THIS_HOUR = NOW.replace(minute=0)
ALL_TABLES = ("market", "listing", "data_version", *DATA_TABLES)
D = Decimal


def day(price: str = "110") -> Script:
    """Three markets with two days of history."""
    listings = [build_listing(name) for name in ("BTC-USD", "ETH-USD", "SOL-USD")]
    return Script(
        [build_snapshot(price, listing=each, volume=D(10)) for each in listings],
        [build_candle(THIS_HOUR - n * HOUR, listing=each) for each in listings for n in range(48)],
    )


THREE = {"markets": "BTC-USD,ETH-USD,SOL-USD", "lookback_days": 2}


def test_a_run_fills_every_table_and_tells_each_stage(tape: Tape) -> None:
    notes = Notes()
    report = tape.run(day(), recorder=notes, **THREE)
    assert report.status is RunStatus.SUCCEEDED
    assert all(tape.count(table) for table in ALL_TABLES)
    assert notes.finished == [(name, "succeeded") for name in TITLES if name != "cache"]
    assert report.totals.inserted == sum(tape.count(table) for table in DATA_TABLES)


def test_the_same_run_again_changes_nothing_and_says_so(tape: Tape) -> None:
    first = tape.run(day(), **THREE)
    before, version = tape.data(), tape.rows("SELECT token FROM data_version")
    for _ in range(5):
        again = tape.run(day(), **THREE)
        assert (again.totals.inserted, again.totals.updated) == (0, 0)
        assert again.totals.unchanged > 0
        assert set(again.ingested.values()) == {0}
    assert tape.data() == before
    assert tape.rows("SELECT token FROM data_version") == version
    assert first.ingested["snapshots"] == 3


def test_a_changed_run_gives_the_data_a_new_version(tape: Tape) -> None:
    tape.run(day(), **THREE)
    version = tape.rows("SELECT token FROM data_version")
    tape.run(day("111"), **THREE)
    assert tape.rows("SELECT token FROM data_version") != version


def test_shuffled_rows_give_the_same_tables(tape: Tape) -> None:
    script = day()
    tape.run(script, **THREE)
    expected = tape.data()
    with tape.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE market RESTART IDENTITY CASCADE")
    shuffled = Script(script.snapshots[::-1], script.candles[7:] + script.candles[:7])
    tape.run(shuffled, **THREE)
    assert tape.data() == expected


@pytest.mark.parametrize("failing", [stage.name for stage in STORING])
def test_a_failure_in_any_stage_leaves_everything_as_it_was(
    tape: Tape, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    tape.run(day(), **THREE)
    before = tape.data()

    def fail(name: str) -> None:
        if name == failing:
            raise RuntimeError("the stage broke")

    later = day("999")
    with pytest.raises(RuntimeError, match="the stage broke"):
        tape.run(later, now=NOW + HOUR, recorder=Notes(fail), **THREE)
    assert tape.data() == before
    assert tape.rows("SELECT seen_at FROM listing LIMIT 1") == [NOW]


def test_a_row_that_the_database_refuses_leaves_everything_as_it_was(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape.run(day(), **THREE)
    before = tape.data()
    monkeypatch.setattr("app.ingestion.validation.price_fault", lambda price: None)
    with pytest.raises(DBAPIError):
        tape.run(Script([*day("999").snapshots[:2], build_snapshot("-1")]), **THREE)
    assert tape.data() == before


@pytest.mark.parametrize("stage", ["validate", *(stage.name for stage in STORING)])
def test_a_cancelled_run_ends_at_the_next_safe_point_with_nothing_stored(
    tape: Tape, stage: str
) -> None:
    stop = StopSignal()
    notes = Notes(lambda name: stop.stop("cancelled") if name == stage else None)
    with pytest.raises(RunStopped) as caught:
        tape.run(day(), stop=stop, recorder=notes, **THREE)
    assert caught.value.reason == "cancelled"
    assert [tape.count(table) for table in ALL_TABLES] == [0] * len(ALL_TABLES)


def test_a_run_past_its_deadline_ends_with_nothing_stored(tape: Tape) -> None:
    with pytest.raises(RunStopped) as caught:
        tape.run(day(), seconds=0, **THREE)
    assert caught.value.reason == "deadline"
    assert tape.count("market") == 0


def test_bad_rows_and_problems_make_a_run_partial_and_the_good_ones_stay(tape: Tape) -> None:
    script = day()
    script.snapshots = [
        *script.snapshots[:2],
        build_snapshot("0", listing=build_listing("SOL-USD")),
    ]
    script.problems = [MarketProblem("X-USD", "NotFound", "X is\0 unknown.")]
    report = tape.run(script, **THREE)
    assert report.status is RunStatus.PARTIAL
    assert (report.markets_requested, report.markets_ingested) == (4, 2)
    assert [row.reason for row in report.rejected] == ["price_not_positive"]
    assert report.problems[0].message == "X is unknown."
    assert report.ingested["snapshots"] == 2


def test_rows_nobody_asked_for_are_set_aside_and_counted(tape: Tape) -> None:
    stranger = build_snapshot(listing=build_listing("UFO-USD"))
    report = tape.run([build_snapshot(), stranger])
    assert [row.reason for row in report.rejected] == ["not_asked"]
    assert tape.rows("SELECT symbol FROM market") == ["BTC-USD"]


def test_a_listing_whose_id_cannot_be_stored_costs_only_itself(tape: Tape) -> None:
    odd = build_listing("ODD-USD", "o\0dd", chosen_by="discovered")
    good = build_listing("BTC-USD", chosen_by="discovered")
    script = Script([build_snapshot(listing=odd), build_snapshot(listing=good)], ranked=[odd, good])
    report = tape.run(script, markets="top:2")
    assert (report.status, report.markets_requested) == (RunStatus.PARTIAL, 2)
    assert [(row.reason, row.provider_id) for row in report.rejected] == [("bad_id", "odd")]


def test_rows_rejected_by_the_provider_are_counted_as_fetched(tape: Tape) -> None:
    given_up = RejectedRow("snapshot", "bad_shape", "No row.\0", "{\ud800", None, "x\0")
    report = tape.run(Script([build_snapshot()], rejected=[given_up]))
    assert (report.totals.fetched, report.totals.rejected) == (2, 1)
    assert report.rejected[0].provider_id == "x"


def test_a_dry_run_stores_nothing_and_reports_everything(tape: Tape) -> None:
    report = tape.run(day(), is_dry_run=True, **THREE)
    assert (report.markets_ingested, report.totals.fetched) == (3, 3 + 3 * 48)
    assert [tape.count(table) for table in ALL_TABLES] == [0] * len(ALL_TABLES)


def test_what_was_observed_while_the_run_fetched_is_not_in_the_future(tape: Tape) -> None:
    # The run's own instant is older than the clock is by the time of validation.
    row = build_snapshot(at=NOW + 10 * MINUTE)
    report = tape.run([row], now=NOW + 10 * MINUTE)
    assert report.status is RunStatus.SUCCEEDED


def test_every_stage_has_a_title_in_the_order_it_runs() -> None:
    assert list(TITLES) == ["fetch", "validate", *(stage.name for stage in STORING), "cache"]
    assert {stage.total for stage in stages.STORING} == {
        "snapshots", "aggregates", "comparisons", "roi_stats"
    }  # fmt: skip


NUMBERS = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.from_regex(r"-?[0-9]{1,35}(\.[0-9]{1,40})?(E[+-]?[0-9]{1,4})?", fullmatch=True).map(D),
)
TIMES = st.one_of(
    st.none(),
    st.datetimes(),
    st.datetimes(timezones=st.just(timezone(timedelta(hours=5, minutes=30)))),
    st.timedeltas(-timedelta(days=31), timedelta(minutes=9)).map(lambda age: NOW + age),
)
ROWS = st.builds(
    build_snapshot,
    st.one_of(st.none(), NUMBERS.map(str)),
    at=TIMES,
    listing=st.sampled_from(["BTC-USD", "ETH-USD", "UFO-USD"]).map(build_listing),
    volume=st.one_of(st.none(), NUMBERS),
    market_cap=st.one_of(st.none(), NUMBERS),
    volatility=st.one_of(st.none(), NUMBERS),
    roi_1h_pct=st.one_of(st.none(), NUMBERS),
    raw=st.text(max_size=20),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ROWS, max_size=6))
def test_whatever_rows_come_a_run_ends_well_or_with_the_providers_fault(
    tape: Tape, rows: list[Snapshot]
) -> None:
    try:
        report = tape.run(rows, markets="BTC-USD,ETH-USD")
    except PermanentProviderError:
        return
    assert report.ingested["snapshots"] + report.totals.unchanged + report.totals.rejected > 0
    odd = "SELECT count(*) FROM market_snapshot WHERE price IN ('NaN', 'Infinity') OR price <= 0"
    assert tape.rows(odd) == [0]


def test_a_run_that_waits_for_its_provider_holds_no_transaction(tape: Tape) -> None:
    states: list[object] = []

    def look(name: str) -> None:
        if name == "validate":
            states.extend(
                tape.rows(
                    "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state LIKE 'idle in transaction%'"
                )
            )

    tape.run(day(), recorder=Notes(look), **THREE)
    assert states == []


def test_the_instant_of_a_run_may_lie_in_any_zone(tape: Tape) -> None:
    now: datetime = NOW.astimezone(timezone(timedelta(hours=-7)))
    tape.run([build_snapshot(at=now)], now=now)
    assert tape.rows("SELECT observed_at FROM market_snapshot") == [NOW]

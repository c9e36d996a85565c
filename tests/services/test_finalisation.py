"""Candles that are over become final without a run, and none that is not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.domain import Granularity
from app.services.finalisation import GRACE, finish_candles
from tests.ingestion.making import Tape, build_snapshot, tape_on

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def tape(database_url: str) -> Iterator[Tape]:
    """Empty tables with one market."""
    with tape_on(database_url) as tape:
        tape.run([build_snapshot("5")])
        with tape.engine.begin() as connection:
            connection.execute(text("DELETE FROM market_aggregate"))
        yield tape


@pytest.fixture
def now() -> datetime:
    """What the database's clock says, near enough: the suite may run for minutes."""
    return datetime.now(UTC)


def add(tape: Tape, granularity: str, opened_at: datetime, *, basis: str = "snapshots") -> None:
    with tape.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, "
                "high, low, close, sample_count, is_final, basis, run_id) "
                "SELECT id, 'mock', :granularity, :at, 1, 1, 1, 1, 1, false, :basis, "
                "gen_random_uuid() FROM market"
            ),
            {"granularity": granularity, "at": opened_at, "basis": basis},
        )


def open_candles(engine: Engine) -> set[tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT granularity, opened_at FROM market_aggregate WHERE NOT is_final")
        )
        return {tuple(row) for row in rows}


def token(tape: Tape) -> Any:
    return tape.rows("SELECT token FROM data_version WHERE kind = 'data'")


def test_an_hour_is_final_when_it_is_over_and_its_run_had_time(tape: Tape, now: datetime) -> None:
    over, barely, lasting = now - HOUR - 2 * GRACE, now - HOUR - GRACE / 2, now - HOUR / 2
    for opened_at in (over, barely, lasting):
        add(tape, "hourly", opened_at)
    before = token(tape)
    assert finish_candles(tape.engine) == 1
    assert open_candles(tape.engine) == {("hourly", barely), ("hourly", lasting)}
    assert token(tape) != before


@pytest.mark.parametrize(("granularity", "step"), [("daily", DAY), ("weekly", 7 * DAY)])
def test_a_longer_candle_is_final_at_its_own_end(
    tape: Tape, now: datetime, granularity: str, step: timedelta
) -> None:
    over, lasting = now - step - 2 * GRACE, now - step + HOUR
    add(tape, granularity, over, basis="finer")
    add(tape, granularity, lasting, basis="finer")
    assert finish_candles(tape.engine) == 1
    assert open_candles(tape.engine) == {(granularity, lasting)}


def test_what_the_provider_gave_unfinished_waits_for_it_and_so_does_its_day(
    tape: Tape, now: datetime
) -> None:
    day = Granularity.DAILY.floor(now) - DAY
    add(tape, "hourly", day + 23 * HOUR, basis="provider")
    add(tape, "daily", day, basis="finer")
    add(tape, "daily", day - DAY, basis="finer")
    finish_candles(tape.engine)
    assert open_candles(tape.engine) == {("hourly", day + 23 * HOUR), ("daily", day)}


def test_nothing_to_finish_leaves_the_version_of_the_data(tape: Tape) -> None:
    before = token(tape)
    assert finish_candles(tape.engine) == 0
    assert token(tape) == before


def test_a_candle_that_a_run_holds_is_left_to_it(tape: Tape, now: datetime) -> None:
    add(tape, "hourly", now - 3 * HOUR)
    with tape.engine.begin() as run:
        run.execute(text("SELECT 1 FROM market_aggregate FOR UPDATE"))
        assert finish_candles(tape.engine) == 0
    assert len(open_candles(tape.engine)) == 1


def test_of_many_processes_one_looks_in_a_minute(tape: Tape, now: datetime) -> None:
    add(tape, "hourly", now - 3 * HOUR)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: finish_candles(tape.engine), range(8)))
    assert (counts.count(None), counts.count(1)) == (7, 1)
    add(tape, "hourly", now - 4 * HOUR)
    assert finish_candles(tape.engine) is None

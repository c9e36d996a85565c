"""A run whose transaction loses a conflict: done again from its beginning, and counted once."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from app.domain import HOUR, RejectedRow, RunStatus
from app.errors import RunStopped, StorageConflict
from app.ingestion import pipeline
from app.ingestion.context import Haul, RunContext, StageCounts, StopSignal
from app.ingestion.pipeline import RunReport
from app.ingestion.stages import STORING
from tests.ingestion.making import (
    DATA_TABLES,
    NOW,
    Notes,
    Script,
    Tape,
    build_candle,
    build_listing,
    build_snapshot,
    empty,
    released,
)

TABLES = ("market", "listing", *DATA_TABLES, "rejected_row", "data_version")
THIS_HOUR = NOW.replace(minute=0)
THREE = {"markets": "BTC-USD,ETH-USD,SOL-USD", "lookback_days": 2}
# Sequences are not rolled back, so the trigger knows how often it was asked before.
TROUBLE = """
    CREATE SEQUENCE asked;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('asked') <= {times} THEN RAISE SQLSTATE '{code}'; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER trouble AFTER INSERT OR UPDATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""
PEACE = """
    DROP FUNCTION IF EXISTS refuse() CASCADE;
    DROP SEQUENCE IF EXISTS asked
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'opponent' AND wait_event_type = 'Lock'
"""


def tape_of_day(price: str = "110") -> Script:
    """Three markets with two days of history, and a row that can't be kept."""
    listings = [build_listing(name) for name in ("BTC-USD", "ETH-USD", "SOL-USD")]
    candles = [
        build_candle(THIS_HOUR - n * HOUR, price, listing=each)
        for each in listings
        for n in range(48)
    ]
    return Script(
        [build_snapshot(price, listing=each) for each in listings],
        candles,
        rejected=[RejectedRow("snapshot", "bad_shape", "No row.", "{")],
    )


def data_of(tape: Tape) -> dict[str, list[str]]:
    """Every row by symbol: numbers of markets that were rolled back are not given again."""
    return {
        table: tape.rows(
            "SELECT m.symbol || (to_jsonb(t) - "
            "'{run_id,stored_at,market_id,against_market_id}'::text[])::text "
            f"FROM {table} t JOIN market m ON m.id = t.market_id ORDER BY 1"
        )
        for table in DATA_TABLES
    }


@pytest.fixture
def tape(database_url: str) -> Iterator[Tape]:
    """The pipeline over empty tables, the first to notice a deadlock."""
    impatient = {"options": "-c timezone=UTC -c deadlock_timeout=20ms"}
    engine = create_engine(database_url, connect_args=impatient)
    empty(engine)
    yield Tape(engine)
    with engine.begin() as connection:
        connection.execute(text(PEACE))
    engine.dispose()


@contextmanager
def trouble(tape: Tape, table: str, *, times: int = 1, code: str = "40001") -> Iterator[None]:
    """The first statements that write to a table fail as those of a lost conflict do."""
    with tape.engine.begin() as connection:
        connection.execute(text(TROUBLE.format(table=table, times=times, code=code)))
    yield
    with tape.engine.begin() as connection:
        connection.execute(text(PEACE))


@pytest.mark.parametrize("code", ["40001", "40P01"])
@pytest.mark.parametrize("table", TABLES)
def test_a_conflict_at_any_statement_leaves_no_trace_but_a_line_of_the_log(
    tape: Tape, table: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = tape.run(tape_of_day(), **THREE)
    data = data_of(tape)
    empty(tape.engine)
    script, notes = tape_of_day(), Notes()
    with trouble(tape, table, code=code):
        report = tape.run(script, recorder=notes, **THREE)
    assert report == expected
    assert data_of(tape) == data
    assert (report.status, report.totals.rejected) == (RunStatus.PARTIAL, 1)
    assert tape.count("rejected_row") == 1
    assert script.calls == ["hourly from 2026-03-02 08:00"]
    assert [name for name, _ in notes.finished].count("fetch") == 1
    assert notes.finished[-1] == ("roi_statistics", "succeeded")
    assert [record.message for record in caplog.records] == ["transaction repeated"]
    assert caplog.records[0].levelno == logging.WARNING


@dataclass
class Opponent:
    """Another connection that wants two rows of a run in the opposite order."""

    engine: Engine
    has_lock: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Lock statistics; when told to, touch snapshots, whose rows the run has by then."""
        with self.engine.begin() as connection:
            connection.execute(text("SELECT FROM market_roi_statistic FOR UPDATE"))
            self.has_lock.set()
            released(self.go_on)
            connection.execute(text("UPDATE market_snapshot SET price = price"))

    def stand_in_the_way(self, tape: Tape) -> None:
        """Wait for the run; returns when that is so."""
        self.go_on.set()
        until = time.monotonic() + 30
        while tape.rows(WAITING) != [1]:
            assert time.monotonic() < until


@contextmanager
def opponent_of(tape: Tape) -> Iterator[Opponent]:
    # It never looks for a deadlock, so that it is always the run that finds it and loses.
    options = {"options": "-c deadlock_timeout=1h", "application_name": "opponent"}
    engine = create_engine(tape.engine.url, connect_args=options)
    opponent = Opponent(engine)
    thread = threading.Thread(target=opponent.work)
    thread.start()
    released(opponent.has_lock)
    try:
        yield opponent
    finally:
        opponent.go_on.set()
        thread.join(30)
        engine.dispose()


def test_a_real_deadlock_is_survived_and_counted_once(
    tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    def second(recorder: Notes) -> RunReport:
        return tape.run(tape_of_day("112"), recorder=recorder, **THREE)

    tape.run(tape_of_day(), **THREE)
    expected, data = second(Notes()), data_of(tape)
    empty(tape.engine)
    tape.run(tape_of_day(), **THREE)
    starts: list[str] = []
    with opponent_of(tape) as opponent:

        def disturb(name: str) -> None:
            starts.append(name)
            if starts.count("roi_statistics") == 1 and name == "roi_statistics":
                opponent.stand_in_the_way(tape)

        report = second(Notes(disturb))
    storing = [stage.name for stage in STORING]
    assert starts == ["fetch", "validate", *storing, *storing]
    assert report.totals.updated > 0
    assert (report, data_of(tape)) == (expected, data)
    (line,) = caplog.records
    assert (line.message, vars(line)["reason"]) == ("transaction repeated", "DeadlockDetected")


@pytest.mark.parametrize("table", ["market_aggregate", "data_version"])
def test_a_conflict_that_does_not_end_is_given_up_with_nothing_stored(
    tape: Tape, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()
    with (
        trouble(tape, table, times=10**6, code="40P01"),
        pytest.raises(StorageConflict, match="3 times in a row, so nothing was kept"),
    ):
        tape.run(tape_of_day(), recorder=notes, **THREE)
    assert [tape.count(name) for name in TABLES] == [0] * len(TABLES)
    events = [record.message for record in caplog.records]
    assert events == ["transaction repeated", "transaction repeated", "transaction given up"]
    assert [name for name, _ in notes.finished].count("history") == 3


def test_what_a_stage_sets_aside_is_counted_once(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = STORING

    def set_aside(context: RunContext, connection: Connection) -> StageCounts:
        context.set_aside([RejectedRow("candle", "odd", "It is odd.", "")])
        return first.store(context, connection)

    monkeypatch.setattr(pipeline, "STORING", (replace(first, store=set_aside), *others))
    with trouble(tape, "market_roi_statistic"):
        report = tape.run(tape_of_day(), **THREE)
    assert [row.reason for row in report.rejected] == ["bad_shape", "odd"]
    assert report.totals.rejected == 2
    assert tape.rows("SELECT reason FROM rejected_row ORDER BY id") == ["bad_shape", "odd"]


def test_nothing_that_a_transaction_left_in_memory_outlives_it() -> None:
    nothing: Any = None
    context = RunContext(nothing, nothing, StopSignal(), float("inf"), lambda: NOW)
    fetched, counts = Haul(problems=[nothing]), {"fetch": StageCounts(fetched=1)}
    with context.history:
        context.start_over(fetched, counts)
        context.haul.states[1] = context.haul.market_ids["a", "b", "c"] = nothing
        context.haul.problems.append(nothing)
        context.counts["history"] = StageCounts(inserted=1)
        shelf = context.closes
        context.start_over(fetched, counts)
    assert context.haul == Haul(problems=[nothing])
    assert context.counts == {"fetch": StageCounts(fetched=1)}
    assert context.closes is not shelf


def cancel(stop: StopSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    stop.stop("cancelled")


def let_time_pass(stop: StopSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    late = SimpleNamespace(monotonic=lambda: float("inf"))
    monkeypatch.setattr("app.ingestion.context.time", late)


@pytest.mark.parametrize(("end", "reason"), [(cancel, "cancelled"), (let_time_pass, "deadline")])
def test_a_run_that_has_to_end_is_not_begun_again(
    tape: Tape,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[StopSignal, pytest.MonkeyPatch], None],
    reason: str,
) -> None:
    stop = StopSignal()
    notes = Notes(lambda name: end(stop, monkeypatch) if name == "roi_statistics" else None)
    with trouble(tape, "market_roi_statistic"), pytest.raises(RunStopped) as caught:
        tape.run(tape_of_day(), recorder=notes, stop=stop, **THREE)
    assert caught.value.reason == reason
    assert [name for name, _ in notes.finished].count("history") == 1
    assert tape.count("market_snapshot") == 0

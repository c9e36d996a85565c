"""Rejected rows: each is stored with its reason and text, whatever it says and however many."""

import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain import HOUR, Candle, Granularity, Listing, RejectedRow, RunStatus
from app.errors import PermanentProviderError, StorageError, TransientProviderError
from app.ingestion import history, rejected_rows
from app.ingestion.rejected_rows import RejectedRows
from app.ingestion.run_row import RunTicket, close_with_error
from app.ingestion.validation import RAW_LENGTH, storable_rejection
from app.providers.base import Batch
from app.providers.mock import Mock
from tests.ingestion.making import (
    NOW,
    Script,
    Tape,
    build_candle,
    build_listing,
    build_snapshot,
)
from tests.services.test_runner import deck_on

RUN = UUID(int=7)
OPENED = NOW.replace(minute=0) - HOUR
STORED = "SELECT provider, kind, symbol, provider_id, reason, detail, raw FROM rejected_row"
HOSTILE = (
    "",
    "None",
    "\\N",
    "\\.",
    "\n\\.\n",
    "a\tb\\tc\r\nd\\",
    "\x00NUL\x00",
    "\ud800 alone \udfff",
    "\x0b\x1b[31m\x7f\x85\u2028\u202e🪙",
    "'; DROP TABLE market; --",
    "\\x41\\101",
    "é" * 1_000_000,
)


def row_of(number: int, raw: str = "{}", kind: str = "candle") -> RejectedRow:
    return RejectedRow(kind, "odd", f"No. {number} is odd.", raw, "BTC-USD", "bitcoin")


def store(tape: Tape, rows: RejectedRows) -> None:
    """All of them, as rows of a run."""
    with tape.engine.begin() as connection:
        rows.store(connection)


@pytest.fixture
def run(tape: Tape) -> UUID:
    """A run that rejected rows can belong to."""
    with tape.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ingestion_run (id, status, trigger, provider, owner, lease_until,"
                " deadline_at) VALUES (:id, 'running', 'cli', 'scripted', 'me', now(), now())"
            ),
            {"id": RUN},
        )
    return RUN


def test_every_row_of_a_run_is_stored_however_many(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_rows, "CHUNK_ROWS", 5_000)
    bad = [build_candle(OPENED, "-1", raw=f"row {n}") for n in range(12_345)]
    good = [build_candle(OPENED), build_candle(OPENED - HOUR)]
    report = tape.run(Script([build_snapshot()], [*bad, *good]), lookback_days=1)
    assert (report.status, report.totals.rejected) == (RunStatus.PARTIAL, 12_345)
    assert tape.rows("SELECT raw FROM rejected_row ORDER BY id") == [row.raw for row in bad]
    assert tape.count("market_aggregate WHERE basis = 'provider'") == 2
    assert [row.raw for row in report.rejected] == [f"row {n}" for n in range(20)]


def test_a_run_counts_its_rejected_rows_by_reason(tape: Tape) -> None:
    bad = [build_candle(OPENED, "-1"), build_candle(OPENED, "-2"), build_candle(OPENED)]
    report = tape.run(Script([build_snapshot()], bad, rejected=[row_of(1)]), lookback_days=1)
    counts = "SELECT jsonb_build_object(reason, count(*)) FROM rejected_row GROUP BY reason"
    stored = tape.rows(counts)
    assert report.rejected_reasons == {key: n for part in stored for key, n in part.items()}
    assert sum(report.rejected_reasons.values()) == report.totals.rejected == 3


def test_a_run_of_which_nothing_was_kept_has_its_counts(tape: Tape, run: UUID) -> None:
    with closing(RejectedRows()) as rows:
        rows.add([row_of(1), row_of(2)], run_id=run, provider="scripted")
        close_with_error(
            tape.engine,
            RunTicket(run),
            status=RunStatus.FAILED,
            error_class="TransientProviderError",
            message="away",
            rejected=rows,
        )
    assert tape.rows("SELECT rejected_reasons FROM ingestion_run") == [{"odd": 2}]


def test_what_a_repeated_transaction_rejected_is_counted_once() -> None:
    with closing(RejectedRows()) as rows:
        rows.add([row_of(1)], run_id=RUN, provider="x")
        rows.seal()
        for _ in range(3):
            rows.start_over()
            rows.add([row_of(2)], run_id=RUN, provider="x")
        assert rows.reasons == {"odd": 2}


def test_a_provider_that_gives_each_row_a_reason_of_its_own_fills_no_memory() -> None:
    odd = [RejectedRow("candle", f"odd_{n}", "", "", None, None) for n in range(500)]
    with closing(RejectedRows()) as rows:
        rows.add(odd, run_id=RUN, provider="x")
        reasons = rows.reasons
    assert (len(reasons), reasons["odd_99"], reasons[""]) == (101, 1, 400)


def test_rows_of_a_market_itself_come_first(tape: Tape) -> None:
    eth = build_listing("ETH-USD")
    script = Script(
        [build_snapshot(), build_snapshot("0", listing=eth, raw="snapshot")],
        [build_candle(OPENED, "-1", raw="candle")],
        rejected=[row_of(1, "unreadable", "snapshot")],
    )
    report = tape.run(script, markets="BTC-USD,ETH-USD", lookback_days=1)
    shown = ["unreadable", "snapshot", "candle"]
    assert tape.rows("SELECT raw FROM rejected_row ORDER BY id") == shown
    assert [row.raw for row in report.rejected] == shown


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_is_stored_as_it_is_but_for_what_no_database_takes(
    tape: Tape, hostile: str
) -> None:
    told = RejectedRow("snapshot", hostile, hostile, hostile, hostile, hostile)
    tape.run(Script([build_snapshot()], rejected=[told, row_of(1)]))
    kept = hostile.replace("\x00", "").replace("\ud800", "�").replace("\udfff", "�")
    first, second = tape.rows(f"{STORED} ORDER BY id")
    assert first == (
        *("scripted", "snapshot", kept[:200], kept[:200]),
        *(kept[:4000], kept[:4000], kept[:RAW_LENGTH]),
    )
    assert second[-1] == "{}"


rejections = st.builds(
    RejectedRow,
    kind=st.sampled_from(["candle", "snapshot", "\\N"]),
    reason=st.text(max_size=8),
    detail=st.text(max_size=80),
    raw=st.text(max_size=80),
    symbol=st.none() | st.text(max_size=5),
    provider_id=st.none() | st.sampled_from(["None", "\\N", "\\", "\t"]),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.lists(rejections, max_size=5), max_size=4))
def test_what_is_kept_comes_back_exactly(
    tape: Tape, run: UUID, adds: list[list[RejectedRow]]
) -> None:
    with tape.engine.begin() as connection:
        connection.execute(text("DELETE FROM rejected_row"))
    with closing(RejectedRows(memory_bytes=100)) as rows:
        for some in adds:
            rows.add(map(storable_rejection, some), run_id=run, provider="a\tb\\")
        store(tape, rows)
        count = rows.count
    expected = [storable_rejection(row) for some in adds for row in some]
    expected.sort(key=lambda row: row.kind == "candle")
    assert tape.rows(f"{STORED} ORDER BY id") == [
        ("a\tb\\", row.kind, row.symbol, row.provider_id, row.reason, row.detail, row.raw)
        for row in expected
    ]
    assert count == len(expected)


def test_memory_does_not_grow_with_the_rows() -> None:
    def rows() -> Iterator[RejectedRow]:
        return (row_of(n, f"{n} " * 200) for n in range(15_000))

    with closing(RejectedRows(memory_bytes=100_000)) as kept:
        tracemalloc.start()
        kept.add(rows(), run_id=RUN, provider="scripted")
        left, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept.count == 15_000
    assert left < 6_000_000
    assert peak < 20_000_000


def test_what_there_was_room_for_is_stored_when_the_disk_is_full(
    tape: Tape, run: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_rows, "BLOCK_ROWS", 10)
    with closing(RejectedRows(memory_bytes=1_000)) as rows:
        rows.add([row_of(n) for n in range(10)], run_id=run, provider="scripted")
        monkeypatch.setattr("tempfile.tempdir", "/nowhere")
        with pytest.raises(StorageError, match="no room for temporary files"):
            rows.add([row_of(n) for n in range(10, 40)], run_id=run, provider="scripted")
        store(tape, rows)
        assert rows.count == tape.count("rejected_row") == 10


def test_a_run_that_fails_keeps_every_rejected_row(tape: Tape, database_url: str) -> None:
    with deck_on(database_url, bad_rows=1) as deck:
        detail = deck.run()
        assert detail.run.status is RunStatus.FAILED
        assert detail.run.counts.rejected == deck.count("rejected_row") > 3
        assert detail.run.counts.rejected <= detail.run.counts.fetched


def test_a_fetch_that_breaks_off_keeps_what_was_rejected_by_then(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(
        self: Mock, listings: list[Listing], granularity: Granularity, *_: Any
    ) -> Batch[Candle]:
        def rows() -> Iterator[Candle]:
            yield from [build_candle(OPENED, "-1", listing=listings[0])] * 100
            raise TransientProviderError("The line is dead.")

        return Batch(rows())  # type: ignore[arg-type]

    monkeypatch.setattr(Mock, "fetch_candles", broken)
    monkeypatch.setattr(history, "CHUNK_ROWS", 50)
    with deck_on(database_url) as deck:
        detail = deck.run()
        run = detail.run
        assert (run.status, run.error_class) == (RunStatus.FAILED, "TransientProviderError")
        assert run.counts.rejected == deck.count("rejected_row") == 100
        assert run.counts.fetched == 103
        assert deck.count("market") == 0


def test_a_run_without_a_usable_row_says_how_many_were_rejected(tape: Tape) -> None:
    candles = [build_candle(OPENED, "-1")] * 5
    script = Script([build_snapshot("0")], candles, rejected=[row_of(1)])
    with pytest.raises(PermanentProviderError, match="7 rows were rejected"):
        tape.run(script, lookback_days=1)

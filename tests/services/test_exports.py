"""Rows as CSV: exact digits, harmless texts, bounded memory, the shell's command."""

import csv
import io
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from app.cli_exports import export_command
from app.domain import Granularity
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.exports import ExportFilter, ExportKind, export_csv, guard
from tests.apps import bare_app
from tests.web.real_app import empty_tables

RUN = "00000000-0000-0000-0000-000000000001"
OTHER_RUN = "00000000-0000-0000-0000-000000000002"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARKETS = """
    INSERT INTO market (symbol, name, asset_type, quote, former_symbols)
    VALUES ('A-USD', 'A', 'crypto', 'USD', '{OLD-USD}'), ('B-USD', 'B', 'crypto', 'USD', '{}')
"""
SNAPSHOTS = """
    INSERT INTO market_snapshot (market_id, provider, observed_at, price, volume, roi_1h_pct,
                                 derived, flags, run_id)
    SELECT 1, 'mock', :at + n * interval '1 minute', CAST(:price AS numeric), 0.10, -0.50,
           '{roi_1h_pct,volatility}', '{}', :run FROM generate_series(1, :count) AS n
"""
REJECTED = """
    INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw)
    VALUES (:run, 'mock', 'snapshot', :symbol, 'odd', 'It is odd.', :raw)
"""
A_RUN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, lease_until, deadline_at,
                               finished_at)
    VALUES (:run, 'succeeded', 'manual', 'mock', 'me', now(), now(), now())
"""


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url) as app:
        yield app


@pytest.fixture(autouse=True)
def tables(app: Flask) -> None:
    db.session.remove()
    empty_tables(app)
    execute(MARKETS)


def execute(statement: str, **values: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(statement), values)


def export(kind: ExportKind, **wanted: Any) -> list[dict[str, str]]:
    body = b"".join(export_csv(db.engine, kind, ExportFilter(**wanted))).decode()
    return list(csv.DictReader(io.StringIO(body, newline="")))


@pytest.mark.parametrize(
    "price", ["0.0000000000042", "1000000000000000000", "2.50", "123456789012345678.9012345678901"]
)
def test_numbers_have_the_stored_digits_and_no_exponent(price: str) -> None:
    execute(SNAPSHOTS, at=NOON, price=price, count=1, run=RUN)
    (row,) = export(ExportKind.SNAPSHOTS)
    assert (row["price"], row["volume"], row["market_cap"]) == (price, "0.10", "")
    assert row["roi_1h_pct"] == "-0.50"
    assert row["observed_at"] == "2026-03-02T12:01:00.000000Z"
    assert (row["derived"], row["run_id"]) == ("roi_1h_pct volatility", RUN)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_could_run_is_disarmed(start: str) -> None:
    raw = f'{start}HYPERLINK("http://evil","x"),\n"quoted", ünïcödé 🪙'
    execute(A_RUN, run=RUN)
    execute(REJECTED, run=RUN, symbol=f"{start}A1", raw=raw)
    (row,) = export(ExportKind.REJECTED_ROWS)
    assert (row["symbol"], row["raw"]) == (f"'{start}A1", f"'{raw}")


@given(st.text())
def test_only_the_beginning_of_a_text_is_judged(cell: str) -> None:
    assert guard(cell) in (cell, f"'{cell}")
    assert guard(f"x{cell}") == f"x{cell}"
    assert guard(guard(f"={cell}")) == f"'={cell}"


def test_lines_end_and_quote_as_the_standard_says() -> None:
    execute(A_RUN, run=RUN)
    execute(REJECTED, run=RUN, symbol="A-USD", raw='a "b", c')
    body = b"".join(export_csv(db.engine, ExportKind.REJECTED_ROWS, ExportFilter()))
    header, line, rest = body.split(b"\r\n")
    assert header.startswith(b"id,run_id,provider,kind,symbol")
    assert b',"a ""b"", c",' in line
    assert rest == b""


def test_nothing_stored_is_a_file_with_a_header() -> None:
    for kind in ExportKind:
        body = b"".join(export_csv(db.engine, kind, ExportFilter()))
        assert body.count(b"\r\n") == 1


def test_filters_narrow_by_market_and_half_open_interval() -> None:
    execute(SNAPSHOTS, at=NOON, price="1", count=10, run=RUN)
    instants = [row["observed_at"] for row in export(ExportKind.SNAPSHOTS, market="old-usd")]
    start, end = map(datetime.fromisoformat, (instants[2], instants[5]))
    part = export(ExportKind.SNAPSHOTS, market="A-USD", start=start, end=end)
    assert [row["observed_at"] for row in part] == instants[2:5]
    assert export(ExportKind.SNAPSHOTS, market="B-USD") == []


def test_rejected_rows_of_one_run_are_told_apart() -> None:
    for run in (RUN, OTHER_RUN):
        execute(A_RUN, run=run)
        execute(REJECTED, run=run, symbol="A-USD", raw=run)
    (row,) = export(ExportKind.REJECTED_ROWS, run=UUID(OTHER_RUN))
    assert (row["run_id"], row["raw"]) == (OTHER_RUN, OTHER_RUN)
    assert export(ExportKind.REJECTED_ROWS, run=UUID(int=9)) == []
    with pytest.raises(InvalidRequest, match="run is no filter"):
        export(ExportKind.SNAPSHOTS, run=UUID(RUN))


def test_filters_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="granularity"):
        export(ExportKind.SNAPSHOTS, granularity=Granularity.DAILY)
    with pytest.raises(InvalidRequest, match="market"):
        export(ExportKind.RUNS, market="A-USD")
    with pytest.raises(NotFound, match="NO-SUCH"):
        export(ExportKind.CANDLES, market="NO-SUCH")
    with pytest.raises(InvalidRequest, match="start"):
        export(ExportKind.RUNS, start=NOON, end=NOON)


def test_memory_does_not_grow_with_the_rows() -> None:
    execute(SNAPSHOTS, at=NOON, price="1234.5678", count=40_000, run=RUN)
    cursors: list[str | None] = []
    note = lambda _, cursor, *rest: cursors.append(cursor.name)  # noqa: E731
    event.listen(db.engine, "before_cursor_execute", note)
    tracemalloc.start()
    size = sum(map(len, export_csv(db.engine, ExportKind.SNAPSHOTS, ExportFilter())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    event.remove(db.engine, "before_cursor_execute", note)
    assert size > 5_000_000
    assert peak < 5_000_000
    # What the driver itself would hold is not traced: a cursor with a name lives on the server.
    assert all(cursors)


def test_an_abandoned_export_gives_its_connection_back(app: Flask) -> None:
    execute(SNAPSHOTS, at=NOON, price="1", count=5000, run=RUN)
    for _ in range(12):  # more than the pool has
        parts = export_csv(db.engine, ExportKind.SNAPSHOTS, ExportFilter())
        next(parts)
        parts.close()
    assert db.engine.pool.checkedout() == 0


def test_the_command_writes_the_whole_file_or_none(app: Flask, tmp_path: Path) -> None:
    execute(SNAPSHOTS, at=NOON, price="7", count=3, run=RUN)
    out = tmp_path / "rows.csv"
    runner = app.test_cli_runner()
    good = runner.invoke(export_command, ["snapshots", "--out", str(out), "--start", "2026-03-02"])
    assert (good.exit_code, out.read_text().count("\n")) == (0, 4)
    for wrong in (["runs", "--market", "X"], ["snapshots", "--run", RUN]):
        bad = runner.invoke(export_command, [*wrong, "--out", str(tmp_path / "no")])
        assert bad.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    printed = runner.invoke(export_command, ["snapshots", "--market", "A-USD"])
    assert Decimal(next(csv.DictReader(io.StringIO(printed.stdout)))["price"]) == 7


def test_the_command_says_why_it_wrote_nothing(app: Flask, tmp_path: Path) -> None:
    runner = app.test_cli_runner()
    nowhere = runner.invoke(export_command, ["runs", "--out", str(tmp_path / "no" / "x.csv")])
    unknown = runner.invoke(export_command, ["candles", "--market", "NO-SUCH"])
    assert (nowhere.exit_code, unknown.exit_code) == (1, 1)
    assert "No such file or directory" in nowhere.stderr
    assert "There is no market NO-SUCH." in unknown.stderr

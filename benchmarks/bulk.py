"""Loading 100,000 candles: the bulk path beside a raw COPY, the ORM, and what others would take."""

import os
import pickle
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, text

from app.analytics.candles import DerivedCandle
from app.database.bulk import MergeCounts, merge_rows
from app.ingestion.targets import CANDLES, candle_rows
from benchmarks import peers
from benchmarks.figures import (
    ROUNDS,
    Figure,
    at_least,
    at_most,
    interleave,
    ratio,
    say,
    seconds,
    timed,
)
from benchmarks.postgres import BenchServer, add_markets, connect
from benchmarks.tape import HOURS, as_dicts, copy_text, empty_candles, make_candles

ROWS = 100_000
FEW = 2_000
"""Rows for those that take the same time a row however many there are."""

MIDDLE = 20_000
OUTSIDE_PYTHON = Path(".venv-bench/bin/python")


class Loading:
    """One table and the ways to fill it; every task starts with the table empty."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.candles: Sequence[DerivedCandle] = list(make_candles(ROWS))
        self._text = copy_text(self.candles)
        self.rows = as_dicts(self.candles)
        self.wal: dict[str, list[int]] = {"new": [], "same": []}
        self.dead: list[int] = []

    def raw(self) -> float:
        """COPY of the finished text."""
        empty_candles(self._engine)
        return timed(lambda: peers.raw_copy(self._engine, self._text))

    def new(self) -> float:
        """The product's own call, nothing being stored yet."""
        empty_candles(self._engine)
        return self._merge("new", MergeCounts(inserted=ROWS))

    def same(self) -> float:
        """The same candles once more."""
        taken = self._merge("same", MergeCounts(unchanged=ROWS))
        self.dead.append(self._dead_rows())
        return taken

    def peer(self, work: peers.Peer, count: int) -> float:
        """Seconds a row of another way."""
        empty_candles(self._engine)
        return timed(lambda: work(self._engine, self.rows[:count])) / count

    def _merge(self, name: str, expected: MergeCounts) -> float:
        before = self._wal_position()
        taken = timed(lambda: self._check(expected))
        self.wal[name].append(self._wal_position() - before)
        return taken

    def _check(self, expected: MergeCounts) -> None:
        with self._engine.begin() as connection:
            rows = candle_rows(self.candles, "mock")
            counts = merge_rows(connection, CANDLES, rows, run_id=uuid4())
        if counts != expected:
            raise AssertionError(f"{counts} instead of {expected}")

    def _wal_position(self) -> int:
        query = text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _dead_rows(self) -> int:
        query = text(
            "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'market_aggregate'"
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


def measure(server: BenchServer) -> list[Figure]:
    """Rounds of raw COPY, new and unchanged rows, and every peer."""
    url = server.database("bulk")
    engine = connect(url)
    add_markets(engine, ROWS // HOURS)
    loading = Loading(engine)
    with outside_peers(url, server.folder, loading.rows) as outside:
        tasks = {
            "raw": loading.raw,
            "new": loading.new,
            "same": loading.same,
            "merge": lambda: loading.peer(peers.session_merge, FEW),
            "bulk upsert": lambda: loading.peer(peers.sqlalchemy_upsert, MIDDLE),
            "execute_values": lambda: loading.peer(peers.values_upsert, MIDDLE),
            "pandas": lambda: _after_emptying(engine, outside, "pandas", MIDDLE),
            "dlt": lambda: outside.seconds("dlt", ROWS) / ROWS,
        }
        taken = interleave(tasks, rounds=ROUNDS)
    server.drop("bulk")
    return _figures(taken, loading)


def _figures(taken: dict[str, list[float]], loading: Loading) -> list[Figure]:
    raw, new, same = taken["raw"], taken["new"], taken["same"]
    per_row = [one / ROWS for one in new]
    beside = ", ".join(
        f"{name} {ratio([one / ROWS for one in raw], taken[name]):.3f}"
        for name in ("bulk upsert", "execute_values", "pandas", "merge", "dlt")
    )
    wal = ratio(loading.wal["same"], loading.wal["new"])
    first = max(loading.wal["new"]) / 1e6
    return [
        at_least(
            "bulk-new",
            ratio(raw, new),
            0.40,
            f"of raw COPY: {seconds(new)} against {seconds(raw)} for 100,000 rows; "
            f"the others: {beside}",
        ),
        at_least("bulk-new-merge", ratio(taken["merge"], per_row), 60, "times session.merge"),
        at_least("bulk-new-dlt", ratio(taken["dlt"], per_row), 10, "times dlt with merge"),
        at_least("bulk-same", ratio(raw, same), 0.45, f"of raw COPY: {seconds(same)}"),
        at_most("bulk-same-dead-rows", max(loading.dead), 0, "dead rows after loading again"),
        at_most("bulk-same-wal", wal, 0.02, f"of the first load's WAL ({first:.0f} MB)"),
    ]


class Outside:
    """The process that dlt and pandas run in."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def seconds(self, peer: str, count: int) -> float:
        """The seconds that the first `count` rows took; RuntimeError when they did not load."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{peer} {count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        try:
            return float(answer)
        except ValueError:
            raise RuntimeError(f"{peer} did not load: {answer}") from None


@contextmanager
def outside_peers(url: str, folder: Path, rows: Sequence[dict[str, object]]) -> Iterator[Outside]:
    """A process in .venv-bench that holds the rows; it ends with the block."""
    if not OUTSIDE_PYTHON.exists():
        raise RuntimeError("dlt and pandas are not installed: run this with `make bench`")
    pickled = folder / "rows.pickle"
    pickled.write_bytes(pickle.dumps(rows))
    program = str(Path(__file__).with_name("outside.py"))
    say("  starting dlt and pandas")
    process = subprocess.Popen(
        [str(OUTSIDE_PYTHON), program, url, str(pickled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false"},
    )
    try:
        yield Outside(process)
    finally:
        process.communicate()


def _after_emptying(engine: Engine, outside: Outside, peer: str, count: int) -> float:
    empty_candles(engine)
    return outside.seconds(peer, count) / count

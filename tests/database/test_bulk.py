"""The bulk path against a real PostgreSQL: counts, exact values, races, nothing done twice."""

import gc
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.errors import CheckViolation
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    create_engine,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.database import bulk
from app.database.bulk import MergeCounts, MergeTarget, merge_rows, read_columns
from app.database.transactions import run_in_transaction

TAPE = Table(
    "tape",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("reel", Text, primary_key=True),
    Column("price", Numeric, CheckConstraint("price > 0 AND price < 'Infinity'")),
    Column("note", Text),
    Column("tags", ARRAY(Text)),
    Column("facts", JSONB),
    Column("is_final", Boolean),
    Column("observed_at", DateTime(timezone=True)),
    Column("run_id", Uuid),
    Column("stored_at", DateTime(timezone=True)),
)
COLUMNS = ("id", "reel", "price", "note", "tags", "facts", "is_final", "observed_at")
TARGET = MergeTarget(TAPE, COLUMNS)
GUARDED = MergeTarget(TAPE, COLUMNS, guard="s.price >= t.price")
RUN = UUID(int=1)
NOON = datetime(2026, 7, 27, 12, tzinfo=UTC)

words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=8)
prices = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(1, 10**40),
    st.integers(-400, 30),
)
documents = st.dictionaries(words, st.integers(-5, 5) | words | st.none(), max_size=3)
rows_of_tape = st.tuples(
    st.integers(0, 4),
    st.sampled_from(["a", "None", "tab\tbed"]),
    st.none() | prices,
    st.none() | st.sampled_from(["None", "\\N", "\\.", "\r\n", '"{}"']) | words,
    st.none() | st.lists(words, max_size=3),
    st.none() | documents,
    st.none() | st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)


@pytest.fixture(scope="module")
def engine(fresh_database_url: str) -> Iterator[Engine]:
    engine = create_engine(fresh_database_url, connect_args={"options": "-c timezone=UTC"})
    TAPE.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _empty_tape(engine: Engine) -> None:
    empty(engine)


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE tape"))


def row(number: int, price: object = Decimal(7), note: str | None = None) -> tuple[Any, ...]:
    return (number, "a", price, note, [], {}, True, NOON)


def merge(
    engine: Engine, rows: Sequence[Sequence[Any]], target: MergeTarget = TARGET, run: UUID = RUN
) -> MergeCounts:
    with engine.begin() as connection:
        return merge_rows(connection, target, rows, run_id=run)


def stored(engine: Engine) -> dict[tuple[int, str], tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.execute(select(TAPE.c[*COLUMNS]))
        return {(item.id, item.reel): tuple(item) for item in found}


def touched(connection: Connection, rows: Sequence[Sequence[Any]]) -> tuple[int, ...]:
    """Rows that merging `rows` inserts, updates and deletes, and how often all is read."""
    query = text(
        "SELECT n_tup_ins, n_tup_upd, n_tup_del, seq_scan FROM pg_stat_xact_user_tables "
        "WHERE relname = 'tape'"
    )
    before = connection.execute(query).one()
    merge_rows(connection, TARGET, rows, run_id=uuid4())
    after = connection.execute(query).one()
    return tuple(now - then for then, now in zip(before, after, strict=True))


def test_counts_tell_new_updated_and_unchanged_rows_apart(engine: Engine) -> None:
    merge(engine, [row(1), row(2)])
    counts = merge(engine, [row(1), row(2, Decimal(8)), row(3), row(4)])
    assert counts == MergeCounts(inserted=2, updated=1, unchanged=1)
    assert counts.total == 4
    assert stored(engine)[2, "a"][2] == Decimal(8)


def test_no_rows_change_nothing(engine: Engine) -> None:
    assert merge(engine, []) == MergeCounts()


def test_changed_rows_bear_the_run_that_changed_them(engine: Engine) -> None:
    merge(engine, [row(1), row(2)])
    later = uuid4()
    merge(engine, [row(1), row(2, Decimal(8))], run=later)
    with engine.connect() as connection:
        runs = connection.execute(select(TAPE.c.run_id).order_by(TAPE.c.id)).scalars().all()
    assert runs == [RUN, later]


def test_the_same_rows_again_write_nothing(engine: Engine) -> None:
    rows = [row(number, Decimal(number) / 7) for number in range(1, 500)]
    merge(engine, rows)
    with engine.begin() as connection:
        assert touched(connection, rows[::-1]) == (0, 0, 0, 0)
    assert merge(engine, rows) == MergeCounts(unchanged=499)


def test_the_same_rows_again_leave_next_to_no_wal(engine: Engine) -> None:
    rows = [row(number, Decimal(number) / 7) for number in range(1, 5000)]
    with engine.connect() as connection:

        def merged_bytes() -> int:
            before = wal_bytes(connection)
            merge_rows(connection, TARGET, rows, run_id=RUN)
            connection.commit()
            return wal_bytes(connection) - before

        first, second = merged_bytes(), merged_bytes()
    assert second < first / 50


def wal_bytes(connection: Connection) -> int:
    """What this connection has written to the log since it was opened."""
    connection.execute(text("SELECT pg_stat_force_next_flush()"))
    connection.commit()
    written = connection.execute(
        text("SELECT wal_bytes FROM pg_stat_get_backend_wal(pg_backend_pid())")
    ).scalar_one()
    connection.commit()
    return int(written)


def test_a_change_writes_only_the_changed_row(engine: Engine) -> None:
    rows = [row(number) for number in range(100)]
    merge(engine, rows)
    rows[50] = row(50, note="corrected")
    with engine.begin() as connection:
        assert touched(connection, rows) == (0, 1, 0, 0)


def test_the_last_row_of_a_key_wins(engine: Engine) -> None:
    counts = merge(engine, [row(1, Decimal(5)), row(2), row(1, Decimal(6))])
    assert counts == MergeCounts(inserted=2)
    assert stored(engine)[1, "a"][2] == Decimal(6)


def test_the_guard_keeps_the_better_row(engine: Engine) -> None:
    merge(engine, [row(1, Decimal(5)), row(2, Decimal(5))])
    counts = merge(engine, [row(1, Decimal(4)), row(2, Decimal(6)), row(3, Decimal(1))], GUARDED)
    assert counts == MergeCounts(inserted=1, updated=1, unchanged=1)
    assert [stored(engine)[number, "a"][2] for number in (1, 2, 3)] == [5, 6, 1]


def test_chunks_add_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 7)
    merge(engine, [row(number) for number in range(10)])
    with engine.begin() as connection:
        rows = (row(number, Decimal(1 + number % 7)) for number in range(40))
        counts = merge_rows(connection, TARGET, rows, run_id=RUN)
    assert counts == MergeCounts(inserted=30, updated=9, unchanged=1)


def test_a_key_of_another_chunk_is_merged_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 2)
    counts = merge(engine, [row(1), row(2), row(1, Decimal(9)), row(2)])
    assert counts == MergeCounts(inserted=2, updated=1, unchanged=1)
    assert stored(engine)[1, "a"][2] == Decimal(9)


def test_rows_that_are_all_new_go_straight_into_the_table(engine: Engine) -> None:
    merge(engine, [row(5000)])
    rows = [row(number) for number in range(2000)]
    with engine.begin() as connection:
        assert merge_rows(connection, TARGET, rows, run_id=RUN) == MergeCounts(inserted=2000)
        scans = connection.execute(
            text("SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'tape'")
        )
        assert scans.scalar_one() < 2000
    assert merge(engine, rows) == MergeCounts(unchanged=2000)


def test_the_collector_is_as_before(engine: Engine) -> None:
    merge(engine, [row(1)])
    assert gc.isenabled()
    with pytest.raises(IntegrityError):
        merge(engine, [row(1, Decimal(-1))])
    assert gc.isenabled()


def test_merges_after_a_rollback_and_in_one_transaction_work(engine: Engine) -> None:
    with engine.connect() as connection:
        merge_rows(connection, TARGET, [row(1)], run_id=RUN)
        connection.rollback()
        merge_rows(connection, TARGET, [row(2)], run_id=RUN)
        merge_rows(connection, TARGET, [row(3)], run_id=RUN)
        connection.commit()
    assert [number for number, _ in stored(engine)] == [2, 3]


def test_settings_of_the_transaction_are_as_before(engine: Engine) -> None:
    with engine.begin() as connection:
        merge_rows(connection, TARGET, [row(1)], run_id=RUN)
        assert connection.execute(text("SHOW enable_seqscan")).scalar_one() == "on"


def test_a_table_that_grows_within_the_statement_costs_no_more(engine: Engine) -> None:
    """A planner that believes the table to be tiny would read all of it for every row."""
    merge(engine, [row(1)])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE tape"))
    with engine.begin() as connection:
        *written, scans = touched(connection, [row(number) for number in range(2000)])
    assert written == [1999, 0, 0]
    assert scans <= 1


@pytest.mark.parametrize(
    "price", ["1e-400", "2.8e-09", "1234567890123456789012345678901234567890.5", "1e30", "7.00"]
)
def test_decimals_are_stored_exactly(engine: Engine, price: str) -> None:
    merge(engine, [row(1, Decimal(price))])
    assert stored(engine)[1, "a"][2] == Decimal(price)
    assert merge(engine, [row(1, Decimal(price))]) == MergeCounts(unchanged=1)


@pytest.mark.parametrize("price", [Decimal("NaN"), Decimal("Infinity"), Decimal(0)])
def test_what_is_no_price_is_refused(engine: Engine, price: Decimal) -> None:
    with pytest.raises(IntegrityError) as caught:
        merge(engine, [row(1), row(2, price)])
    assert isinstance(caught.value.orig, CheckViolation)
    assert stored(engine) == {}


def test_a_nul_in_a_text_is_refused(engine: Engine) -> None:
    with pytest.raises(DBAPIError):
        merge(engine, [row(1), row(2, note="a\x00b")])
    assert stored(engine) == {}


def test_one_instant_in_two_time_zones_is_one_value(engine: Engine) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    merge(engine, [row(1)])
    assert merge(engine, [(*row(1)[:-1], elsewhere)]) == MergeCounts(unchanged=1)


def test_rows_of_the_wrong_width_are_refused(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="7 values for 8 columns"):
        merge(engine, [row(1)[:-1]])


def test_columns_are_read_as_texts(engine: Engine) -> None:
    merge(engine, [row(1, Decimal("0.10")), row(2, None)])
    query = "SELECT id, price FROM tape WHERE id < %(limit)s ORDER BY id"
    with engine.connect() as connection:
        assert read_columns(connection, query, {"limit": 9}) == [[b"1", b"2"], [b"0.10", b"\\N"]]
        assert read_columns(connection, query, {"limit": 0}) == []


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(rows_of_tape, max_size=12), max_size=4),
    many=st.sampled_from([1, bulk.MANY_ROWS]),
)
def test_merging_means_what_a_dictionary_means(
    engine: Engine, batches: list[list[tuple[Any, ...]]], many: int
) -> None:
    empty(engine)
    expected: dict[tuple[int, str], tuple[Any, ...]] = {}
    for batch in batches:
        given_rows = {(item[0], item[1]): item for item in batch}
        new = given_rows.keys() - expected.keys()
        same = {key for key in given_rows.keys() - new if expected[key] == given_rows[key]}
        with patch.object(bulk, "MANY_ROWS", many):
            counts = merge(engine, batch)
        assert counts == MergeCounts(len(new), len(given_rows) - len(new | same), len(same))
        expected |= given_rows
        assert stored(engine) == expected


def test_concurrent_writers_never_deadlock(engine: Engine) -> None:
    def write(seed: int) -> MergeCounts:
        random, counts = Random(seed), MergeCounts()
        for _ in range(25):
            numbers = random.sample(range(400), 200)
            batch = [row(number, Decimal(random.randint(1, 3))) for number in numbers]
            counts += run_in_transaction(
                engine, lambda c, b=batch: merge_rows(c, TARGET, b, run_id=RUN), attempts=1
            )
        return counts

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(write, range(4)))
    assert sum(counts.inserted for counts in done) == len(stored(engine))
    assert sum(counts.total for counts in done) == 4 * 25 * 200


@pytest.mark.parametrize("many", [1, bulk.MANY_ROWS])
@pytest.mark.parametrize(("price", "counts"), [(7, (0, 0, 1)), (9, (0, 1, 0)), (5, (0, 0, 1))])
def test_a_row_that_another_writer_stores_meanwhile_is_judged_too(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    price: int,
    counts: tuple[int, int, int],
    many: int,
) -> None:
    monkeypatch.setattr(bulk, "MANY_ROWS", many)
    with engine.connect() as first, ThreadPoolExecutor(1) as pool:
        merge_rows(first, TARGET, [row(1)], run_id=RUN)
        second = pool.submit(merge, engine, [row(1, Decimal(price))], GUARDED)
        wait_until_blocked(engine, by=first)
        first.commit()
        assert second.result(timeout=30) == MergeCounts(*counts)
    assert stored(engine)[1, "a"][2] == max(7, price)


def wait_until_blocked(engine: Engine, *, by: Connection) -> None:
    pid = by.execute(text("SELECT pg_backend_pid()")).scalar_one()
    query = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")
    pause = threading.Event()
    with engine.connect() as connection:
        while not connection.execute(query, {"pid": pid}).scalar_one():
            connection.rollback()
            pause.wait(0.01)


def test_a_lost_connection_is_an_error_of_the_database(engine: Engine) -> None:
    with closing(engine.connect()) as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(DBAPIError) as caught:
            merge_rows(connection, TARGET, [row(1)], run_id=RUN)
        assert caught.value.connection_invalidated
    assert merge(engine, [row(1)]) == MergeCounts(inserted=1)

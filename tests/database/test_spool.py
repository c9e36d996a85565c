"""Rows that wait as text: what comes out is what went in, whatever lies in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine

from app.database.bulk import MergeCounts, merge_chunk
from app.database.spool import RowSpool
from app.errors import StorageError
from tests.database.test_bulk import RUN, TAPE, TARGET, empty, row, rows_of_tape, stored

# More than the spool may hold in memory, in far fewer rows than it would take.
TINY = 100


@pytest.fixture(scope="module")
def engine(fresh_database_url: str) -> Iterator[Engine]:
    engine = create_engine(fresh_database_url, connect_args={"options": "-c timezone=UTC"})
    TAPE.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _empty_tape(engine: Engine) -> None:
    empty(engine)


def store(engine: Engine, spool: RowSpool, leading: dict[Any, int]) -> MergeCounts:
    counts = MergeCounts()
    with engine.begin() as connection:
        for chunk in spool.chunks(leading):
            counts += merge_chunk(connection, TARGET, chunk, run_id=RUN)
    return counts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(rows_of_tape, max_size=6), max_size=3))
def test_rows_come_back_exactly_each_key_once_and_the_last_one_wins(
    engine: Engine, chunks: list[list[tuple[Any, ...]]]
) -> None:
    empty(engine)
    expected: dict[tuple[int, str], tuple[Any, ...]] = {}
    with RowSpool(TARGET, memory_bytes=TINY) as spool:
        for rows in chunks:
            groups: dict[str, list[tuple[Any, ...]]] = {}
            for each in rows:
                groups.setdefault(f"group {each[0]}", []).append(each[1:])
                expected[each[0], each[1]] = each
            spool.add(groups)
        store(engine, spool, {f"group {number}": number for number in range(5)})
    assert stored(engine) == expected


@pytest.mark.parametrize("memory_bytes", [TINY, 10**9])
def test_it_is_read_as_often_as_a_transaction_is_repeated(
    engine: Engine, memory_bytes: int
) -> None:
    with RowSpool(TARGET, memory_bytes=memory_bytes) as spool:
        spool.add({"a": [row(0)[1:]], "b": [row(0)[1:]]})
        assert store(engine, spool, {"a": 2, "b": 1}) == MergeCounts(inserted=2)
        spool.add({"a": [row(0, 9)[1:]]})
        assert store(engine, spool, {"a": 2, "b": 1}) == MergeCounts(updated=1, unchanged=2)
    assert [stored(engine)[number, "a"][2] for number in (1, 2)] == [7, 9]


def test_a_chunk_of_many_new_rows_goes_into_the_table_itself(engine: Engine) -> None:
    rows = [("a", 7, None, [], {}, True, None), ("b", 7, None, [], {}, True, None)]
    with RowSpool(TARGET) as spool:
        spool.add(dict.fromkeys(reversed(range(1000)), rows))
        (chunk,) = spool.chunks({number: number + 1 for number in range(1000)})
        assert (len(chunk), chunk.first_key, chunk.last_key) == (2000, (1, "a"), (1000, "b"))
        assert store(engine, spool, {n: n + 1 for n in range(1000)}) == MergeCounts(inserted=2000)
    assert len(stored(engine)) == 2000


def test_where_there_is_no_room_for_files_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with (
        RowSpool(TARGET, memory_bytes=TINY) as spool,
        pytest.raises(StorageError, match="no room for temporary files: No such file"),
    ):
        spool.add({number: [row(number)[1:]] for number in range(50)})

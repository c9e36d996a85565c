"""Which tables a process keeps, and for how long."""

import time
from pathlib import Path

from app.providers.files_cache import Key, TableCache
from app.providers.files_copy import SETTLED_NS, FileCopy, Identity
from app.providers.files_layout import Form, Layout
from app.providers.files_table import Table

LONG_AGO = 1_600_000_000_000_000_000


def key(name: str) -> Key:
    return (Path("/folder"), name, 1, 10, False)


def table(name: str, size: int = 100, changed_ns: int = LONG_AGO) -> Table:
    identity = Identity(1, 2, size, LONG_AGO, changed_ns)
    copy = FileCopy(name, identity, b"x" * size, is_packed=False)
    return Table(copy, Layout(Form.CSV, {}), ())


def reads(cache: TableCache, found: Table) -> bool:
    """True when the cache had to read a table that it was asked for."""
    read: list[Table] = []
    cache.get(key(found.name), found.copy.identity, lambda: read.append(found) or found)
    return bool(read)


def test_a_table_is_read_once_while_its_file_stays() -> None:
    cache = TableCache()
    assert [reads(cache, table("a")) for _ in range(3)] == [True, False, False]
    assert reads(cache, table("a", changed_ns=LONG_AGO + 1))


def test_a_table_of_a_file_that_just_changed_is_not_kept() -> None:
    cache = TableCache()
    fresh = table("a", changed_ns=time.time_ns())
    assert [reads(cache, fresh) for _ in range(2)] == [True, True]
    settled = table("a", changed_ns=time.time_ns() - SETTLED_NS - 1)
    assert [reads(cache, settled) for _ in range(2)] == [True, False]


def test_the_tables_used_last_are_kept_within_the_bound_and_the_newest_always() -> None:
    cache = TableCache(most_bytes=250)
    for name in ("a", "b"):
        reads(cache, table(name))
    assert not reads(cache, table("a"))
    reads(cache, table("c"))
    assert [reads(cache, table(name)) for name in ("a", "c", "b")] == [False, False, True]
    large = table("large", size=1000)
    assert [reads(cache, large) for _ in range(2)] == [True, False]

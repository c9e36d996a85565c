"""Tables that need not be read again while their files stay as they are; bounded, one a process."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from app.providers.files_copy import Identity
from app.providers.files_table import Table

MOST_BYTES = 32_000_000
Key = tuple[Path, str, int, int, bool]
"""Folder, name, and the settings that a table depends on."""


class TableCache:
    """The tables used last, some 32 MB in all; the newest stays however large it is."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._tables: OrderedDict[Key, Table] = OrderedDict()

    def get(self, key: Key, identity: Identity, read: Callable[[], Table]) -> Table:
        """The table of a file in this state: the kept one, else a new one by `read`."""
        with self._lock:
            found = self._tables.get(key)
            if found is not None and found.copy.identity == identity:
                self._tables.move_to_end(key)
                return found
            self._tables.pop(key, None)
        table = read()
        if table.copy.identity.is_settled:
            self._keep(key, table)
        return table

    def clear(self) -> None:
        """Forget every table."""
        with self._lock:
            self._tables.clear()

    def _keep(self, key: Key, table: Table) -> None:
        with self._lock:
            self._tables[key] = table
            self._tables.move_to_end(key)
            held = sum(each.cost for each in self._tables.values())
            while held > self._most_bytes and len(self._tables) > 1:
                held -= self._tables.popitem(last=False)[1].cost


tables = TableCache()

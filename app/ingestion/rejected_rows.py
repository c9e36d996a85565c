"""The rows that a run sets aside: written as finished text as they come, stored when it ends.

However many there are, only the first few stay in memory as values.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import cast
from uuid import UUID

from sqlalchemy import Connection, Table

from app.database.bulk import CHUNK_ROWS, append_lines
from app.database.copy_text import BLOCK_ROWS, LineWriter
from app.database.spool_file import MEMORY_BYTES, SpoolFile
from app.domain import RejectedRow
from app.models import RejectedRow as RejectedRowModel

FIRST = 20
# A provider's reasons are a handful of codes; whatever it sends, memory does not grow with them.
MOST_REASONS = 100
_TABLE = cast(Table, RejectedRowModel.__table__)
_COLUMNS = ("provider", "kind", "symbol", "provider_id", "reason", "detail", "raw")


@dataclass(slots=True)
class _Piece:
    """Lines that follow each other in the file, for one statement; `first` are rows of it."""

    is_history: bool
    offset: int
    length: int = 0
    count: int = 0
    first: list[RejectedRow] = field(default_factory=list)


class RejectedRows:
    """Rows with their reason and raw text; every text of them is fit to be stored.

    Those of a market itself come before those of its history, whenever they were set aside: what
    people see of a run are the first. Filled before the transaction; what a transaction adds is
    forgotten when it starts over. To be closed.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._writer = LineWriter([_TABLE.c[name].type for name in _COLUMNS])
        self._file = SpoolFile(memory_bytes=memory_bytes)
        self._pieces: list[_Piece] = []
        self._sealed = 0
        self._reasons: Counter[str] = Counter()
        self._sealed_reasons = self._reasons.copy()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(piece.count for piece in self._pieces)

    @property
    def first(self) -> tuple[RejectedRow, ...]:
        """The first of them, at most 20."""
        return tuple(row for piece in self._in_order() for row in piece.first)[:FIRST]

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many there are for each of at most 100 reasons; those for others under no name."""
        return dict(self._reasons)

    def close(self) -> None:
        """Remove what is kept."""
        self._file.close()
        self._pieces.clear()

    def add(self, rows: Iterable[RejectedRow], *, run_id: UUID, provider: str) -> None:
        """Keep rows; `StorageError` where there is no room, and then those before them stay."""
        pending = iter(rows)
        while block := list(islice(pending, BLOCK_ROWS)):
            for is_history in (False, True):
                some = [row for row in block if (row.kind == "candle") is is_history]
                if some:
                    self._keep(some, self._lines(some, run_id, provider), is_history=is_history)

    def seal(self) -> None:
        """A transaction begins: `start_over` comes back to what there is now."""
        self._sealed = len(self._pieces)
        self._sealed_reasons = self._reasons.copy()

    def start_over(self) -> None:
        """Forget what was added since `seal`."""
        del self._pieces[self._sealed :]
        self._reasons = self._sealed_reasons.copy()

    def store(self, connection: Connection) -> None:
        """Add all rows to the table, within the open transaction; may be repeated in another.

        Raises `sqlalchemy.exc.DBAPIError` when the database refuses them.
        """
        for piece in self._in_order():
            part = self._file.part(piece.offset, piece.length)
            append_lines(connection, _TABLE, (*_COLUMNS, "run_id"), part)

    def _lines(self, rows: Sequence[RejectedRow], run_id: UUID, provider: str) -> bytes:
        values = (
            (provider, row.kind, row.symbol, row.provider_id, row.reason, row.detail, row.raw)
            for row in rows
        )
        return "".join(self._writer.blocks(values, constants=(run_id,))).encode()

    def _keep(self, rows: Sequence[RejectedRow], lines: bytes, *, is_history: bool) -> None:
        offset = self._file.size
        self._file.append(lines)
        piece = self._piece_at(offset, is_history=is_history)
        known = sum(len(one.first) for one in self._pieces if one.is_history is is_history)
        piece.first += rows[: max(0, FIRST - known)]
        piece.length += len(lines)
        piece.count += len(rows)
        for row in rows:
            is_kept = row.reason in self._reasons or len(self._reasons) < MOST_REASONS
            self._reasons[row.reason if is_kept else ""] += 1

    def _piece_at(self, offset: int, *, is_history: bool) -> _Piece:
        """The last piece where lines of that kind can follow, else a new one."""
        last = self._pieces[-1] if len(self._pieces) > self._sealed else None
        if last and last.is_history is is_history and last.count < CHUNK_ROWS:
            return last
        self._pieces.append(_Piece(is_history, offset))
        return self._pieces[-1]

    def _in_order(self) -> list[_Piece]:
        return sorted(self._pieces, key=lambda piece: piece.is_history)

"""Chunks of rows for one merge: every key once and in key order, as values or as finished text."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from app.database.copy_text import CopyFile, format_blocks
from app.database.merge_target import MergeTarget


class Chunk(Protocol):
    """Rows of a target, every key once and in key order."""

    @property
    def first_key(self) -> tuple[Any, ...]:
        """The lowest key."""

    @property
    def last_key(self) -> tuple[Any, ...]:
        """The highest key."""

    def __len__(self) -> int:
        """How many rows."""

    def open(self, *, constants: Sequence[Any] = ()) -> CopyFile:
        """The rows as a file for COPY from their beginning, `constants` following every row."""


class ValueChunk:
    """Rows as values; of those with the same key the last counts."""

    def __init__(self, target: MergeTarget, rows: Iterable[Sequence[Any]]) -> None:
        self._kinds = target.kinds
        self._key_of = target.key_getter()
        self._rows = in_key_order(rows, self._key_of)

    @property
    def first_key(self) -> tuple[Any, ...]:
        """The lowest key."""
        return self._key_of(self._rows[0])

    @property
    def last_key(self) -> tuple[Any, ...]:
        """The highest key."""
        return self._key_of(self._rows[-1])

    def __len__(self) -> int:
        return len(self._rows)

    def open(self, *, constants: Sequence[Any] = ()) -> CopyFile:
        """The rows as a file for COPY from their beginning, `constants` following every row."""
        return CopyFile(format_blocks(self._kinds, self._rows, constants=constants))


def in_key_order(
    rows: Iterable[Sequence[Any]], key_of: Callable[[Sequence[Any]], Any]
) -> list[Sequence[Any]]:
    """The last row of each key, by key."""
    given = list(rows)
    unique = dict(zip(map(key_of, given), given, strict=True))
    return [unique[key] for key in sorted(unique)]

"""Rows that wait for their transaction as finished COPY text, in chunks that can be merged."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

from app.database.chunks import Chunk, in_key_order
from app.database.copy_text import CopyFile, LineWriter
from app.database.merge_target import MergeTarget
from app.database.spool_file import MEMORY_BYTES, SpoolFile


@dataclass(frozen=True, slots=True)
class _Group:
    """Where the lines of one group lie; the keys are without the leading column."""

    name: Hashable
    offset: int
    length: int
    count: int
    first_key: tuple[Any, ...]
    last_key: tuple[Any, ...]


class RowSpool:
    """Chunks of rows of a target, written as they come, read as often as is wanted.

    The value of the target's leading column (part of its key) need not be known yet: the rows come
    without it, in groups, and each group is given its value when it is read. Used as a context
    manager; what it keeps ends with the block. Raises `StorageError` where there is no room.
    """

    def __init__(self, target: MergeTarget, *, memory_bytes: int = MEMORY_BYTES) -> None:
        rest = target.columns[1:]
        self._writer = LineWriter(target.kinds[1:])
        self._key_of = itemgetter(*(rest.index(name) for name in target.key[1:]))
        self._file = SpoolFile(memory_bytes=memory_bytes)
        self._chunks: list[list[_Group]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what is kept."""
        self._file.close()
        self._chunks.clear()

    def add(self, groups: Mapping[Any, Iterable[Sequence[Any]]]) -> None:
        """Keep one chunk; of the rows of a group with the same key the last counts."""
        self._chunks.append([self._write(name, rows) for name, rows in groups.items()])

    def chunks(self, leading: Mapping[Any, Any]) -> Iterator[Chunk]:
        """The chunks in the order they came, `leading` giving each group its leading value."""
        for groups in self._chunks:
            placed = [(leading[group.name], group) for group in groups]
            yield _TextChunk(self._file, sorted(placed, key=itemgetter(0)))

    def _write(self, name: Hashable, rows: Iterable[Sequence[Any]]) -> _Group:
        ordered = in_key_order(rows, self._key_of)
        lines = "".join(self._writer.blocks(ordered)).encode()
        offset = self._file.size
        self._file.append(lines)
        first, last = self._key_of(ordered[0]), self._key_of(ordered[-1])
        return _Group(name, offset, len(lines), len(ordered), first, last)


class _TextChunk:
    """Groups with their leading values, in the order of these."""

    def __init__(self, file: SpoolFile, placed: Sequence[tuple[Any, _Group]]) -> None:
        self._file, self._placed = file, placed

    @property
    def first_key(self) -> tuple[Any, ...]:
        """The lowest key."""
        value, group = self._placed[0]
        return (value, *group.first_key)

    @property
    def last_key(self) -> tuple[Any, ...]:
        """The highest key."""
        value, group = self._placed[-1]
        return (value, *group.last_key)

    def __len__(self) -> int:
        return sum(group.count for _, group in self._placed)

    def open(self, *, constants: Sequence[Any] = ()) -> CopyFile:
        """The rows as a file for COPY from their beginning, `constants` following every row."""
        after = "".join(f"\t{value}" for value in constants)
        return CopyFile(
            _framed(self._read(group), f"{value}\t", after) for value, group in self._placed
        )

    def _read(self, group: _Group) -> str:
        return self._file.read(group.offset, group.length).decode()


def _framed(lines: str, before: str, after: str) -> str:
    """Every line with a text before and after it; a line break inside a value is escaped."""
    return before + lines[:-1].replace("\n", f"{after}\n{before}") + f"{after}\n"

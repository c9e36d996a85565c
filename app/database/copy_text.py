"""Values as the text that COPY reads: a block of rows at a time, one column after the other.

Decimals, whole numbers and booleans are written by `%s` itself, so only instants, texts, arrays and
documents cost a call of their own; instants and texts repeat, and each is written once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import DateTime, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

NULL = "None"
"""What stands for a null: what `%s` makes of one. The text `None` is written `\\None`."""

BLOCK_ROWS = 1000
MOST_REMEMBERED = 20_000
# Longer texts hardly repeat, and would fill the memory of a process.
LONGEST_REMEMBERED = 60
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class CopyFile:
    """A readable file over texts of whole lines, so that that of a whole batch never exists."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks

    def read(self, size: int = -1) -> str:
        """The next text of whole lines, whatever its size; empty at the end."""
        return next(self._blocks, "")


class LineWriter:
    """Writes rows as lines for `COPY … FROM STDIN (NULL 'None')`; remembers what repeats.

    `kinds` are the column types, in the order of the values of a row.
    """

    def __init__(self, kinds: Sequence[TypeEngine[Any]]) -> None:
        self._width = len(kinds)
        self._writers = {
            place: writer
            for place, kind in enumerate(kinds)
            if (writer := _writer(kind)) is not None
        }

    def blocks(
        self, rows: Iterable[Sequence[Any]], *, constants: Sequence[Any] = ()
    ) -> Iterator[str]:
        """Many lines in one text; `constants` follow every row, written as `str` writes them.

        Raises ValueError when a row has more or fewer values than there are columns.
        """
        cells = ["%s"] * self._width + [str(value) for value in constants]
        line = "\t".join(cells) + "\n"
        pending = iter(rows)
        while block := list(islice(pending, BLOCK_ROWS)):
            columns = list(zip(*block, strict=True))
            if len(columns) != self._width:
                raise ValueError(f"a row has {len(columns)} values for {self._width} columns")
            yield "".join(map(line.__mod__, _written(columns, self._writers)))


def format_blocks(
    kinds: Sequence[TypeEngine[Any]],
    rows: Iterable[Sequence[Any]],
    *,
    constants: Sequence[Any] = (),
) -> Iterator[str]:
    """`LineWriter.blocks` of a writer that is used once."""
    return LineWriter(kinds).blocks(rows, constants=constants)


def _written(
    columns: list[tuple[Any, ...]], writers: Mapping[int, Callable[[Any], str]]
) -> Iterator[tuple[Any, ...]]:
    return zip(
        *(
            map(writers[place], column) if place in writers else column
            for place, column in enumerate(columns)
        ),
        strict=True,
    )


class _Memory(dict[Any, str]):
    """Texts by value; forgets all when it grows too large, so that it stays small for ever."""

    def __init__(self, write: Callable[[Any], str]) -> None:
        super().__init__({None: NULL})
        self._write = write

    def __missing__(self, value: Any) -> str:
        if len(self) > MOST_REMEMBERED:
            self.clear()
            self[None] = NULL
        text = self[value] = self._write(value)
        return text


class _TextMemory(_Memory):
    """Texts that are escaped, the long ones anew each time."""

    def __missing__(self, value: str) -> str:
        if len(value) > LONGEST_REMEMBERED:
            return self._write(value)
        return super().__missing__(value)


def _writer(kind: TypeEngine[Any]) -> Callable[[Any], str] | None:
    """How a value of that type is written; None where `%s` does."""
    if isinstance(kind, DateTime):
        return _Memory(datetime.isoformat).__getitem__
    if isinstance(kind, Text):
        return _TextMemory(_escape).__getitem__
    if isinstance(kind, ARRAY):
        return _unless_null(_array)
    if isinstance(kind, JSONB):
        return _unless_null(lambda value: json.dumps(value, sort_keys=True))
    return None


def _unless_null(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: NULL if value is None else write(value).translate(_ESCAPES)


def _escape(value: str) -> str:
    text = value.translate(_ESCAPES)
    return "\\" + text if text == NULL else text


def _array(items: Iterable[str]) -> str:
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"

"""Where each row of a file lies and when it was: read once, in a stream, some 32 bytes a row."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from app.domain import DAY, HOUR, WEEK
from app.providers.files_copy import Check, FileCopy, FileTrouble, Text
from app.providers.files_layout import TOKEN, Form, Kind, Layout, find_layout
from app.providers.files_shelf import BadLine, Gathering, Place, Shelf, bad_line
from app.providers.files_values import BadRow, read_interval, step_words

Integers = NDArray[np.int64]

ROWS_PER_CHECK = 2_000
HEAD_BYTES = 1 << 16
# So many distances between rows are enough to contradict the name of a file.
_SURE_STEPS = 3
_MICROS = timedelta(microseconds=1)
_BETWEEN = frozenset({b"", b","})


@dataclass(frozen=True, slots=True)
class Series:
    """The rows of one market in one file, by time; `step` is None for prices at single moments.

    `trouble` says why they can't be used, if so.
    """

    symbol: str
    step: timedelta | None
    micros: Integers
    starts: Integers
    ends: Integers
    numbers: Integers
    bad: tuple[BadLine, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A file that was read: its text, how to read a row, and the series in it."""

    copy: FileCopy
    layout: Layout
    series: tuple[Series, ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.copy.name

    @property
    def cost(self) -> int:
        """About how many bytes it holds, on disk or in memory."""
        return len(self.copy.text) + sum(32 * len(each.micros) for each in self.series)

    def raw(self, series: Series, row: int) -> bytes:
        """The text of a row."""
        return self.copy.text[int(series.starts[row]) : int(series.ends[row])]

    def describe(self, number: int) -> str:
        """A row as it is named to people."""
        return f"{self.name} {self.layout.unit} {number}"


def read_table(
    copy: FileCopy, *, tag: timedelta | None, most_rows: int, allow_open_end: bool, check: Check
) -> Table:
    """Find the rows of a copied file; `tag` is the step that its name tells.

    Raises `FileTrouble`, and what `check` raises.
    """
    layout = find_layout(copy.name, bytes(copy.text[:HEAD_BYTES]))
    if copy.text[-1:] != b"\n" and layout.form is not Form.ARRAY and not copy.is_packed:
        _judge_open_end(copy, layout, is_allowed=allow_open_end or layout.form is Form.LINES)
    places = _elements(copy, layout) if layout.form is Form.ARRAY else _lines(copy.text, layout)
    gathered = _gather(copy, layout, places, most_rows, check)
    series = tuple(_finish(each, copy, layout, tag) for each in gathered)
    if not any(len(each.micros) for each in series):
        reason = next((line for each in series for line in each.bad), None)
        first = f" The first: {layout.unit} {reason.number}, {reason.detail}." if reason else ""
        raise FileTrouble(f"{copy.name} has no row that can be read.{first}")
    return Table(copy, layout, series)


def _judge_open_end(copy: FileCopy, layout: Layout, *, is_allowed: bool) -> None:
    """Refuse a last line without its end: half a number looks like a number."""
    if not is_allowed:
        raise FileTrouble(
            f"The last line of {copy.name} has no end, so it may still be being written. If such "
            "files are whole, set FILES_ALLOW_OPEN_END=true."
        )
    try:
        layout.read(copy.text[copy.text.rfind(b"\n") + 1 :])
    except BadRow as error:
        raise FileTrouble(
            f"The last line of {copy.name} is cut, so it may still be being written."
        ) from error


def _lines(text: Text, layout: Layout) -> Iterator[Place]:
    """The lines that hold anything."""
    position, number = layout.body_at, layout.first_line
    while position < len(text):
        end = text.find(b"\n", position)
        end = len(text) if end < 0 else end
        if text[position:end].strip():
            yield number, position, end - (text[end - 1 : end] == b"\r")
        position, number = end + 1, number + 1


def _elements(copy: FileCopy, layout: Layout) -> Iterator[Place]:
    """The objects or lists of a JSON array; raises `FileTrouble` where it is none or has no end."""
    text, depth, number = copy.text, 0, 0
    start = after = layout.body_at
    for token in TOKEN.finditer(text, layout.body_at):
        mark = token[0]
        if depth == 0 and text[after : token.start()].strip() not in _BETWEEN:
            break
        if mark in (b"[", b"{"):
            start, depth = (token.start() if depth == 0 else start), depth + 1
        elif mark in (b"]", b"}") and depth:
            depth, after = depth - 1, token.end()
            if depth == 0:
                number += 1
                yield number, start, after
        elif mark == b"]" and not text[token.end() :].strip():
            return
        elif depth == 0 or mark == b'"':
            break
    raise FileTrouble(
        f"{copy.name} is not a whole JSON array after its row {number}; it may be half written."
    )


def _gather(
    copy: FileCopy, layout: Layout, places: Iterator[Place], most_rows: int, check: Check
) -> Iterable[Gathering]:
    shelf = Shelf(layout)
    for count, place in enumerate(places):
        if count % ROWS_PER_CHECK == 0:
            check()
        if count >= most_rows:
            most = f"{most_rows:,} rows, the most that FILES_MAX_ROWS allows"
            raise FileTrouble(f"{copy.name} has more than {most}.")
        shelf.put(place, copy.text[place[1] : place[2]])
    return shelf.all()


def _finish(found: Gathering, copy: FileCopy, layout: Layout, tag: timedelta | None) -> Series:
    """The rows by time, each moment once: of two rows the later line is kept."""
    columns = _by_time([found.micros, found.starts, found.ends, found.numbers])
    twice = np.flatnonzero(columns[0][1:] == columns[0][:-1])
    for row in twice.tolist():
        _note_repeated(found, copy, layout.unit, [each[row : row + 2].tolist() for each in columns])
    if len(twice):
        columns = [np.delete(column, twice) for column in columns]
    micros, starts, ends, numbers = columns
    step, trouble = _step_of(micros, layout, read_interval(found.interval) or tag)
    return Series(
        found.symbol, step, micros, starts, ends, numbers, tuple(found.bad.all()),
        f"{copy.name} {trouble}" if trouble else "",
    )  # fmt: skip


def _by_time(gathered: Sequence["array[int]"]) -> list[Integers]:
    """The columns in the order of the first; most files have it, and those are not copied."""
    columns = [
        np.frombuffer(column, np.int64) if column else np.empty(0, np.int64) for column in gathered
    ]
    steps = np.diff(columns[0])
    if (steps > 0).all():
        return columns
    if (steps < 0).all():
        return [column[::-1] for column in columns]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


def _note_repeated(
    found: Gathering, copy: FileCopy, unit: str, rows: Sequence[Sequence[int]]
) -> None:
    """Set the first of two rows of one moment aside, unless both say the same."""
    micros, starts, ends, numbers = rows
    first, second = (copy.text[start:end] for start, end in zip(starts, ends, strict=True))
    if first != second:
        said = f"{unit} {numbers[1]} is of the same moment and says something else"
        found.bad.add(bad_line(numbers[0], micros[0], BadRow("repeated", said), first))


def _step_of(
    micros: Integers, layout: Layout, told: timedelta | None
) -> tuple[timedelta | None, str]:
    """How far apart the rows are, and why that can't be used, if so."""
    if layout.kind is Kind.PRICES or not len(micros):
        return None, ""
    steps, counts = np.unique(np.diff(micros), return_counts=True)
    if told is not None:
        least = int(steps[0]) * _MICROS if len(steps) else told
        if least < told or (least > told and len(micros) > _SURE_STEPS):
            apart = f"{step_words(told)} apart, but they are {step_words(least)} apart"
            return None, f"should have rows {apart}."
        step = told
    elif len(steps):
        step = int(steps[counts.argmax()]) * _MICROS
    else:
        return None, "has one row, which tells no step: put _1h or _1d into its name."
    if step == WEEK or (step <= DAY and (not HOUR % step or not DAY % step)):
        return step, ""
    return None, f"has rows {step_words(step)} apart; read are minutes, hours, days and weeks."

"""The rows of a file while it is read: by market, with those set aside that can't be placed."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from app.providers.files_layout import Layout
from app.providers.files_values import BadRow, key_of, read_instant

Place = tuple[int, int, int]
"""The number of a row as people count, its first byte, and the one after its last."""

RAW_BYTES = 2_000
MOST_BAD = 1_000


@dataclass(frozen=True, slots=True)
class BadLine:
    """A row that can't be read; `micros` is its time or, without one, that of the row before."""

    number: int
    micros: int
    reason: str
    detail: str
    raw: str


def bad_line(number: int, micros: int, error: BadRow, raw: bytes) -> BadLine:
    """A row set aside, with at most 2 kB of its text."""
    text = raw[:RAW_BYTES].decode(errors="replace")
    return BadLine(number, micros, error.reason, str(error), text)


class BadLines:
    """Rows set aside: the first thousand with their text, all others as one that counts them."""

    def __init__(self) -> None:
        self._kept: list[BadLine] = []
        self._more = 0

    def add(self, line: BadLine) -> None:
        """Set one more row aside."""
        if len(self._kept) < MOST_BAD:
            self._kept.append(line)
            return
        self._more += 1
        self._last = line

    def move_to(self, micros: int) -> None:
        """Give all of them another time."""
        self._kept = [replace(line, micros=micros) for line in self._kept]
        if self._more:
            self._last = replace(self._last, micros=micros)

    def all(self) -> Sequence[BadLine]:
        """The rows in the order in which they were set aside."""
        if not self._more:
            return self._kept
        said = f"it is the last of {self._more:,} more rows that can't be used"
        return [*self._kept, replace(self._last, reason="more_bad_rows", detail=said)]


@dataclass(slots=True)
class Gathering:
    """A series while its file is read."""

    symbol: str
    interval: str
    micros: "array[int]" = field(default_factory=lambda: array("q"))
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    bad: BadLines = field(default_factory=BadLines)

    def add(self, micros: int, place: Place) -> None:
        """Note a row that has a time."""
        number, start, end = place
        self.micros.append(micros)
        self.numbers.append(number)
        self.starts.append(start)
        self.ends.append(end)


class Shelf:
    """Rows by market and interval; one without a time or market goes with the row before it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._found: dict[tuple[str, str], Gathering] = {}
        self._last: Gathering | None = None
        self._first_bad = BadLines()

    def put(self, place: Place, raw: bytes) -> None:
        """Note one row of the file."""
        try:
            symbol, interval, micros = self._read(raw)
        except BadRow as error:
            self._set_aside(place[0], error, raw)
            return
        key = (symbol, interval)
        found = self._found.get(key) or self._found.setdefault(key, Gathering(*key))
        found.add(micros, place)
        if self._last is None:
            self._first_bad.move_to(micros)
            found.bad = self._first_bad
        self._last = found

    def all(self) -> Iterable[Gathering]:
        """What was found; a file without one good row is a single one with the bad ones."""
        return self._found.values() or [Gathering("", "", bad=self._first_bad)]

    def _set_aside(self, number: int, error: BadRow, raw: bytes) -> None:
        if self._last is None:
            self._first_bad.add(bad_line(number, 0, error, raw))
        else:
            self._last.bad.add(bad_line(number, self._last.micros[-1], error, raw))

    def _read(self, raw: bytes) -> tuple[str, str, int]:
        cells = self._layout.read(raw)
        symbol = key_of(cells.get("symbol") or "")
        if self._layout.has_symbols and not symbol:
            raise BadRow("symbol_missing", "it names no market")
        return symbol, cells.get("interval") or "", read_instant(cells.get("time"))

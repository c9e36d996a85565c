"""How the rows of a file are to be read: its form, and which column means what."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from app.providers.files_copy import FileTrouble
from app.providers.files_values import BadRow

Cells = Mapping[str, str | None]
"""The texts of one row by what they mean."""

MOST_HEADER_LINES = 10
LONGEST_ROW = 65_536
_BOM = b"\xef\xbb\xbf"
# The first that is there is taken: numbers leave less to doubt than dates.
_NAMES = """
    time: unix_timestamp unix unix_time epoch timestamp timestamp_ms ts open_time opened_at
        observed_at datetime date_time date time last_updated updated_at
    symbol: symbol ticker market pair instrument product_id
    interval: granularity interval timeframe
    open: open o open_price opening_price
    high: high h high_price max
    low: low l low_price min
    close: close c close_price closing_price
    price: price last last_price current_price value mid
    volume: quote_volume quote_asset_volume volume_quote volumeto total_volume volume_24h
        volume vol v
    market_cap: market_cap marketcap market_capitalization mcap
    volatility: volatility
    roi_1h_pct: roi_1h_pct price_change_percentage_1h
    roi_24h_pct: roi_24h_pct price_change_percentage_24h
    roi_7d_pct: roi_7d_pct price_change_percentage_7d
    roi_30d_pct: roi_30d_pct price_change_percentage_30d
"""
_SYNONYMS: Mapping[str, Sequence[str]] = {
    field: names.split() for field, names in re.findall(r"(\w+):([^:]*)(?=\s\w+:|\Z)", _NAMES)
}
_BY_CURRENCY = re.compile(r"(price|volume)_([a-z]{3,6})")
_NO_CURRENCIES = frozenset({"base", "quote", "change", "open", "close", "high", "low", "from"})
_CLOCK = re.compile(r"\d{1,2}:\d\d")
_CANDLE = ("open", "high", "low", "close")
_ARRAYS: Mapping[bool, Mapping[str, int]] = {
    False: {"time": 0, "price": 1},
    # The sixth number of exchanges is the volume in the base currency, which is not ours.
    True: {"time": 0, "open": 1, "high": 2, "low": 3, "close": 4},
}


class Form(StrEnum):
    """How a file holds its rows."""

    CSV = "csv"
    LINES = "json lines"
    ARRAY = "json array"


class Kind(StrEnum):
    """What a row says."""

    CANDLES = "candles"
    PRICES = "prices"
    CLOSES = "closes"


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows become cells; `places` are positions, or keys where rows are JSON objects.

    `body_at` is where the rows begin, `first_line` their first line, `width` the cells of a row of
    CSV.
    """

    form: Form
    places: Mapping[str, int | str]
    body_at: int = 0
    first_line: int = 1
    delimiter: str = ","
    width: int = 0

    @property
    def kind(self) -> Kind:
        """What the columns make of a row."""
        if all(name in self.places for name in _CANDLE):
            return Kind.CANDLES
        if any(name.partition(":")[0] == "price" for name in self.places):
            return Kind.PRICES
        return Kind.CLOSES

    @property
    def has_symbols(self) -> bool:
        """True when each row names its market."""
        return "symbol" in self.places

    @property
    def unit(self) -> str:
        """What people count rows by."""
        return "row" if self.form is Form.ARRAY else "line"

    def read(self, raw: bytes) -> Cells:
        """The cells of one row; raises `BadRow`."""
        if len(raw) > LONGEST_ROW:
            raise BadRow("row_too_long", f"it has {len(raw):,} bytes")
        cells = self._csv_cells(raw) if self.form is Form.CSV else self._json_cells(raw)
        clock = cells.get("clock")
        if clock and _CLOCK.match(clock):
            cells["time"] = f"{cells['time']} {clock}"
        return cells

    def _csv_cells(self, raw: bytes) -> dict[str, str | None]:
        row = split_line(raw, self.delimiter)
        if len(row) != self.width:
            raise BadRow("bad_shape", f"it has {len(row)} cells instead of {self.width}")
        return {name: row[place] for name, place in self.places.items() if isinstance(place, int)}

    def _json_cells(self, raw: bytes) -> dict[str, str | None]:
        try:
            row = _decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRow("bad_shape", "it is no JSON object or list") from error
        if isinstance(row, dict):
            return {name: _json_text(row.get(str(place))) for name, place in self.places.items()}
        if len(row) < len(self.places):
            raise BadRow("bad_shape", f"it has {len(row)} numbers")
        return {
            name: _json_text(row[place])
            for name, place in self.places.items()
            if isinstance(place, int)
        }


_decode = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode


def _json_text(raw: msgspec.Raw | None) -> str | None:
    """The text of a number or a string; of anything else as it is written, which is no number."""
    text = b"null" if raw is None else bytes(raw)
    if text == b"null":
        return None
    try:
        return str(json.loads(text)) if text[:1] == b'"' else text.decode()
    except ValueError as error:
        raise BadRow("bad_shape", "a text of it can't be read") from error


def split_line(raw: bytes, delimiter: str) -> list[str]:
    """The cells of a line of CSV, without spaces around them; raises `BadRow`."""
    try:
        line = raw.decode()
        row = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadRow("bad_shape", "it is not a whole line of CSV in UTF-8") from error
    return [cell.strip() for cell in row]


def find_layout(name: str, beginning: bytes) -> Layout:
    """How the file that begins so is to be read; raises `FileTrouble`."""
    start = len(_BOM) if beginning.startswith(_BOM) else 0
    stem = name.lower().removesuffix(".gz")
    if stem.endswith((".csv", ".tsv")):
        return _csv_layout(name, beginning, start)
    if stem.endswith(".json") and beginning[start:].lstrip()[:1] == b"[":
        body_at = beginning.index(b"[", start) + 1
        return _json_layout(name, Form.ARRAY, [_first_row(beginning[body_at:])], body_at=body_at)
    lines = beginning[start:].splitlines()[:MOST_HEADER_LINES]
    return _json_layout(name, Form.LINES, lines, body_at=start)


def _csv_layout(name: str, beginning: bytes, start: int) -> Layout:
    """The first line that names a time and a value is the header; comments may come before it."""
    position, number = start, 0
    while position < len(beginning) and number < MOST_HEADER_LINES:
        end = beginning.find(b"\n", position)
        end = len(beginning) if end < 0 else end
        line, number = beginning[position:end], number + 1
        position = end + 1
        header, delimiter = _header(line)
        places = _places(name, [_plain(cell) for cell in header])
        if places:
            return Layout(Form.CSV, places, position, number + 1, delimiter, len(header))
    raise FileTrouble(
        f"{name} has no header: none of its first {MOST_HEADER_LINES} lines names a time and "
        "either open, high, low and close, or a close, or a price."
    )


def _header(line: bytes) -> tuple[list[str], str]:
    delimiter = max(",;\t|", key=lambda each: line.count(each.encode()))
    try:
        return split_line(line.lstrip(b"#"), delimiter), delimiter
    except BadRow:
        return [], delimiter


def _json_layout(name: str, form: Form, rows: Sequence[bytes], *, body_at: int) -> Layout:
    """Rows that are objects name their columns; lists are time, open, high, low, close."""
    for row in rows:
        with suppress(msgspec.DecodeError, RecursionError):
            places = _json_places(name, _decode(row))
            if places:
                return Layout(form, places, body_at)
    raise FileTrouble(
        f"{name} does not begin with JSON objects that have a time and a price or close, nor with "
        "lists of a time and a price, or of a time, open, high, low and close."
    )


def _json_places(
    name: str, row: Mapping[str, msgspec.Raw] | Sequence[msgspec.Raw]
) -> Mapping[str, int | str]:
    if not isinstance(row, Mapping):
        is_candle = len(row) >= len(_ARRAYS[True])
        return _ARRAYS[is_candle] if is_candle or len(row) == len(_ARRAYS[False]) else {}
    keys = list(row)
    found = _places(name, [_plain(key) for key in keys])
    return {field: keys[place] for field, place in found.items()}


def _first_row(rows: bytes) -> bytes:
    """The text of the first object or list."""
    depth = 0
    for token in TOKEN.finditer(rows):
        mark = token[0]
        depth += (mark in b"[{") - (mark in b"]}") if len(mark) == 1 else 0
        if depth == 0 and mark in b"]}":
            return rows[: token.end()].lstrip()
    return rows


TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _places(name: str, header: Sequence[str]) -> dict[str, int]:
    """Where what is meant stands in a header; empty where that is not enough for a row."""
    places: dict[str, int] = {}
    for field, synonyms in _SYNONYMS.items():
        found = next((word for word in synonyms if word in header), None)
        if found is not None:
            _refuse_twice(name, header, found)
            places[field] = header.index(found)
    places |= _by_currency(header, places)
    if places.get("time") == _index(header, "date") and "time" in header:
        places["clock"] = header.index("time")
    values = {field.partition(":")[0] for field in places}
    return places if "time" in places and values & {"close", "price"} else {}


def _by_currency(header: Sequence[str], places: Mapping[str, int]) -> dict[str, int]:
    """Columns such as `Volume USDT`, which are for the markets quoted in that currency."""
    return {
        f"{found[1]}:{found[2].upper()}": place
        for place, word in enumerate(header)
        if (found := _BY_CURRENCY.fullmatch(word))
        and place not in places.values()
        and found[2] not in _NO_CURRENCIES
    }


def _index(header: Sequence[str], word: str) -> int | None:
    return header.index(word) if word in header else None


def _refuse_twice(name: str, header: Sequence[str], word: str) -> None:
    if header.count(word) > 1:
        raise FileTrouble(f"{name} has the column {word} more than once.")


def money(cells: Cells, field: str, quote: str) -> str | None:
    """The cell of a price or volume in the quote currency: `Volume USDT` comes before `volume`."""
    return cells.get(f"{field}:{quote}", cells.get(field))

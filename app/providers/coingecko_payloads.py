"""CoinGecko's JSON made into typed rows: exact decimals, and one bad row rejects only itself."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import msgspec

from app.domain import Listing, RejectedRow, Snapshot

RAW_CHARACTERS = 4_096
# Far beyond any real figure, and small enough that writing a number out can't fill the memory.
LONGEST_NUMBER = 1_000
LARGEST_EXPONENT = 1_000

_NULL = msgspec.Raw(b"null")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_RANK = re.compile(rb"[1-9][0-9]{0,8}")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_KEYS_READ = (b'"id"', b'"current_price"', b'"total_volume"', b'"market_cap"', b'"last_updated"')


class BadRow(Exception):
    """A row can't be read: `reason` is a short code, the message a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class CoinEntry(msgspec.Struct, frozen=True, gc=False):
    """One coin of /coins/list."""

    id: str
    symbol: str
    name: str


class _MarketRow(msgspec.Struct):
    id: str
    symbol: str | None = None
    name: str | None = None
    last_updated: str | None = None
    market_cap_rank: msgspec.Raw = _NULL
    current_price: msgspec.Raw = _NULL
    total_volume: msgspec.Raw = _NULL
    market_cap: msgspec.Raw = _NULL
    price_change_percentage_24h: msgspec.Raw = _NULL
    price_change_percentage_1h_in_currency: msgspec.Raw = _NULL
    price_change_percentage_24h_in_currency: msgspec.Raw = _NULL
    price_change_percentage_7d_in_currency: msgspec.Raw = _NULL
    price_change_percentage_30d_in_currency: msgspec.Raw = _NULL


class _Identity(msgspec.Struct):
    id: str


class MarketChart(msgspec.Struct):
    """/coins/{id}/market_chart: `prices` holds `[milliseconds, price]` as they came."""

    prices: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class MarketRow:
    """One row of /coins/markets; money in the currency asked for, changes in per cent."""

    id: str
    symbol: str
    name: str
    rank: int | None
    observed_at: datetime | None
    price: Decimal | None
    volume: Decimal | None
    market_cap: Decimal | None
    roi_1h_pct: Decimal | None
    roi_24h_pct: Decimal | None
    roi_7d_pct: Decimal | None
    roi_30d_pct: Decimal | None
    raw: str

    def snapshot_of(self, listing: Listing) -> Snapshot:
        """The row as an observation of `listing`."""
        return Snapshot(
            listing=listing,
            observed_at=self.observed_at,
            price=self.price,
            volume=self.volume,
            market_cap=self.market_cap,
            roi_1h_pct=self.roi_1h_pct,
            roi_24h_pct=self.roi_24h_pct,
            roi_7d_pct=self.roi_7d_pct,
            roi_30d_pct=self.roi_30d_pct,
            raw=self.raw,
        )


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(_MarketRow).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode
_decode_coin = msgspec.json.Decoder(CoinEntry).decode
_decode_chart = msgspec.json.Decoder(MarketChart).decode


def decode_rows(body: bytes) -> list[bytes]:
    """The elements of a JSON list, each as its own text; raises msgspec.DecodeError."""
    return [bytes(raw) for raw in _list_of(body)]


def decode_coins(body: bytes) -> tuple[CoinEntry, ...]:
    """The coins of /coins/list; entries without id, symbol and name are left out."""
    return tuple(_readable_coins(_list_of(body)))


def _list_of(body: bytes) -> list[msgspec.Raw]:
    """The elements; half a surrogate pair, which no text can hold, becomes U+FFFD."""
    try:
        return _decode_list(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)
        if mended == body:
            raise
        return _decode_list(mended)


def decode_chart(body: bytes) -> MarketChart:
    """The points of market_chart, not yet read; raises msgspec.DecodeError."""
    return _decode_chart(body)


def _readable_coins(rows: Sequence[msgspec.Raw]) -> Iterator[CoinEntry]:
    for row in rows:
        try:
            coin = _decode_coin(row)
        except (msgspec.DecodeError, RecursionError):
            continue
        if coin.id and coin.symbol:
            yield coin


def read_market_row(row: bytes) -> MarketRow:
    """One row of /coins/markets; raises BadRow."""
    _refuse_repeated_keys(row)
    try:
        found = _decode_row(row)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRow("bad_shape", f"The row can't be read: {error}.") from error
    change_24h = read_number(found.price_change_percentage_24h_in_currency, "The 24 h change")
    if change_24h is None:
        change_24h = read_number(found.price_change_percentage_24h, "The 24 h change")
    return MarketRow(
        id=found.id,
        symbol=found.symbol or "",
        name=found.name or "",
        rank=_read_rank(found.market_cap_rank),
        observed_at=read_instant(found.last_updated),
        price=read_number(found.current_price, "The price"),
        volume=read_number(found.total_volume, "The volume"),
        market_cap=read_number(found.market_cap, "The market cap"),
        roi_1h_pct=read_number(found.price_change_percentage_1h_in_currency, "The 1 h change"),
        roi_24h_pct=change_24h,
        roi_7d_pct=read_number(found.price_change_percentage_7d_in_currency, "The 7 d change"),
        roi_30d_pct=read_number(found.price_change_percentage_30d_in_currency, "The 30 d change"),
        raw=row.decode(),
    )


def _refuse_repeated_keys(row: bytes) -> None:
    # Counting text is quick and may count too much, never too little: only then look closely.
    if all(row.count(key) < 2 for key in _KEYS_READ):
        return
    for key in _KEYS_READ:
        if _count_top_level(row, key) > 1:
            raise BadRow("duplicate_key", f"The row has {key.decode()} twice.")


def _count_top_level(row: bytes, key: bytes) -> int:
    depth, count, position = 0, 0, 0
    for token in _TOKEN.finditer(row):
        text, position = token.group(), token.end()
        if text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
        elif depth == 1 and text == key and row[position:].lstrip()[:1] == b":":
            count += 1
    return count


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')


def read_number(raw: msgspec.Raw, what: str) -> Decimal | None:
    """The number exactly as it is written, also inside quotes; None for null; raises BadRow."""
    text = bytes(raw)
    if text == b"null":
        return None
    digits = text[1:-1] if text[:1] == b'"' else text
    if len(digits) > LONGEST_NUMBER:
        raise BadRow("number_too_long", f"{what} has {len(digits):,} characters.")
    if not _NUMBER.fullmatch(digits):
        raise BadRow("not_a_number", f"{what} is {_shown(text)}, which is not a number.")
    value = _decimal(digits.decode())
    # Most figures are short and plain, and those can't be out of range.
    if len(digits) > 16 or b"e" in digits or b"E" in digits:
        _check_range(value, text, what)
    return value


def _check_range(value: Decimal | None, text: bytes, what: str) -> None:
    if value is None or abs(value.adjusted()) > LARGEST_EXPONENT:
        raise BadRow("number_out_of_range", f"{what} is {_shown(text)}, beyond any real figure.")


def _shown(text: bytes) -> str:
    return text[:40].decode(errors="replace")


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _read_rank(raw: msgspec.Raw) -> int | None:
    text = bytes(raw)
    return int(text) if _RANK.fullmatch(text) else None


def read_instant(text: str | None) -> datetime | None:
    """An ISO 8601 instant with its offset as aware UTC; None for null; raises BadRow."""
    if text is None:
        return None
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise BadRow("bad_time", f"{text[:40]!r} is no instant with a time zone.")
    minute, second, fraction, zone = found.groups()
    # A leap second counts as the first of the next minute: Python and PostgreSQL differ on it.
    leap = timedelta(seconds=1 if second == "60" else 0)
    shown_second = "59" if leap else second
    try:
        instant = datetime.fromisoformat(f"{minute}{shown_second}{zone}").astimezone(UTC)
        return instant + leap + timedelta(microseconds=_microseconds(fraction))
    except (ValueError, OverflowError) as error:
        raise BadRow("bad_time", f"{text[:40]!r} is no instant of the calendar.") from error


def _microseconds(fraction: str | None) -> int:
    return int((fraction or ".0")[1:7].ljust(6, "0"))


def row_id(row: bytes) -> str | None:
    """The id of a row that may be bad otherwise."""
    try:
        return _decode_identity(row).id
    except (msgspec.DecodeError, RecursionError):
        return None


def reject(row: bytes, error: BadRow, *, kind: str, listing: Listing | None) -> RejectedRow:
    """The row set aside, with at most 4 kB of its text."""
    return RejectedRow(
        kind=kind,
        reason=error.reason,
        detail=str(error),
        raw=row.decode(errors="replace")[:RAW_CHARACTERS],
        symbol=listing.symbol if listing else None,
        provider_id=listing.provider_id if listing else row_id(row),
    )

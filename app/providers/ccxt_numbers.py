"""Numbers and instants of an exchange's answer, exactly as they were written."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from app.domain import Listing, RejectedRow

RAW_CHARACTERS = 4_096
# Far beyond any real figure, and small enough that writing a number out can't fill the memory.
LONGEST_NUMBER = 1_000
LARGEST_EXPONENT = 1_000
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,6})?", re.ASCII)
# Numbers with an exponent are decoded as text, so all of them stand in quotes.
_HUGE_EXPONENT = re.compile(rb'"[+-]?[0-9.]+[eE][+-]?[0-9]{4,}"')
_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A number with a fraction or exponent stays text; a whole number is exact as it is.
decode_body = msgspec.json.Decoder(float_hook=str).decode


class BadRow(Exception):
    """A row can't be read: `reason` is a short code, the message a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def raw_text(row: Any) -> str:
    """A decoded row as JSON again; numbers with a fraction stand in quotes."""
    return msgspec.json.encode(row).decode()[:RAW_CHARACTERS]


def refuse_huge_exponents(row: Any) -> None:
    """Raise BadRow for a row with a number such as 1e99999, which ccxt would write out in full."""
    if _HUGE_EXPONENT.search(msgspec.json.encode(row)):
        raise BadRow("number_out_of_range", "The row holds a number beyond any real figure.")


def read_number(value: object, what: str) -> Decimal | None:
    """The number exactly as it is written; None where there is none; raises BadRow."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("not_a_number", f"{what} is {str(value)[:40]!r}, which is not a number.")
    text = str(value)
    if len(text) > LONGEST_NUMBER:
        raise BadRow("number_too_long", f"{what} has {len(text):,} characters.")
    if not _NUMBER.fullmatch(text):
        raise BadRow("not_a_number", f"{what} is {text[:40]!r}, which is not a number.")
    number = Decimal(text)
    if abs(number.adjusted()) > LARGEST_EXPONENT:
        raise BadRow("number_out_of_range", f"{what} is {text[:40]}, beyond any real figure.")
    return number


def read_milliseconds(value: object) -> datetime:
    """An instant from milliseconds since 1970 as aware UTC; raises BadRow."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRow("bad_time", f"{str(value)[:40]!r} is no time.")
    if not _EARLIEST.timestamp() <= value / 1000 < _LATEST.timestamp():
        raise BadRow("bad_time", "The time does not lie between 2009 and 2100.")
    return _EPOCH + timedelta(milliseconds=value)


def to_milliseconds(instant: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def reject(row: Any, error: BadRow, *, kind: str, listing: Listing | None) -> RejectedRow:
    """The row set aside, with at most 4 kB of its text."""
    return RejectedRow(
        kind=kind,
        reason=error.reason,
        detail=str(error),
        raw=raw_text(row),
        symbol=listing.symbol if listing else None,
        provider_id=listing.provider_id if listing else None,
    )

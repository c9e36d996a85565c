"""What the cells of a file mean: exact numbers, instants in UTC, symbols and intervals."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain import DAY, HOUR, WEEK

LONGEST_NUMBER = 200
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MISSING = frozenset({"", "null", "none", "nan", "na", "n/a", "-", "nil"})
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_COMMA = re.compile(r"[+-]?[\d.]*,[\d.,]*", re.ASCII)
_DIGITS = re.compile(r"(\d{1,20})(?:\.(\d{0,20}))?", re.ASCII)
_DAY = re.compile(r"(?:19|20|21)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", re.ASCII)
_HOUR_OF_DAY = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d{1,2})-([AaPp])[Mm]", re.ASCII)
_ISO = re.compile(r"\d{4}-?\d\d-?\d\d(?:[ T].*)?", re.ASCII)
_INTERVAL = re.compile(r"(\d{1,4}) ?(m|min|minutes?|h|hours?|d|days?|w|weeks?)", re.ASCII)
_SEPARATORS = re.compile(r"[\s/_:]+")
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_NAMED = {
    "minutely": MINUTE,
    "hourly": HOUR,
    "hour": HOUR,
    "h1": HOUR,
    "daily": DAY,
    "day": DAY,
    "d1": DAY,
    "weekly": WEEK,
    "w1": WEEK,
}
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
# Before 1973; anything less is a year, a count or another mistake.
_LEAST_UNIX = 10**8
# Seconds since 1970 of any plausible instant have up to 11 digits, and so on by thousands.
_SCALES = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


class BadRow(Exception):
    """A row can't be read: `reason` is a short code, the message a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_number(text: str | None, what: str) -> Decimal | None:
    """The number exactly as it is written; None where the cell holds none; raises `BadRow`."""
    if text is None or text.lower() in MISSING:
        return None
    if len(text) > LONGEST_NUMBER:
        raise BadRow("number_too_long", f"{what} has {len(text):,} characters")
    if _COMMA.fullmatch(text):
        said = "numbers have a decimal point, and nothing between thousands"
        raise BadRow("decimal_comma", f"{what} is {text[:40]!r}, but {said}")
    if not _NUMBER.fullmatch(text):
        raise BadRow("not_a_number", f"{what} is {text[:40]!r}, which is not a number")
    return Decimal(text)


def read_instant(text: str | None) -> int:
    """Microseconds since 1970, UTC; a time without a zone is UTC. Raises `BadRow`.

    Read are unix times in seconds, milliseconds, micro- or nanoseconds (told apart by their size),
    20200131, ISO 8601, and `2020-01-31 04-AM`.
    """
    if text is None or text.lower() in MISSING:
        raise BadRow("time_missing", "it has no time")
    digits = _DIGITS.fullmatch(text)
    if digits and not _DAY.fullmatch(text):
        micros = _unix_micros(*digits.groups())
    else:
        micros = (_calendar_instant(text) - EPOCH) // timedelta(microseconds=1)
    if not _micros(_EARLIEST) <= micros < _micros(_LATEST):
        raise BadRow("bad_time", f"the time {text[:40]!r} lies outside 1900 to 2200")
    return micros


def _micros(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def _unix_micros(whole: str, fraction: str | None) -> int:
    value = int(whole)
    if value < _LEAST_UNIX:
        raise BadRow("bad_time", f"the time {whole} is neither unix nor a day such as 20200131")
    for limit, scale in _SCALES:
        if value < limit:
            return value * scale + int((fraction or "").ljust(6, "0")[:6]) * scale // 1_000_000
    return value // 1000


def _calendar_instant(text: str) -> datetime:
    """An instant that is written as a date."""
    hour = _HOUR_OF_DAY.fullmatch(text)
    try:
        if hour:
            return _twelve_hour_instant(*hour.groups())
        plain = text.removesuffix(" UTC").removesuffix(" GMT")
        if not _ISO.fullmatch(plain):
            raise BadRow("bad_time", f"the time is {text[:40]!r}, which is not ISO 8601 or unix")
        instant = datetime.fromisoformat(plain)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRow("bad_time", f"the time {text[:40]!r} is none of the calendar") from error


def _twelve_hour_instant(day: str, hour: str, half: str) -> datetime:
    if not 1 <= int(hour) <= 12:
        raise ValueError("no hour of a half day")
    hours = int(hour) % 12 + (12 if half in "Pp" else 0)
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=hours)


def read_interval(text: str) -> timedelta | None:
    """The length that `1h`, `15m`, `daily` and the like name; None for anything else."""
    word = text.strip().lower()
    if word in _NAMED:
        return _NAMED[word]
    found = _INTERVAL.fullmatch(word)
    return int(found[1]) * _UNITS[found[2][0]] if found and int(found[1]) else None


def key_of(symbol: str) -> str:
    """A symbol in the one spelling in which symbols are compared: `btc/usd` is BTC-USD."""
    return _SEPARATORS.sub("-", symbol.strip()).strip("-").upper()


def loose_key(key: str) -> str:
    """The key without separators, for vendors that write BTCUSD."""
    return re.sub(r"[-.]", "", key)


def step_words(step: timedelta) -> str:
    """A step for people: `1 h`, `15 min`, `90 s`."""
    for unit, length in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if step % length == timedelta(0):
            return f"{step // length} {unit}"
    return f"{step.total_seconds():g} s"

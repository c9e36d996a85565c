"""Which candles of a market an address asks for: their granularity, and which time they are of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from app.domain import DAY, Granularity
from app.errors import InvalidRequest
from app.services.candle_chart import WIDEST_HOURS, ChartCandle, usual_hours
from app.web.addresses import read_granularity

# As many as a table of them is still pleasant with, and few enough for natural lengths: a year of
# days, a quarter of quarters of a day.
SHOWN_POINTS = 370
# Of these a page lists the newest; the others come on request.
LISTED_ROWS = 24
_ALL_ROWS = "all"


@dataclass(frozen=True, slots=True)
class CandleRange:
    """The newest `span` of the candles that are stored, all of them for None.

    One that is not among those to choose from has no name, but a time: `[start, end)`.
    """

    name: str
    label: str
    words: str
    span: timedelta | None
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Self:
        """The candles of `[start, end)`."""
        words = f"{write_instant(start)} to {write_instant(end)}".replace("T", " ")
        return cls("", "", words.replace("Z", "") + " UTC", None, start, end)

    @property
    def address(self) -> dict[str, str]:
        """The arguments of an address with this range."""
        if self.start is None or self.end is None:
            return {"range": self.name}
        return {"from": write_instant(self.start), "to": write_instant(self.end)}


def write_instant(instant: datetime) -> str:
    """An instant for an address, to the minute: `2026-11-01T00:00Z`."""
    return f"{instant.astimezone(UTC).isoformat(timespec='minutes')[:16]}Z"


_DAY = CandleRange("1d", "1 d", "newest day", DAY)
_WEEK = CandleRange("7d", "7 d", "newest 7 days", 7 * DAY)
_MONTH = CandleRange("30d", "30 d", "newest 30 days", 30 * DAY)
_QUARTER = CandleRange("90d", "90 d", "newest 90 days", 90 * DAY)
_YEAR = CandleRange("1y", "1 y", "newest year", 365 * DAY)
_YEARS = CandleRange("3y", "3 y", "newest 3 years", 1096 * DAY)
_DECADE = CandleRange("10y", "10 y", "newest 10 years", 3653 * DAY)
_ALL = CandleRange("all", "All", "whole history", None)
RANGES: Mapping[Granularity, tuple[CandleRange, ...]] = {
    Granularity.HOURLY: (_DAY, _WEEK, _MONTH, _QUARTER, _YEAR, _ALL),
    Granularity.DAILY: (_MONTH, _QUARTER, _YEAR, _YEARS, _ALL),
    Granularity.WEEKLY: (_YEAR, _YEARS, _DECADE, _ALL),
}
_USUAL: Mapping[Granularity, CandleRange] = {
    Granularity.HOURLY: _WEEK,
    Granularity.DAILY: _YEAR,
    Granularity.WEEKLY: _YEARS,
}


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """The candles to show on the page of a market; `is_whole` asks for a table of all of them."""

    granularity: Granularity
    range: CandleRange
    is_whole: bool = False

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address, whose `from` and `to` go before its `range`.

        InvalidRequest for a range its granularity does not have, and for times that are none.
        """
        granularity = read_granularity(args)
        has_times = args.get("from") or args.get("to")
        found = _read_times(args) if has_times else _read_range(granularity, args)
        return cls(granularity, found, args.get("table", "").strip().lower() == _ALL_ROWS)

    @property
    def ranges(self) -> tuple[CandleRange, ...]:
        """The ranges to choose from."""
        return RANGES[self.granularity]

    @property
    def granularities(self) -> tuple[Granularity, ...]:
        """The granularities to choose from."""
        return tuple(Granularity)

    @property
    def widths(self) -> tuple[int, ...]:
        """How long, in hours, a drawn candle may be."""
        return tuple(hours for hours in usual_hours(self.granularity) if hours <= WIDEST_HOURS)

    @property
    def address(self) -> dict[str, str]:
        """The arguments of an address with these candles."""
        table = {"table": _ALL_ROWS} if self.is_whole else {}
        return self.of_range(self.range) | table

    @property
    def whole(self) -> dict[str, str]:
        """The arguments of an address with these candles and a table of them all."""
        return replace(self, is_whole=True).address

    def listed(self, candles: Sequence[ChartCandle]) -> Sequence[ChartCandle]:
        """Those of the candles, oldest first, that stand in the table: the newest, or all."""
        return candles if self.is_whole else candles[-LISTED_ROWS:]

    def exported(self, start: datetime | None) -> dict[str, str]:
        """The arguments of an export of the stored candles, which begin with `start` if given."""
        times = {"start": start, "end": self.range.end}
        written = {name: write_instant(instant) for name, instant in times.items() if instant}
        return {"granularity": self.granularity.value} | written

    def of_range(self, chosen: CandleRange) -> dict[str, str]:
        """The arguments of an address with another range."""
        return {"granularity": self.granularity.value} | chosen.address

    def of_granularity(self, chosen: Granularity) -> dict[str, str]:
        """The arguments of an address with another granularity, of the same range if it can be."""
        has_it = not self.range.name or _find(chosen, self.range.name)
        return {"granularity": chosen.value} | (self.range.address if has_it else {})


def _read_range(granularity: Granularity, args: Mapping[str, str]) -> CandleRange:
    given = args.get("range", "").strip().lower()
    found = _find(granularity, given) if given else _USUAL[granularity]
    if found is None:
        names = ", ".join(item.name for item in RANGES[granularity])
        detail = f"range is {given[:40]!r}"
        raise InvalidRequest(f"range of {granularity} candles must be one of {names}.", [detail])
    return found


def _read_times(args: Mapping[str, str]) -> CandleRange:
    start, end = (_read_instant(args, name) for name in ("from", "to"))
    if start >= end:
        raise InvalidRequest("from must be before to.", [f"from is {write_instant(start)}"])
    return CandleRange.between(start, end)


def _read_instant(args: Mapping[str, str], name: str) -> datetime:
    """A date or an instant, in UTC where it names no zone, cut to the minute."""
    given = args.get(name, "").strip()
    try:
        read = datetime.fromisoformat(given)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(second=0, microsecond=0)
    except (ValueError, OverflowError):
        detail = f"{name} is {given[:40]!r}" if given else f"{name} is missing"
        raise InvalidRequest(
            "from and to must be instants such as 2026-11-01T00:00Z, or dates.", [detail]
        ) from None


def _find(granularity: Granularity, name: str) -> CandleRange | None:
    return next((item for item in RANGES[granularity] if item.name == name), None)

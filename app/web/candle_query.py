"""Which candles of a market an address asks for: their granularity, and how far back they reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from app.domain import DAY, Granularity
from app.errors import InvalidRequest
from app.services.candle_chart import WIDEST_HOURS, usual_hours
from app.web.addresses import read_granularity

# As many as a table of them is still pleasant with, and few enough for natural lengths: a year of
# days, a quarter of quarters of a day.
SHOWN_POINTS = 370


@dataclass(frozen=True, slots=True)
class CandleRange:
    """The newest `span` of the candles that are stored, all of them for None."""

    name: str
    label: str
    words: str
    span: timedelta | None


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
    """The candles to show on the page of a market."""

    granularity: Granularity
    range: CandleRange

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest for a range its granularity does not have."""
        granularity = read_granularity(args)
        given = args.get("range", "").strip().lower()
        if not given:
            return cls(granularity, _USUAL[granularity])
        found = _find(granularity, given)
        if found is None:
            names = ", ".join(item.name for item in RANGES[granularity])
            detail = f"range is {given[:40]!r}"
            raise InvalidRequest(
                f"range of {granularity} candles must be one of {names}.", [detail]
            )
        return cls(granularity, found)

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
        return {"granularity": self.granularity.value, "range": self.range.name}

    def of_range(self, chosen: CandleRange) -> dict[str, str]:
        """The arguments of an address with another range."""
        return {"granularity": self.granularity.value, "range": chosen.name}

    def of_granularity(self, chosen: Granularity) -> dict[str, str]:
        """The arguments of an address with another granularity, of the same range if it can be."""
        kept = {} if _find(chosen, self.range.name) is None else {"range": self.range.name}
        return {"granularity": chosen.value} | kept


def _find(granularity: Granularity, name: str) -> CandleRange | None:
    return next((item for item in RANGES[granularity] if item.name == name), None)

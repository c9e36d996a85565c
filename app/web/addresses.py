"""The filters of a page as typed values: read from its address, written back into one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self, TypeVar

from app.domain import DAY, WEEK, AssetType, Granularity, RunStatus, Trigger
from app.errors import InvalidRequest
from app.services.market_search import Freshness, MarketFilter
from app.services.rejected_rows import RejectedFilter
from app.services.run_search import RunFilter

Choice = TypeVar("Choice", bound=StrEnum)
# Where the largest is what people look for first.
_DESCENDING_FIRST = frozenset({"price", "volume", "roi_1h", "roi_24h", "roi_7d", "roi_30d"})
LONGEST_SEARCH = 100
LONGEST_CODE = 200
_PLAIN_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


class Period(StrEnum):
    """How far back a list of runs reaches."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    @property
    def length(self) -> timedelta:
        """The period as a length of time."""
        return {"24h": DAY, "7d": WEEK, "30d": 30 * DAY}[self.value]


class Move(StrEnum):
    """By how many per cent a price has to have moved to be shown."""

    ONE = "1"
    FIVE = "5"
    TEN = "10"


class LogLevel(StrEnum):
    """From which level on log lines are shown."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SnapshotQuery:
    """Which latest snapshots to show, in which order; `sort` names a field, `-` reverses it."""

    search: str = ""
    sort: str = "rank"
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; the service judges `sort` and `cursor`."""
        return cls(
            search=_words(args.get("search", "")),
            sort=args.get("sort") or "rank",
            cursor=args.get("cursor") or None,
        )

    def address(self, *, cursor: str | None = None) -> dict[str, Any]:
        """The arguments of an address with this search and order, at `cursor` or at the start."""
        given = {"search": self.search, "sort": "" if self.sort == "rank" else self.sort}
        return _without_blanks(given | {"cursor": cursor or ""})

    def sorted_by(self, field: str) -> dict[str, Any]:
        """The arguments of an address that sorts by `field`, or turns its order round."""
        first, second = (f"-{field}", field) if field in _DESCENDING_FIRST else (field, f"-{field}")
        return SnapshotQuery(self.search, second if self.sort == first else first).address()

    def direction(self, field: str) -> str:
        """The value of `aria-sort` for the column of `field`."""
        return {field: "ascending", f"-{field}": "descending"}.get(self.sort, "none")


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to show; `min_seconds` is a plain number as it was typed, empty for none."""

    status: RunStatus | None = None
    trigger: Trigger | None = None
    provider: str | None = None
    period: Period | None = None
    min_seconds: str = ""
    search: str = ""
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest where a choice does not exist."""
        return cls(
            status=read_choice(RunStatus, "status", args),
            trigger=read_choice(Trigger, "trigger", args),
            provider=_words(args.get("provider", "")) or None,
            period=read_choice(Period, "period", args),
            min_seconds=_seconds(args.get("min_seconds", "")),
            search=_words(args.get("search", "")),
            cursor=args.get("cursor") or None,
        )

    @property
    def is_filtered(self) -> bool:
        """True where the address narrows the runs, wherever the page starts."""
        return bool(self.address())

    @property
    def wanted(self) -> RunFilter:
        """The filters as the service takes them."""
        return RunFilter(
            status=self.status,
            trigger=self.trigger,
            provider=self.provider,
            period=self.period.length if self.period else None,
            min_duration_ms=round(float(self.min_seconds) * 1000) if self.min_seconds else None,
            search=self.search,
        )

    def address(self, **changes: str | None) -> dict[str, Any]:
        """The arguments of an address with these filters and `changes`, at the newest run."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return _without_blanks(kept | {"cursor": None} | changes)


@dataclass(frozen=True, slots=True)
class RunSheetQuery:
    """What of one run to show: log lines of `level` and worse, markets that moved by `moved` %.

    And of its rejected rows those of `reason`, and of these the ones `after` a cursor.
    """

    level: LogLevel = LogLevel.INFO
    moved: Move | None = None
    reason: str | None = None
    after: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest where a choice does not exist."""
        return cls(
            level=read_choice(LogLevel, "level", args) or LogLevel.INFO,
            moved=read_choice(Move, "moved", args),
            reason=_code("reason", args),
            after=args.get("after") or None,
        )

    @property
    def rejected(self) -> RejectedFilter:
        """Which rejected rows, as the service takes it."""
        return RejectedFilter(reason=self.reason, cursor=self.after)

    def address(self, **changes: str | None) -> dict[str, Any]:
        """The arguments of an address with these choices and `changes`."""
        level = None if self.level is LogLevel.INFO else self.level
        kept: dict[str, str | None] = {
            "level": level,
            "moved": self.moved,
            "reason": self.reason,
            "after": self.after,
        }
        return _without_blanks(kept | changes)


@dataclass(frozen=True, slots=True)
class MarketQuery:
    """Which markets to list."""

    search: str = ""
    asset_type: AssetType | None = None
    provider: str | None = None
    freshness: Freshness | None = None
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest where a choice does not exist."""
        return cls(
            search=_words(args.get("search", "")),
            asset_type=read_choice(AssetType, "asset_type", args),
            provider=_words(args.get("provider", "")) or None,
            freshness=read_choice(Freshness, "freshness", args),
            cursor=args.get("cursor") or None,
        )

    @property
    def is_filtered(self) -> bool:
        """True where the address narrows the markets, wherever the page starts."""
        return bool(self.address())

    @property
    def wanted(self) -> MarketFilter:
        """The filters as the service takes them."""
        return MarketFilter(
            search=self.search,
            asset_type=self.asset_type,
            provider=self.provider,
            freshness=self.freshness,
        )

    def address(self, *, cursor: str | None = None) -> dict[str, Any]:
        """The arguments of an address with these filters, at `cursor` or at the start."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return _without_blanks(kept | {"cursor": cursor or ""})


def read_choice(kind: type[Choice], name: str, args: Mapping[str, str]) -> Choice | None:
    """The member named by the argument, None where it is absent; InvalidRequest otherwise."""
    given = args.get(name, "").strip().lower()
    if not given:
        return None
    known = {member.value: member for member in kind}
    if given not in known:
        detail = f"{name} is {given[:40]!r}"
        raise InvalidRequest(f"{name} must be one of {', '.join(known)}.", [detail])
    return known[given]


def read_granularity(args: Mapping[str, str]) -> Granularity:
    """The granularity of an address, hourly where it names none."""
    return read_choice(Granularity, "granularity", args) or Granularity.HOURLY


def read_symbols(text: str) -> tuple[str, ...]:
    """The symbols of a form field, separated by commas or white space, in upper case, each once."""
    symbols = (part.upper() for part in re.split(r"[\s,;]+", text) if part)
    return tuple(dict.fromkeys(symbols))


def _without_blanks(args: Mapping[str, object]) -> dict[str, Any]:
    return {name: str(value) for name, value in args.items() if value}


def _code(name: str, args: Mapping[str, str]) -> str | None:
    given = args.get(name, "")[:LONGEST_CODE]
    if not given.isprintable():
        raise InvalidRequest(f"{name} must be a code such as price_missing.")
    return given or None


def _words(text: str) -> str:
    return text.strip()[:LONGEST_SEARCH]


def _seconds(text: str) -> str:
    given = text.strip()
    if given and not _PLAIN_NUMBER.fullmatch(given):
        raise InvalidRequest("min_seconds must be a number of seconds, such as 30 or 2.5.")
    return given

"""The filters of a page as typed values: read from its address, written back into one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Self, TypeVar

from app.domain import Granularity, RunStatus, Trigger
from app.errors import InvalidRequest

Choice = TypeVar("Choice", bound=StrEnum)
# Where the largest is what people look for first.
_DESCENDING_FIRST = frozenset({"price", "volume", "roi_1h", "roi_24h", "roi_7d", "roi_30d"})
LONGEST_SEARCH = 100


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
    """Which runs to show."""

    status: RunStatus | None = None
    trigger: Trigger | None = None
    provider: str | None = None
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest where a choice does not exist."""
        return cls(
            status=read_choice(RunStatus, "status", args),
            trigger=read_choice(Trigger, "trigger", args),
            provider=_words(args.get("provider", "")) or None,
            cursor=args.get("cursor") or None,
        )

    @property
    def is_filtered(self) -> bool:
        """True where the address narrows the runs, wherever the page starts."""
        return any((self.status, self.trigger, self.provider))

    def address(self, **changes: str | None) -> dict[str, Any]:
        """The arguments of an address with these filters and `changes`, at the newest run."""
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return _without_blanks(kept | {"cursor": None} | changes)


@dataclass(frozen=True, slots=True)
class MarketQuery:
    """Which markets to list."""

    search: str = ""
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address."""
        search = _words(args.get("search", ""))
        return cls(search=search, cursor=args.get("cursor") or None)

    def address(self, *, cursor: str | None = None) -> dict[str, Any]:
        """The arguments of an address with this search, at `cursor` or at the start."""
        return _without_blanks({"search": self.search, "cursor": cursor or ""})


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


def _words(text: str) -> str:
    return text.strip()[:LONGEST_SEARCH]

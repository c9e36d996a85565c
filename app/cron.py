"""What a cron expression means: real cron weekdays, names, macros, and a stated behaviour at DST.

Debian's cron, through the `cronsim` library: weekday 0 and 7 are Sunday; with day of month and
weekday both restricted either may match (a field that starts with `*` does not restrict: then
both must match). `?` in a day field reads as `*`. In a zone with daylight saving a fixed time that
the change skips runs right after it, one that happens twice runs the first time only, and
expressions that start with `*` in the minute or hour keep running by elapsed time.

The library counts wall times only; which instants those are is answered here, because it steps by
whole hours through a change, and a change of half an hour (Lord Howe) made it pass over ticks. A
range of one value with a step is answered here too: the library goes on to the end of the field.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST = 200
MINUTE = timedelta(minutes=1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_EVEN_STEP = re.compile(r"\*/(\d+) ")
_ORDINAL = re.compile(r"\b([2-5][123])th\b")
_STEP_WORDS = re.compile(r"^Every (?!minute\b)\S+ minute( of every hour)?")


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: the numbers it may hold, and the names that stand for some."""

    name: str
    least: int
    largest: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """What one end of a range means; None where it is no number and no name."""
        if text in self.names:
            return self.names.index(text) + self.least
        return int(text) if text.isdigit() else None


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


class CronSchedule:
    """A validated expression in a time zone; `ValueError` says in words what is wrong with it."""

    def __init__(self, expression: str, *, timezone: str = "UTC") -> None:
        self.expression = expression
        self.timezone = timezone
        self._zone = load_zone(timezone)
        self._fields = _checked_fields(expression)
        minute, hour = self._fields.split()[:2]
        self._is_fixed = not minute.startswith("*") and not hour.startswith("*")
        try:
            next(CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration):
            raise ValueError("no such date ever comes") from None

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """The due instants strictly after `after`, each once and in order, as aware UTC."""
        latest = after
        for due in self._in_order(after):
            # Where the clock jumps, two wall times may fall on one instant.
            if due > latest:
                latest = due
                yield due

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant strictly after `instant`."""
        return next(self.upcoming(instant))

    def latest_until(self, instant: datetime) -> datetime:
        """The last due instant at or before `instant`."""
        wall = self._wall(instant)
        start = wall + self._repeated(wall) + MINUTE
        found: list[datetime] = []
        for past in CronSim(self._fields, start, reverse=True):
            instants = self._instants(past)
            found += [due for due in instants if due <= instant]
            # An earlier wall time may still be the later instant while an hour is repeated.
            if found and instants and instants[-1] <= max(found):
                return max(found)
        raise ValueError("no such date ever came")

    def _in_order(self, after: datetime) -> Iterator[datetime]:
        """The due instants from about `after` on: second passes of an hour wait for the first."""
        wall = self._wall(after)
        waiting: list[datetime] = []
        for upcoming in CronSim(self._fields, wall - self._repeated(wall)):
            instants = self._instants(upcoming)
            for due in instants:
                heappush(waiting, due)
            while instants and waiting and waiting[0] <= instants[0]:
                yield heappop(waiting)
        yield from sorted(waiting)

    def _instants(self, wall: datetime) -> list[datetime]:
        """When a wall time that matches is due: never, once or twice where the clock is changed."""
        real = self._passes(wall)
        if not self._is_fixed:
            return real
        while not real:
            wall += MINUTE
            real = self._passes(wall)
        return real[:1]

    def _passes(self, wall: datetime) -> list[datetime]:
        """The instants at which clocks of the zone show that."""
        folds = {wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(instant for instant in folds if self._wall(instant) == wall)

    def _wall(self, instant: datetime) -> datetime:
        """What clocks of the zone show then, without the zone."""
        return instant.astimezone(self._zone).replace(tzinfo=None)

    def _repeated(self, wall: datetime) -> timedelta:
        """How far apart the two passes of a wall time are, nothing for most."""
        first, *others = self._passes(wall)
        return others[0] - first if others else timedelta(0)

    def due_between(self, after: datetime, until: datetime, *, limit: int = 1000) -> list[datetime]:
        """The due instants in `(after, until]`, oldest first, at most `limit` of them."""
        return list(islice(takewhile(lambda due: due <= until, self.upcoming(after)), limit))

    def describe(self) -> str:
        """The expression in English words."""
        library = CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC))
        words = _ORDINAL.sub(_with_ending, str(library.explain()))
        if not library.day_and:
            # Either day will do; "on the 13th and on Friday" reads like both at once.
            words = words.replace(" and on ", " or on ")
        step = _EVEN_STEP.match(self._fields)
        if step is None or 60 % int(step[1]):
            return words
        # "Every 15th minute of every hour" reads like minute 15.
        return _STEP_WORDS.sub(f"Every {int(step[1])} minutes", words)


def load_zone(name: str) -> ZoneInfo:
    """The time zone of that name; `ValueError` where the machine knows none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name[:40]!r} is not a known time zone") from None


def _with_ending(number: re.Match[str]) -> str:
    """21st, 22nd and 23rd where the library says 21th."""
    return number[1] + {"1": "st", "2": "nd", "3": "rd"}[number[1][-1]]


def _checked_fields(expression: str) -> str:
    """The five fields; refuses what cronsim would take in a sense cron does not have."""
    text = expression.strip(" \t").lower()
    if not text.isascii() or not text.replace("\t", " ").isprintable():
        raise ValueError("it holds a character that is not printable ASCII")
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    if text.startswith("@"):
        return _expanded(text)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        count = f"{len(parts)} field" + ("" if len(parts) == 1 else "s")
        raise ValueError(f"it has {count} instead of 5")
    pairs = zip(_FIELDS, parts, strict=True)
    return " ".join(_checked_field(field, part) for field, part in pairs)


def _expanded(macro: str) -> str:
    if macro not in MACROS:
        raise ValueError(f"{macro[:40]!r} is none of {', '.join(MACROS)}")
    return MACROS[macro]


def _checked_field(field: _Field, text: str) -> str:
    """The field as the library is to read it; `ValueError` names what is wrong with it."""
    if text == "?" and field.name in ("day of month", "weekday"):
        return "*"
    items = ",".join(_checked_item(field, item) for item in text.split(","))
    around = ["*" if other is not field else items for other in _FIELDS]
    try:
        CronSim(" ".join(around), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise ValueError(
            f"{text[:40]!r} is not a valid {field.name} ({field.least} to {field.largest}, "
            "or a list, a rising range or a step of these)"
        ) from None
    return items


def _checked_item(field: _Field, item: str) -> str:
    """One of a list; refuses `*/99` in the minutes, which would fire hourly, not every 99 minutes.

    A range that is one value, such as `4-4/2`, loses its step: the library would read `4/2`.
    """
    ends, _, step = item.partition("/")
    if not step.isdigit() or int(step) == 0:
        return item
    if int(step) > field.largest:
        raise ValueError(f"the step /{step[:40]} is longer than the {field.name} field")
    first, dash, last = ends.partition("-")
    is_one = dash and first and field.number(first) == field.number(last)
    return first if is_one else item

"""What a cron expression means: real cron weekdays, names, macros, and a stated behaviour at DST.

Debian's cron, through the `cronsim` library: weekday 0 and 7 are Sunday; with day of month and
weekday both restricted either may match (a field that starts with `*` does not restrict: then
both must match). `?` in a day field reads as `*`. In a zone with daylight saving a fixed time that
the change skips runs right after it, one that happens twice runs the first time only, and
expressions that start with `*` in the minute or hour keep running by elapsed time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
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
_FIELDS = (("minute", 59), ("hour", 23), ("day of month", 31), ("month", 12), ("weekday", 7))


class CronSchedule:
    """A validated expression in a time zone; `ValueError` says in words what is wrong with it."""

    def __init__(self, expression: str, *, timezone: str = "UTC") -> None:
        self.expression = expression
        self.timezone = timezone
        self._zone = load_zone(timezone)
        self._fields = _checked_fields(expression)
        try:
            next(CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(str(error)[:1].lower() + str(error)[1:]) from None
        except StopIteration:
            raise ValueError("no such date ever comes") from None

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """The due instants strictly after `after`, each once and in order, as aware UTC."""
        latest = after
        for tick in CronSim(self._fields, after.astimezone(self._zone)):
            due = tick.astimezone(UTC)
            # Where the clock jumps, two wall times may fall on one instant, or on one gone by.
            if due > latest:
                latest = due
                yield due

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant strictly after `instant`."""
        return next(self.upcoming(instant))

    def latest_until(self, instant: datetime) -> datetime:
        """The last due instant at or before `instant`."""
        first = self.next_after(instant)
        past = CronSim(self._fields, first.astimezone(self._zone), reverse=True)
        ticks = (tick.astimezone(UTC) for tick in past)
        return next(tick for tick in ticks if tick <= instant)

    def due_between(self, after: datetime, until: datetime, *, limit: int = 1000) -> list[datetime]:
        """The due instants in `(after, until]`, oldest first, at most `limit` of them."""
        return list(islice(takewhile(lambda due: due <= until, self.upcoming(after)), limit))

    def describe(self) -> str:
        """The expression in English words."""
        return str(CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC)).explain())


def load_zone(name: str) -> ZoneInfo:
    """The time zone of that name; `ValueError` where the machine knows none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name[:40]!r} is not a known time zone") from None


def _checked_fields(expression: str) -> str:
    """The five fields; refuses what cronsim would take in a sense cron does not have."""
    text = expression.strip(" \t").lower()
    if not text.isascii() or not text.replace("\t", " ").isprintable():
        raise ValueError("it holds a character that is not plain ASCII")
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    if text.startswith("@"):
        return _expanded(text)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        count = f"{len(parts)} field" + ("" if len(parts) == 1 else "s")
        raise ValueError(f"it has {count} instead of 5")
    _check_steps(parts)
    return " ".join("*" if part == "?" and i in (2, 4) else part for i, part in enumerate(parts))


def _expanded(macro: str) -> str:
    if macro not in MACROS:
        raise ValueError(f"{macro[:40]!r} is none of {', '.join(MACROS)}")
    return MACROS[macro]


def _check_steps(parts: list[str]) -> None:
    """Refuse `*/99` in the minutes, which would fire once an hour and not every 99 minutes."""
    for part, (name, largest) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            step = item.partition("/")[2]
            if step.isdigit() and int(step) > largest:
                raise ValueError(f"the step /{step} is longer than the {name} field")

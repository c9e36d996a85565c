"""What a cron expression means: real cron weekdays, names, macros, and a stated behaviour at DST.

Debian's cron, through the `cronsim` library: weekday 0 and 7 are Sunday; with day of
month and weekday both restricted either may match. In a zone with daylight saving a fixed time
that the change skips runs right after it, one that happens twice runs once, and expressions with
a wildcard hour or minute keep running by elapsed time.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
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
_FIELDS = (("minute", 59), ("hour", 23), ("day of month", 31), ("month", 12), ("weekday", 7))


class CronSchedule:
    """A validated expression in a time zone; `ValueError` says in words what is wrong with it."""

    def __init__(self, expression: str, *, timezone: str = "UTC") -> None:
        self.expression = expression
        self.timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._fields = MACROS.get(expression.strip().lower(), expression.strip())
        _check_shape(self._fields)
        try:
            next(CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(f"{str(error).lower()} in it") from None
        except StopIteration:
            raise ValueError("it names a date that never comes") from None

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """The due instants strictly after `after`, in order, as aware UTC."""
        ticks = CronSim(self._fields, after.astimezone(self._zone))
        return (tick.astimezone(UTC) for tick in ticks)

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant strictly after `instant`."""
        return next(self.upcoming(instant))

    def latest_until(self, instant: datetime) -> datetime:
        """The last due instant at or before `instant`."""
        first = self.next_after(instant)
        past = CronSim(self._fields, first.astimezone(self._zone), reverse=True)
        return next(past).astimezone(UTC)

    def due_between(self, after: datetime, until: datetime, *, limit: int = 1000) -> list[datetime]:
        """The due instants in `(after, until]`, oldest first, at most `limit` of them."""
        due = islice(self.upcoming(after), limit)
        return [tick for tick in due if tick <= until]

    def describe(self) -> str:
        """The expression in English words."""
        return str(CronSim(self._fields, datetime(2000, 1, 1, tzinfo=UTC)).explain())


def _check_shape(fields: str) -> None:
    """Refuse what cronsim would take in a sense cron does not have."""
    parts = fields.split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(name for name, _ in _FIELDS)
        raise ValueError(f"it has {len(parts)} fields instead of 5 ({names})")
    for part, (name, largest) in zip(parts, _FIELDS, strict=True):
        for step in re.findall(r"/(\d+)", part):
            if int(step) > largest:
                raise ValueError(f"the step /{step} is longer than the {name} field")

"""Whether the scheduler stands still: no process has looked for a due tick for too long."""

from datetime import datetime, timedelta

from app.services.health import QUIET_POLLS
from app.services.house import House

# A poll may wait so long for a slow database.
SHORTEST_STALL = timedelta(minutes=1)


def stalled_for(house: House, quiet_seconds: float | None, *, now: datetime) -> timedelta | None:
    """How long nothing looked; None where that is short, or where nothing here is to look.

    `quiet_seconds` since the last look by the database's clock, None without any. A process that
    has just started had no time to look, so it does not judge yet.
    """
    settings = house.settings
    if not settings.scheduler_enabled:
        return None
    uptime = now - house.started_at
    quiet = uptime if quiet_seconds is None else timedelta(seconds=quiet_seconds)
    patience = timedelta(seconds=QUIET_POLLS * settings.scheduler_poll_seconds)
    return quiet if min(quiet, uptime) > max(patience, SHORTEST_STALL) else None

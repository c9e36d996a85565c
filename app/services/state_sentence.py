"""Is the data good now, and why not: one word, one sentence in terms of age, one line of detail.

The sentence goes on after the word: `Good — 120 markets, newest 1 min old`, `Failing — BTC-USD is
42 min old, limit 30 min: the last 2 runs failed with HTTP 429`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain import RunStatus
from app.services.views import HealthState, RunView, SchedulePauseView

_HTTP_STATUS = re.compile(r"\bHTTP[ /]*(?:status )?(\d{3})\b", re.IGNORECASE)
_STALL_ADVICE = (
    "Restart Tapedeck; the log of its web processes says why it stopped. "
    "Ingest now works meanwhile."
)
_LATE_ADVICE = "Ingest now brings what the provider has; if nothing is newer, ask the provider why."
_NO_NEXT = "The schedule is paused, so there is no next run until it is resumed."
_NAMELESS_ADVICE = "Open the run: its stages and its log say where it broke off."
_ADVICE = {
    "TransientProviderError": "The next run tries again. "
    "If that fails too, see whether the provider itself is in trouble.",
    "PermanentProviderError": "This does not pass by itself: "
    "correct the setting or the market that the message names.",
    "PlanLimitError": "This does not pass by itself: follow fewer markets, run less often, "
    "or use another plan.",
    "StorageError": "See whether PostgreSQL is well and has room; the next run tries again.",
    "StorageConflict": "The next run tries again.",
}
_BAD = (RunStatus.FAILED, RunStatus.ABANDONED)
_GOOD = (RunStatus.SUCCEEDED, RunStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class FreshnessFacts:
    """The markets that have data: how many, how many of them are late, and between which ages.

    `followed_count` is how many should have some.
    """

    market_count: int
    late_count: int
    newest: datetime | None
    oldest: datetime | None
    oldest_symbol: str | None
    followed_count: int = 0


def judge(
    finished: Sequence[RunView],
    fresh: FreshnessFacts,
    *,
    now: datetime,
    limit: timedelta,
    pause: SchedulePauseView | None = None,
    quiet: timedelta | None = None,
) -> HealthState:
    """The state of the data by its age, the finished runs (newest first) and a pause in force.

    A scheduler that was `quiet` for too long is worse than all, for nothing gets better by itself;
    runs that failed are worse than a pause, a pause explains late data.
    """
    failed = _failed_in_a_row(finished)
    if quiet is not None:
        data = _lateness(fresh, now=now, limit=limit) or _freshness(fresh, now=now)
        headline = f"{data}: the scheduler stopped {format_age(quiet)} ago"
        reason = "No run starts by itself."
        return HealthState("stalled", headline, reason, _STALL_ADVICE)
    if not finished and not fresh.market_count:
        reason = pause.words if pause else "No run has finished so far."
        level = "paused" if pause else "empty"
        return HealthState(level, "nothing has been collected yet", reason)
    late = _lateness(fresh, now=now, limit=limit)
    late_since = fresh.oldest + limit if late and fresh.oldest else None
    cause = _failure(finished, failed) or _pause(pause)
    if failed:
        headline = f"{late or _freshness(fresh, now=now)}: {cause}"
        reason = finished[0].error_message or ""
        advice = _ADVICE.get(finished[0].error_class or "", _NAMELESS_ADVICE)
        advice = f"{_NO_NEXT} {advice}" if pause else advice
        return HealthState("failing", headline, reason, advice, finished[failed - 1].finished_at)
    if pause:
        headline = f"{late or _freshness(fresh, now=now)}: {cause}"
        return HealthState("paused", headline, pause.words, _pause_advice(pause), pause.paused_at)
    if late:
        headline = f"{late}: {_silence(finished, now)}"
        return HealthState("late", headline, _partial(finished), _LATE_ADVICE, late_since)
    return HealthState("good", _freshness(fresh, now=now), _partial(finished))


def format_age(age: timedelta) -> str:
    """An age in its largest fitting unit: 42 s, 17 min, 3 h, 5 d."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def counted(count: int, noun: str) -> str:
    """`1 market`, `2 markets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _freshness(fresh: FreshnessFacts, *, now: datetime) -> str:
    if fresh.newest is None:
        return "there is no data"
    markets = counted(fresh.market_count, "market")
    if fresh.market_count < fresh.followed_count:
        markets = f"{fresh.market_count:,} of {counted(fresh.followed_count, 'market')}"
    return f"{markets}, newest {format_age(now - fresh.newest)} old"


def _lateness(fresh: FreshnessFacts, *, now: datetime, limit: timedelta) -> str:
    """Which market is how old, and how many others are late too; empty when none is."""
    if fresh.oldest is None or not fresh.late_count:
        return ""
    age, most = format_age(now - fresh.oldest), format_age(limit)
    others = fresh.late_count - 1
    if not others:
        return f"{fresh.oldest_symbol} is {age} old, limit {most}"
    more = f"{others:,} more of {counted(fresh.market_count, 'market')}"
    return f"{fresh.oldest_symbol} and {more} are late, up to {age} old, limit {most}"


def _failure(finished: Sequence[RunView], failed: int) -> str:
    if not failed:
        return ""
    runs = "the last run" if failed == 1 else f"the last {failed} runs"
    same = {_http_status(run) for run in finished[:failed]}
    status = same.pop() if len(same) == 1 else ""
    return f"{runs} failed with HTTP {status}" if status else f"{runs} failed"


def _http_status(run: RunView) -> str:
    found = _HTTP_STATUS.search(run.error_message or "")
    return found.group(1) if found else ""


def _pause(pause: SchedulePauseView | None) -> str:
    if pause is None:
        return ""
    if pause.until_at is None:
        return "the schedule is paused until somebody resumes it"
    return f"the schedule is paused until {pause.until_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _pause_advice(pause: SchedulePauseView) -> str:
    ends = "It ends by itself; r" if pause.until_at else "R"
    return f"{ends}esume it on the page of the schedule when its reason is over."


def _silence(finished: Sequence[RunView], now: datetime) -> str:
    """Why data is late though no run failed."""
    good = next((run for run in finished if run.status in _GOOD), None)
    if good is None or good.finished_at is None:
        return "no run has succeeded yet"
    since = format_age(now - good.finished_at)
    return f"the last good run ended {since} ago and brought nothing newer"


def _failed_in_a_row(finished: Sequence[RunView]) -> int:
    count = 0
    for run in finished:
        if run.status not in _BAD:
            break
        count += 1
    return count


def _partial(finished: Sequence[RunView]) -> str:
    last = finished[0] if finished else None
    if last is None or last.status is not RunStatus.PARTIAL:
        return ""
    parts = []
    if last.problem_count:
        parts.append(f"{counted(last.problem_count, 'market')} could not be served")
    if last.counts.rejected:
        verb = "was" if last.counts.rejected == 1 else "were"
        parts.append(f"{counted(last.counts.rejected, 'row')} {verb} set aside")
    return f"The last run was partial: {' and '.join(parts)}." if parts else ""

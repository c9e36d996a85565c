"""One round of judging: facts in, changes of alerts and their deliveries out, in one transaction.

Whoever holds the watch's row judges; everybody else skips the round. A run is judged once, in the
order of the runs, however many finished since the round before.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from app.alerts.changes import AlertState, Book, Episode, Key
from app.alerts.facts import (
    Followed,
    load_markets,
    load_new_runs,
    load_schedule,
    load_signals,
    rewind_runs,
)
from app.alerts.judging import ScheduleFact, judge_markets, judge_run, judge_schedule, judge_signals
from app.alerts.keeping import keep_episodes, keep_notices
from app.alerts.measured import MARKET_RULES, SIGNAL_RULES, Measurements
from app.alerts.outbox import Policy, enqueue, requeue
from app.alerts.rules import RULES, Severity
from app.cron import CronSchedule
from app.domain import EPOCH_MONDAY
from app.models.versions import NEW_ALERTS_VERSION

logger = logging.getLogger(__name__)

RUN_RULES = ("run_failed", "run_partial", "rows_rejected", "run_slow")
SURVEY_EVERY = timedelta(seconds=60)
# A round may have looked at the clock a little before the one that it comes after.
SAME_TIME = timedelta(seconds=5)
MOST_AHEAD = 1000
_LOCK = """
    SELECT judged_at, surveyed_at, runs_until,
           coalesce(measured #> '{ahead,runs}', '[]'::jsonb) AS ahead
    FROM alert_watch WHERE id = 1 FOR UPDATE SKIP LOCKED
"""
_OPEN = """
    SELECT id, rule, subject, state, title, text, value, market, run_id, pending_at, fired_at,
           notified_at, resolved_at
    FROM alert WHERE state <> 'resolved' AND rule = ANY(:rules)
"""
# `ahead` lies beside the figures of the rules; it names no provider, so it is read as none of them.
_JUDGED = """
    UPDATE alert_watch
    SET judged_at = :now, surveyed_at = :surveyed_at, runs_until = :until,
        measured = measured || CAST(:measured AS jsonb)
            || jsonb_build_object('ahead', jsonb_build_object('runs', CAST(:ahead AS jsonb)))
    WHERE id = 1
"""


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """What one round is asked to judge, and for whom; `min_severity` None: nobody is told.

    `stale_after` is how old an observation may be. A round that comes sooner than `every` after
    the one before is skipped.
    """

    now: datetime
    followed: Followed
    schedule: CronSchedule
    schedule_name: str
    stale_after: timedelta
    min_severity: Severity | None
    every: timedelta = timedelta(0)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class _Progress:
    """The start of the last run that was judged, and the judged ones that lie ahead of the clock.

    There are some only after the database's clock was ahead for a while.
    """

    until: datetime | None
    ahead: Sequence[UUID]


def judge_all(connection: Connection, order: WatchOrder) -> int:
    """Judge what is new, keep the changes and queue what is to be told; how many notices.

    The caller commits; until then nobody else judges.
    """
    watch = _lock_watch(connection)
    if watch is None or _is_early(watch, order):
        return 0
    book = Book(_load_open(connection), _load_snoozes(connection))
    measurements = Measurements()
    if watch.judged_at is not None and watch.judged_at - order.now > SAME_TIME:
        logger.error("clock was set back", extra={"judged_at": watch.judged_at})
        requeue(connection, now=order.now)
    progress = _load_progress(connection, order, watch)
    until = _judge_runs(connection, order, book, measurements, progress)
    surveyed_at = _judge_rest(connection, order, book, measurements, watch.surveyed_at)
    book.pass_time(order.now)
    _keep(connection, order, book)
    values = {
        "now": order.now,
        "surveyed_at": surveyed_at,
        "until": until,
        "ahead": json.dumps([str(run_id) for run_id in progress.ahead]),
        "measured": measurements.stored(at=order.now, provider=order.followed.provider),
    }
    connection.execute(text(_JUDGED), values)
    return len(book.notices)


def _lock_watch(connection: Connection) -> Row[Any] | None:
    row = connection.execute(text(_LOCK)).first()
    if row is not None:
        return row
    # Either somebody holds it or it was never made; only in the second case does this insert.
    connection.execute(text("INSERT INTO alert_watch (id) VALUES (1) ON CONFLICT DO NOTHING"))
    return connection.execute(text(_LOCK)).first()


def _is_early(watch: Row[Any], order: WatchOrder) -> bool:
    if watch.judged_at is None:
        return False
    return bool(-SAME_TIME <= order.now - watch.judged_at < order.every)


def _load_open(connection: Connection) -> dict[Key, Episode]:
    rows = connection.execute(text(_OPEN), {"rules": list(RULES)}).mappings()
    episodes = [Episode(**{**row, "state": AlertState(row["state"])}) for row in rows]
    return {episode.key: episode for episode in episodes}


def _load_snoozes(connection: Connection) -> dict[Key, datetime]:
    rows = connection.execute(text("SELECT rule, subject, until_at FROM alert_snooze"))
    return {(row.rule, row.subject): row.until_at for row in rows}


def _load_progress(connection: Connection, order: WatchOrder, watch: Row[Any]) -> _Progress:
    ahead = [UUID(run_id) for run_id in watch.ahead]
    if watch.runs_until is None or watch.runs_until <= order.now:
        return _Progress(watch.runs_until, ahead)
    until, more = rewind_runs(connection, order.followed, until=watch.runs_until, now=order.now)
    return _Progress(until, [*ahead, *more][-MOST_AHEAD:])


def _judge_runs(
    connection: Connection,
    order: WatchOrder,
    book: Book,
    measurements: Measurements,
    progress: _Progress,
) -> datetime:
    """Judge the runs that finished since; how far that is now.

    Of what ran before anybody judged, the last run alone counts.
    """
    after = progress.until
    book.retire(RUN_RULES, but=order.followed.provider, at=order.now)
    for run in load_new_runs(connection, order.followed, after=after, ahead=progress.ahead):
        after = run.started_at
        for finding in judge_run(run):
            book.apply(measurements.note(finding), at=run.finished_at)
    return after or EPOCH_MONDAY


def _judge_rest(
    connection: Connection,
    order: WatchOrder,
    book: Book,
    measurements: Measurements,
    surveyed_at: datetime | None,
) -> datetime | None:
    """Judge schedule and signals, and now and then the markets; when those were looked at last."""
    now = order.now
    schedule = load_schedule(
        connection, order.followed, order.schedule, name=order.schedule_name, now=now
    )
    for finding in judge_schedule(schedule, now=now):
        book.apply(measurements.note(finding), at=now)
    signals = measurements.note_signals(judge_signals(load_signals(connection)))
    book.settle(SIGNAL_RULES, signals, at=now)
    is_recent = surveyed_at is not None and timedelta(0) <= now - surveyed_at < SURVEY_EVERY
    # Markets of a schedule that somebody paused are old on purpose.
    if is_recent or schedule.paused_at is not None:
        return surveyed_at
    markets = load_markets(connection, order.followed, until=_gap_end(schedule, now))
    troubles = judge_markets(markets, now=now, limit=order.stale_after)
    noted = measurements.note_markets(troubles, market_count=len(markets))
    book.settle(MARKET_RULES, noted, at=now)
    return now


def _gap_end(schedule: ScheduleFact, now: datetime) -> datetime | None:
    """Gaps are looked for until the last success: what is missing since then is no gap but age."""
    last = schedule.last_success_at
    return None if last is None else min(last, now)


def _keep(connection: Connection, order: WatchOrder, book: Book) -> None:
    """Store the alerts that changed, their notices, and the deliveries, all or nothing."""
    keep_episodes(connection, book.touched)
    queued = keep_notices(connection, book.notices)
    if book.notices:
        connection.execute(text(NEW_ALERTS_VERSION))
    if order.min_severity is not None and queued:
        enqueue(
            connection,
            queued,
            min_severity=order.min_severity,
            now=order.now,
            policy=order.policy,
        )

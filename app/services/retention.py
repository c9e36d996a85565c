"""Retention: what the settings let go, and what that is at this moment, counted exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from app.alerts import outbox
from app.database import old_rows
from app.database.old_rows import SeriesTable
from app.database.partitions import (
    SNAPSHOTS,
    Partition,
    first_of_month,
    load_partitions,
    missing_months,
    newest_rows,
    past_months,
)
from app.domain import Granularity
from app.settings import Settings

MONTHS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Loss:
    """What goes, or went, of one kind of data; `partition` names one that goes as a whole.

    `bytes` are the files of a partition, with its indexes, or else the bare rows.
    """

    what: str
    rows: int
    bytes: int
    before: datetime
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Pruning:
    """What pruning would do, or did.

    `postponed` names what was in use all the time, or not finished in the time given; the next
    time goes on with it.
    """

    losses: tuple[Loss, ...]
    new_partitions: tuple[str, ...]
    postponed: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """All rows that go."""
        return sum(loss.rows for loss in self.losses)

    @property
    def bytes(self) -> int:
        """All bytes that go."""
        return sum(loss.bytes for loss in self.losses)


@dataclass(frozen=True, slots=True)
class SeriesRule:
    """For how many days the rows of a table are kept, apart from the newest of each series."""

    what: str
    table: SeriesTable
    days: int
    is_market_data: bool = True


def plan_pruning(connection: Connection, settings: Settings, *, now: datetime) -> Pruning:
    """What pruning would do at this moment; changes nothing."""
    losses = [
        *plan_months(connection, settings, now=now),
        *(_plan_series(connection, rule, now) for rule in series_rules(settings)),
        *_plan_runs(connection, settings, now),
        *_plan_alerts(connection, settings, now),
    ]
    missing = missing_months(connection, SNAPSHOTS, until=last_month(now))
    return Pruning(tuple(loss for loss in losses if loss.rows or loss.partition), tuple(missing))


def plan_months(connection: Connection, settings: Settings, *, now: datetime) -> Iterator[Loss]:
    """The months of snapshots that go as whole partitions."""
    before = cutoff(now, settings.retention_snapshot_days)
    if before is None:
        return
    for part in past_months(load_partitions(connection, SNAPSHOTS), before):
        yield _plan_month(connection, part, before)


def series_rules(settings: Settings) -> Sequence[SeriesRule]:
    """What is pruned row by row, without that which is kept for ever."""
    candles = {
        Granularity.HOURLY: settings.retention_hourly_days,
        Granularity.DAILY: settings.retention_daily_days,
        Granularity.WEEKLY: settings.retention_weekly_days,
    }
    rules = [
        SeriesRule("snapshots", old_rows.PAST_SNAPSHOTS, settings.retention_snapshot_days),
        *(
            SeriesRule(f"{granularity} candles", old_rows.candles_of(granularity), days)
            for granularity, days in candles.items()
        ),
        SeriesRule("comparisons", old_rows.COMPARISONS, settings.retention_comparison_days),
        SeriesRule("ROI statistics", old_rows.STATISTICS, settings.retention_statistic_days),
        SeriesRule("ticks", old_rows.TICKS, settings.retention_run_days, is_market_data=False),
        SeriesRule("figures", old_rows.FIGURES, settings.retention_run_days, is_market_data=False),
        SeriesRule("sizes", old_rows.SIZES, settings.retention_run_days, is_market_data=False),
    ]
    return [rule for rule in rules if rule.days]


def cutoff(now: datetime, days: int) -> datetime | None:
    """What is older goes; None keeps everything."""
    return now - timedelta(days=days) if days else None


def rejected_cutoff(settings: Settings, now: datetime) -> datetime | None:
    """What is older of the rejected rows goes: with its run at the latest."""
    given = (settings.retention_rejected_days, settings.retention_run_days)
    return cutoff(now, min(filter(None, given), default=0))


def last_month(now: datetime) -> datetime:
    """The last month that gets its partition ahead."""
    return first_of_month(now, MONTHS_AHEAD)


def _plan_month(connection: Connection, part: Partition, before: datetime) -> Loss:
    statement = f"""
        SELECT (SELECT count(*) FROM {part.name}) -
               (SELECT count(*) FROM {newest_rows(SNAPSHOTS, part)} kept),
               pg_total_relation_size(CAST(:name AS regclass))
    """  # noqa: S608 - names come from the database's own catalogue
    rows, size = connection.execute(text(statement), {"name": part.name}).one()
    return Loss("snapshots", rows, size, before, partition=part.name)


def _plan_series(connection: Connection, rule: SeriesRule, now: datetime) -> Loss:
    before = now - timedelta(days=rule.days)
    return Loss(rule.what, *old_rows.count_old(connection, rule.table, before=before), before)


def _plan_runs(connection: Connection, settings: Settings, now: datetime) -> Iterator[Loss]:
    before = rejected_cutoff(settings, now)
    if before:
        amount = old_rows.count_old_rejected(connection, before=before)
        yield Loss("rejected rows", *amount, before)
    before = cutoff(now, settings.retention_run_days)
    if before:
        for what, amount in old_rows.count_old_runs(connection, before=before).items():
            yield Loss(what, *amount, before)


def _plan_alerts(connection: Connection, settings: Settings, now: datetime) -> Iterator[Loss]:
    if before := cutoff(now, settings.retention_run_days):
        for what, amount in outbox.count_old(connection, before=before).items():
            yield Loss(what, *amount, before)

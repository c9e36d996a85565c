"""Monthly partitions on a real PostgreSQL; each test is undone by rolling back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from app.database import partitions
from app.database.bulk import MergeCounts, merge_rows
from app.database.partitions import (
    SNAPSHOTS,
    cut_months,
    drop_months,
    first_of_month,
    is_declared,
    load_partitions,
    lock_months,
    missing_months,
    months_between,
    past_months,
)
from app.ingestion.targets import SNAPSHOTS as TARGET
from tests.months import RUN, day, lay_out, names, store_snapshots, stored


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A transaction in which April to June 2026 have their months."""
    engine = create_engine(database_url, connect_args={"options": "-c timezone=UTC"})
    with engine.connect() as connection:
        lay_out(connection, day(4), day(6))
        yield connection
        connection.rollback()
    engine.dispose()


@pytest.mark.parametrize(
    ("instant", "months", "expected"),
    [
        (day(12, 31), 0, (2026, 12)),
        (day(12, 31), 1, (2027, 1)),
        (day(1, 1), -1, (2025, 12)),
        (datetime(2026, 7, 1, 1, tzinfo=timezone(timedelta(hours=2))), 0, (2026, 6)),
    ],
)
def test_a_month_begins_at_midnight_utc(
    instant: datetime, months: int, expected: tuple[int, int]
) -> None:
    assert first_of_month(instant, months) == datetime(*expected, 1, tzinfo=UTC)


def test_the_months_between_two_leave_out_the_last() -> None:
    between = months_between(first_of_month(day(11)), first_of_month(day(2, year=2027)))
    assert [month.month for month in between] == [11, 12, 1]
    assert months_between(first_of_month(day(3)), first_of_month(day(3))) == []


def test_partitions_follow_each_other_without_a_gap(connection: Connection) -> None:
    parts = load_partitions(connection, SNAPSHOTS)
    assert names(connection) == ["past", "y2026m04", "y2026m05", "y2026m06", "future"]
    assert [part.end for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert (parts[0].start, parts[-1].end) == (None, None)


def test_bounds_are_read_the_same_in_any_time_zone(connection: Connection) -> None:
    before = load_partitions(connection, SNAPSHOTS)
    connection.execute(text("SET LOCAL timezone = 'Asia/Kolkata'"))
    assert load_partitions(connection, SNAPSHOTS) == before


def test_no_instant_is_refused(connection: Connection) -> None:
    instants = [day(1, year=1970), day(4, 1), day(6, 30), day(1, year=2199)]
    store_snapshots(connection, 1, instants)
    assert {part: len(rows) for part, rows in stored(connection).items()} == {
        "market_snapshot_past": 1,
        "market_snapshot_y2026m04": 1,
        "market_snapshot_y2026m06": 1,
        "market_snapshot_future": 1,
    }


def test_the_newest_row_is_looked_for_in_the_newest_months_first(connection: Connection) -> None:
    store_snapshots(connection, 1, [day(4), day(5), day(6)])
    plan = connection.execute(
        text(
            "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) SELECT observed_at FROM market_snapshot "
            "WHERE market_id = 1 AND provider = 'mock' ORDER BY observed_at DESC LIMIT 1"
        )
    ).scalars()
    idle = [line for line in plan if "never executed" in line]
    assert [month for month in ("m05", "m04", "past") if any(month in line for line in idle)] == [
        "m05",
        "m04",
        "past",
    ]


def test_missing_months_are_cut_from_the_future_with_their_rows(connection: Connection) -> None:
    rows = {(1, day(7)), (1, day(8, 1)), (1, day(1, year=2030))}
    store_snapshots(connection, 1, [at for _, at in rows])
    assert missing_months(connection, SNAPSHOTS, until=day(8)) == [
        "market_snapshot_y2026m07",
        "market_snapshot_y2026m08",
    ]
    lock_months(connection, SNAPSHOTS)
    new = cut_months(connection, SNAPSHOTS, until=day(8))
    assert [part.name[-3:] for part in new] == ["m07", "m08"]
    assert stored(connection) == {
        "market_snapshot_y2026m07": {(1, day(7))},
        "market_snapshot_y2026m08": {(1, day(8, 1))},
        "market_snapshot_future": {(1, day(1, year=2030))},
    }


def test_months_that_are_there_are_left_alone(connection: Connection) -> None:
    assert missing_months(connection, SNAPSHOTS, until=day(6, 30)) == []
    assert cut_months(connection, SNAPSHOTS, until=day(5)) == ()


def test_a_full_future_is_closed_in_one_piece(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MOST_MOVED", 2)
    store_snapshots(connection, 1, [day(7), day(8), day(9)])
    store_snapshots(connection, 2, [day(7)])
    new = cut_months(connection, SNAPSHOTS, until=day(10))
    assert [part.name[-4:] for part in new] == ["6m07", "6m10"]
    assert names(connection)[-3:] == ["y2026m07", "y2026m10", "future"]
    assert len(stored(connection)["market_snapshot_y2026m07"]) == 4


def test_a_month_is_over_when_all_of_it_is_older(connection: Connection) -> None:
    parts = load_partitions(connection, SNAPSHOTS)
    assert past_months(parts, datetime(2026, 4, 30, 23, tzinfo=UTC)) == []
    assert [part.name[-3:] for part in past_months(parts, day(6, 1))] == ["m04", "m05"]
    assert len(past_months(parts, day(12))) == 3


def test_dropped_months_leave_the_newest_row_of_each_series(connection: Connection) -> None:
    store_snapshots(connection, 1, [day(4), day(5), day(6)])
    store_snapshots(connection, 2, [day(4), day(5, 3), day(5, 4)])
    store_snapshots(connection, 2, [day(4, 2)], provider="other")
    store_snapshots(connection, 3, [day(1, year=2020)])
    lock_months(connection, SNAPSHOTS)
    assert len(drop_months(connection, SNAPSHOTS, before=day(6))) == 2
    assert names(connection) == ["past", "y2026m06", "future"]
    assert stored(connection) == {
        "market_snapshot_past": {(2, day(5, 4)), (2, day(4, 2)), (3, day(1, year=2020))},
        "market_snapshot_y2026m06": {(1, day(6))},
    }


def test_nothing_is_dropped_before_its_time(connection: Connection) -> None:
    store_snapshots(connection, 1, [day(4)])
    assert drop_months(connection, SNAPSHOTS, before=day(4, 30)) == ()
    assert len(names(connection)) == 5


def test_new_partitions_keep_keys_checks_and_references(connection: Connection) -> None:
    cut_months(connection, SNAPSHOTS, until=day(7))
    drop_months(connection, SNAPSHOTS, before=day(6))
    inspector = inspect(connection)
    for part in load_partitions(connection, SNAPSHOTS):
        key = inspector.get_pk_constraint(part.name)["constrained_columns"]
        assert key == ["market_id", "provider", "observed_at"]
        assert [fk["referred_table"] for fk in inspector.get_foreign_keys(part.name)] == ["market"]
        assert len(inspector.get_check_constraints(part.name)) == 5


def test_a_batch_over_several_months_is_merged_and_found_again(connection: Connection) -> None:
    empty: tuple[object, ...] = (None,) * 7
    batch = [
        (market_id, "mock", at, Decimal("1.5"), *empty, [], [])
        for market_id in (1, 2)
        for at in (day(1, year=2020), day(4), day(5), day(1, year=2030))
    ]
    assert merge_rows(connection, TARGET, batch, run_id=RUN) == MergeCounts(inserted=8)
    assert merge_rows(connection, TARGET, batch, run_id=RUN) == MergeCounts(unchanged=8)
    changed = [(*row[:3], Decimal(2), *row[4:]) for row in batch[:3]]
    assert merge_rows(connection, TARGET, changed, run_id=RUN) == MergeCounts(updated=3)


def test_migrations_overlook_the_partitions_alone(connection: Connection) -> None:
    is_ours = is_declared(connection)
    assert is_ours("market_snapshot", "table", {})
    assert not is_ours("market_snapshot_y2026m04", "table", {})
    assert is_ours("market_snapshot_y2026m04", "column", {})

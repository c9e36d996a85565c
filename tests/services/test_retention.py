"""What the settings let go at a given moment, and that pruning does exactly that."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from app.database.partitions import SNAPSHOTS, load_partitions
from app.database.run_counts import RUN_COUNTS
from app.services import pruning
from app.services.pruning import prune, prune_when_due
from app.services.retention import Loss, Pruning, plan_pruning
from app.settings import Settings
from tests.months import RUN, day, lay_out, names, store_snapshots, stored

NOW = day(7, 10)
NEVER = {
    f"retention_{name}_days": 0
    for name in (
        *("snapshot", "hourly", "daily", "weekly"),
        *("comparison", "statistic", "run", "rejected"),
    )
}


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def keeping(**days: int) -> Settings:
    """Settings that keep everything for ever but these."""
    named = {f"retention_{name}_days": number for name, number in days.items()}
    return Settings(instance_path=Path(), **(NEVER | named))


@pytest.fixture(scope="module")
def module_engine(fresh_database_url: str) -> Iterator[Engine]:
    # Whoever waits for a lock that it should not need fails soon.
    options = "-c timezone=UTC -c lock_timeout=5000"
    engine = create_engine(fresh_database_url, connect_args={"options": options})
    yield engine
    engine.dispose()


@pytest.fixture
def engine(module_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """April to September 2026 have their months; everything else is empty."""
    monkeypatch.setattr(pruning, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pruning, "LOCK_MILLISECONDS", 30)
    with module_engine.begin() as connection:
        lay_out(connection, day(4), day(9))
    return module_engine


def run(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def column(engine: Engine, statement: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(text(statement)).scalars())


def store_candles(engine: Engine, granularity: str, market_id: int, *ages: float) -> None:
    for age in ages:
        run(
            engine,
            "INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high,"
            " low, close, sample_count, is_final, basis, run_id) VALUES (:market_id, 'mock',"
            " :granularity, :at, 1, 1, 1, 1, 1, true, 'provider', :run)",
            market_id=market_id,
            granularity=granularity,
            at=ago(age),
            run=RUN,
        )


def store_run(engine: Engine, age: float, status: str = "succeeded", rejected: int = 0) -> UUID:
    run_id = uuid4()
    finished = None if status == "running" else ago(age)
    run(
        engine,
        "INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, lease_until,"
        " deadline_at, finished_at, rejected) VALUES (:id, :status, 'cli', 'mock', 'me', :at, :at,"
        " :at, :finished, :rejected)",
        id=run_id,
        status=status,
        at=ago(age),
        finished=finished,
        rejected=rejected,
    )
    run(
        engine,
        "INSERT INTO run_stage (run_id, attempt, position, name, status, started_at, inserted)"
        " VALUES (:id, 1, 0, 'snapshots', 'succeeded', :at, 5)",
        id=run_id,
        at=ago(age),
    )
    for _ in range(rejected):
        run(
            engine,
            "INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw)"
            " VALUES (:id, 'mock', 'snapshot', 'price_missing', 'No price.', '{}')",
            id=run_id,
        )
    return run_id


def plan(engine: Engine, settings: Settings) -> Pruning:
    with engine.connect() as connection:
        return plan_pruning(connection, settings, now=NOW)


def by_kind(done: Pruning | None) -> dict[str, int]:
    assert done is not None
    return {loss.partition or loss.what: loss.rows for loss in done.losses}


def test_everything_is_kept_for_ever_when_told_so(engine: Engine) -> None:
    store_candles(engine, "hourly", 1, 5000, 1)
    store_run(engine, 5000)
    assert plan(engine, keeping()).losses == ()
    assert prune(engine, keeping(), now=NOW) == Pruning((), ())


def test_a_plan_says_what_pruning_then_does_and_changes_nothing(engine: Engine) -> None:
    settings = keeping(snapshot=45, hourly=400, run=100, rejected=30)
    with engine.begin() as connection:
        store_snapshots(connection, 1, [day(4), day(4, 16), day(7)])
        store_snapshots(connection, 1, [day(1), day(2)])
    store_candles(engine, "hourly", 1, 500, 450, 10)
    for age in (200, 150, 50, 1):
        store_run(engine, age, rejected=2)
    planned = plan(engine, settings)
    assert plan(engine, settings) == planned
    done = prune(engine, settings, now=NOW)
    assert by_kind(done) == by_kind(planned)
    assert done == planned
    assert by_kind(planned) == {
        "market_snapshot_y2026m04": 2,
        "snapshots": 2,
        "hourly candles": 2,
        "rejected rows": 6,
        "runs": 2,
        "stages": 2,
    }


def test_pruning_twice_finds_nothing_more(engine: Engine) -> None:
    with engine.begin() as connection:
        store_snapshots(connection, 1, [day(4)])
        store_snapshots(connection, 2, [day(3), day(4), day(7)])
    assert by_kind(prune(engine, keeping(snapshot=30), now=NOW))
    assert prune(engine, keeping(snapshot=30), now=NOW) == Pruning((), ())
    with engine.connect() as connection:
        assert stored(connection)["market_snapshot_past"] == {(1, day(4))}


def test_snapshots_go_by_whole_months_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        store_snapshots(connection, 1, [day(5, 1), day(5, 31), day(6, 1), day(7)])
    done = prune(engine, keeping(snapshot=39), now=NOW)
    assert by_kind(done) == {"market_snapshot_y2026m04": 0, "market_snapshot_y2026m05": 2}
    with engine.connect() as connection:
        assert names(connection)[:2] == ["past", "y2026m06"]
        assert sum(len(rows) for rows in stored(connection).values()) == 2


def test_the_months_to_come_are_made_also_when_nothing_goes(engine: Engine) -> None:
    later = day(9)
    done = prune(engine, keeping(), now=later)
    assert done == Pruning((), ("market_snapshot_y2026m10", "market_snapshot_y2026m11"))
    assert prune(engine, keeping(), now=later) == Pruning((), ())


@pytest.mark.parametrize("granularity", ["hourly", "daily", "weekly"])
def test_each_granularity_has_its_own_retention(engine: Engine, granularity: str) -> None:
    for each in ("hourly", "daily", "weekly"):
        store_candles(engine, each, 1, 500, 400, 10)
    done = prune(engine, keeping(**{granularity: 450}), now=NOW)
    assert by_kind(done) == {f"{granularity} candles": 1}
    left = column(engine, "SELECT granularity FROM market_aggregate WHERE opened_at < '2025-04-01'")
    assert sorted(left) == sorted({"hourly", "daily", "weekly"} - {granularity})


def test_the_newest_candle_of_a_market_always_stays(engine: Engine) -> None:
    store_candles(engine, "hourly", 1, 900, 800)
    store_candles(engine, "hourly", 2, 700)
    store_candles(engine, "hourly", 3, 900, 1)
    assert by_kind(prune(engine, keeping(hourly=400), now=NOW)) == {"hourly candles": 2}
    kept = "SELECT market_id FROM market_aggregate ORDER BY 1"
    assert column(engine, kept) == [1, 2, 3]


def test_more_than_a_batch_goes_in_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH_ROWS", 3)
    store_candles(engine, "daily", 1, *range(500, 507))
    store_candles(engine, "daily", 2, *range(500, 506), 1)
    assert by_kind(prune(engine, keeping(daily=400), now=NOW)) == {"daily candles": 12}


def test_what_the_time_does_not_allow_is_postponed(engine: Engine) -> None:
    store_candles(engine, "daily", 1, 500, 1)
    done = prune(engine, keeping(daily=400, run=30), now=NOW, seconds=0)
    assert done is not None
    assert done.postponed == (
        *("daily candles", "ticks", "figures", "sizes"),
        *("rejected rows", "runs", "alerts"),
    )
    assert done.losses == ()


def test_comparisons_statistics_and_ticks_keep_their_newest(engine: Engine) -> None:
    for age in (200, 150, 100):
        values = {"at": ago(age), "run": RUN}
        run(
            engine,
            "INSERT INTO market_comparison (market_id, against_market_id, provider, observed_at,"
            " run_id) VALUES (1, 2, 'mock', :at, :run)",
            **values,
        )
        run(
            engine,
            'INSERT INTO market_roi_statistic (market_id, provider, "window", last_at, grid,'
            " sample_count, expected_count, periods_per_year, risk_free_rate,"
            " minimum_acceptable_return, run_id)"
            " VALUES (1, 'mock', '24h', :at, 'hourly', 1, 1, 1, 0, 0, :run)",
            **values,
        )
        run(
            engine,
            "INSERT INTO schedule_tick (schedule, due_at, status, claimed_by)"
            " VALUES ('ingestion', :at, 'missed', 'me')",
            at=ago(age),
        )
    done = prune(engine, keeping(comparison=50, statistic=50, run=50), now=NOW)
    assert by_kind(done) == {"comparisons": 2, "ROI statistics": 2, "ticks": 2}


def test_the_last_run_of_each_status_and_an_active_one_stay(engine: Engine) -> None:
    for age, status in ((300, "failed"), (250, "failed"), (220, "succeeded"), (210, "partial")):
        store_run(engine, age, status)
    store_run(engine, 205, "running")
    assert by_kind(prune(engine, keeping(run=100), now=NOW)) == {"runs": 1, "stages": 1}
    left = column(engine, "SELECT status FROM ingestion_run ORDER BY started_at")
    assert left == ["failed", "succeeded", "partial", "running"]


def store_alert(engine: Engine, age: float, *, is_over: bool) -> None:
    """An alert, the delivery that told of it with its try, and a snooze that ended then."""
    values = {"at": ago(age), "rule": f"rule-{age}", "id": uuid4()}
    state = "'resolved', :at" if is_over else "'firing', NULL"
    run(
        engine,
        "INSERT INTO alert (rule, subject, severity, title, text, pending_at, fired_at, state,"
        f" resolved_at) VALUES (:rule, '', 'info', 'T', 't', :at, :at, {state})",
        **values,
    )
    run(
        engine,
        "INSERT INTO alert_delivery (id, kind, group_key, status, created_at, notify_at, queued_at,"
        " due_at, planned_at) VALUES (:id, 'alert', :rule, :status, :at, :at, :at, :at, :at)",
        status="dead" if is_over else "waiting",
        **values,
    )
    for statement in (
        "INSERT INTO alert_notice (alert_id, delivery_id, kind, noticed_at, fired_at, rule,"
        " subject, severity, title, text) SELECT id, :id, 'fired', :at, :at, :rule, '', 'info',"
        " 'T', 't' FROM alert WHERE rule = :rule",
        "INSERT INTO alert_attempt (delivery_id, attempt, started_at, sender, outcome)"
        " SELECT :id, 1, :at, 'me', 'failed' WHERE :rule <> ''",
        "INSERT INTO alert_snooze (rule, subject, until_at, snoozed_by) VALUES (:rule, '', :at,"
        " 'me') ON CONFLICT DO NOTHING",
    ):
        run(engine, statement, **values)


def test_alerts_that_are_over_go_with_the_runs_of_their_time(engine: Engine) -> None:
    run(engine, "TRUNCATE alert, alert_delivery, alert_notice, alert_attempt, alert_snooze CASCADE")
    for age, is_over in ((300, True), (250, True), (200, False), (10, True)):
        store_alert(engine, age, is_over=is_over)
    planned = plan(engine, keeping(run=100))
    assert prune(engine, keeping(), now=NOW) == Pruning((), ())
    done = prune_when_due(engine, keeping(run=100), now=NOW)
    assert done == planned
    assert by_kind(done) == {"alerts": 2, "deliveries": 2}
    assert column(engine, "SELECT rule FROM alert ORDER BY id") == ["rule-200", "rule-10"]
    for table in ("alert_notice", "alert_delivery", "alert_attempt"):
        assert column(engine, f"SELECT count(*) FROM {table}") == [2]
    assert column(engine, "SELECT rule FROM alert_snooze") == ["rule-10"]


def test_counts_of_pruned_runs_and_rows_live_on(engine: Engine) -> None:
    for age in (300, 290, 280, 1):
        store_run(engine, age, rejected=2)
    counted = f"SELECT kind || rows || ',' || inserted FROM ({RUN_COUNTS}) c ORDER BY 1"
    before = column(engine, counted)
    prune(engine, keeping(rejected=285), now=NOW)
    prune(engine, keeping(run=200), now=NOW)
    assert column(engine, "SELECT count(*) FROM ingestion_run") == [1]
    assert column(engine, counted) == before == ["rejected_row8,0", "run4,0", "stage4,20"]


def test_readers_are_told_of_new_data_only_when_data_went(engine: Engine) -> None:
    token = "SELECT token FROM data_version"
    store_candles(engine, "daily", 1, 500, 1)
    prune(engine, keeping(daily=600), now=NOW)
    assert column(engine, token) == []
    prune(engine, keeping(daily=400), now=NOW)
    first = column(engine, token)
    assert len(first) == 1
    with engine.begin() as connection:
        store_snapshots(connection, 1, [day(4), day(7)])
    prune(engine, keeping(snapshot=45), now=NOW)
    assert column(engine, token) not in ([], first)


def test_only_one_prunes_at_a_time(engine: Engine) -> None:
    with pruning._alone(engine) as is_alone:
        assert is_alone
        assert prune(engine, keeping(), now=NOW) is None
    assert prune(engine, keeping(), now=NOW) is not None


def test_of_many_processes_one_prunes_in_an_hour(engine: Engine) -> None:
    store_candles(engine, "daily", 1, 5000, 1)

    def due(_: int) -> Pruning | None:
        return prune_when_due(engine, keeping(daily=400), now=NOW)

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(due, range(6)))
    assert [by_kind(each) for each in done if each] == [{"daily candles": 1}]
    run(engine, "UPDATE job_state SET last_at = last_at - interval '1 hour'")
    assert prune_when_due(engine, keeping(), now=NOW) is not None


def test_a_clock_that_is_ahead_deletes_nothing(engine: Engine) -> None:
    real = datetime.now(UTC)
    with engine.begin() as connection:
        lay_out(connection, real, real)
        store_snapshots(connection, 1, [real - timedelta(minutes=1), real])
    ahead = real + timedelta(days=4000)
    done = prune_when_due(engine, keeping(snapshot=30), now=ahead)
    assert done is not None
    assert (done.rows, len(done.new_partitions)) == (0, 2)


def busy(connection: Connection) -> None:
    """What a run does: it has written into the months and has not committed yet."""
    store_snapshots(connection, 2, [day(7, 9)])


def test_months_in_use_are_postponed_and_the_rest_is_done(engine: Engine) -> None:
    with engine.begin() as connection:
        store_snapshots(connection, 1, [day(4), day(7)])
    store_candles(engine, "daily", 1, 500, 1)
    with engine.connect() as other:
        busy(other)
        done = prune(engine, keeping(snapshot=45, daily=400), now=NOW)
        other.commit()
    assert done is not None
    assert (by_kind(done), done.postponed) == ({"daily candles": 1}, ("months of snapshots",))
    assert by_kind(prune(engine, keeping(snapshot=45), now=NOW)) == {"market_snapshot_y2026m04": 1}
    with engine.connect() as connection:
        assert (2, day(7, 9)) in stored(connection)["market_snapshot_y2026m07"]


def test_pruning_goes_on_once_the_run_has_committed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LOCK_ATTEMPTS", 1)
    monkeypatch.setattr(pruning, "LOCK_MILLISECONDS", 20_000)
    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        busy(other)
        waiting = pool.submit(prune, engine, keeping(snapshot=45), now=NOW)
        wait_until_blocked(engine, by=other)
        other.commit()
        assert by_kind(waiting.result(timeout=30)) == {"market_snapshot_y2026m04": 0}


def wait_until_blocked(engine: Engine, *, by: Connection) -> None:
    pid = by.execute(text("SELECT pg_backend_pid()")).scalar_one()
    query = text("SELECT count(*) FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")
    pause = threading.Event()
    with engine.connect() as connection:
        while not connection.execute(query, {"pid": pid}).scalar_one():
            connection.rollback()
            pause.wait(0.01)


def test_rows_that_a_run_has_locked_are_passed_over(engine: Engine) -> None:
    store_candles(engine, "daily", 1, 500, 490, 1)
    with engine.connect() as other:
        other.execute(
            text("UPDATE market_aggregate SET close = 1 WHERE opened_at = :at"), {"at": ago(500)}
        )
        assert by_kind(prune(engine, keeping(daily=400), now=NOW)) == {"daily candles": 1}
        other.rollback()
    assert by_kind(prune(engine, keeping(daily=400), now=NOW)) == {"daily candles": 1}


def test_pruning_beside_writers_loses_nothing_that_is_to_stay(engine: Engine) -> None:
    """Writers store old and new rows all the while; at the end the new ones are all there."""
    done = threading.Event()
    old, new = [day(4), day(5)], [day(7), day(8)]

    def write(market_id: int) -> int:
        count = 0
        while not done.is_set():
            shift = timedelta(seconds=count)
            with engine.begin() as connection:
                store_snapshots(connection, market_id, [at + shift for at in (*old, *new)])
            count += 1
        return count

    def pruned() -> None:
        for step in range(6):
            prune(engine, keeping(snapshot=45), now=NOW + timedelta(days=step))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, market_id) for market_id in (1, 2, 3)]
        try:
            pruned()
        finally:
            done.set()
        written = sum(writer.result(timeout=60) for writer in writers)
    with engine.connect() as connection:
        parts = stored(connection)
        kept = [at for rows in parts.values() for _, at in rows if at >= day(7, 1)]
        gapless = load_partitions(connection, SNAPSHOTS)
    assert len(kept) == 2 * written
    assert all(one.end == two.start for one, two in pairwise(gapless))


@pytest.mark.parametrize(
    ("values", "is_right"),
    [
        ({"retention_hourly_days": 31}, False),
        ({"retention_hourly_days": 0, "ingestion_lookback_days": 800}, True),
        ({"retention_hourly_days": 500, "ingestion_lookback_days": 501}, False),
        ({"ingestion_lookback_days": 800}, True),
    ],
)
def test_hours_that_runs_need_cannot_be_let_go(values: dict[str, int], *, is_right: bool) -> None:
    if is_right:
        settings = Settings(**values)
        kept = settings.retention_hourly_days
        assert kept == 0 or kept >= settings.ingestion_lookback_days
        return
    with pytest.raises(ValueError, match=r"RETENTION_HOURLY_DAYS is .* at least"):
        Settings(**values)


def test_sums_of_a_pruning_are_those_of_its_losses() -> None:
    losses = (Loss("runs", 2, 30, NOW), Loss("snapshots", 5, 70, NOW, "market_snapshot_past"))
    done = Pruning(losses, ())
    assert (done.rows, done.bytes) == (7, 100)

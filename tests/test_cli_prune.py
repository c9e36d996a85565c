"""`flask prune` on a real database: what it says, what it does, and how it exits."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app.cli_prune import _size
from app.extensions import db
from app.services import pruning
from app.services.metrics import load_business
from tests.apps import bare_app
from tests.months import day, lay_out, store_snapshots

NOW = day(7, 10)


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    settings = {"retention_snapshot_days": 45, "retention_run_days": 100}
    with bare_app(database_url, clock=lambda: NOW, **settings) as app:
        with db.engine.begin() as connection:
            lay_out(connection, day(4), day(9))
            store_snapshots(connection, 1, [day(4, 2), day(4, 3), day(7)])
        yield app


def prune(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["prune", *arguments])


def snapshot_count() -> int:
    with db.engine.connect() as connection:
        statement = text("SELECT count(*) FROM market_snapshot")
        return int(connection.execute(statement).scalar_one())


def test_a_dry_run_says_what_would_go_and_lets_it_stay(app: Flask) -> None:
    result = prune(app, "--dry-run")
    assert result.exit_code == 0
    first, last = result.stdout.splitlines()
    said = "snapshots 2 rows 48.0 kB older than 2026-05-26 12:00 UTC, partition "
    assert " ".join(first.split()) == f"{said}market_snapshot_y2026m04"
    assert last == "Would go: 2 rows, 48.0 kB, whole partitions: 1"
    assert snapshot_count() == 3


def test_pruning_says_what_went(app: Flask) -> None:
    planned = prune(app, "--dry-run").stdout
    result = prune(app)
    assert result.exit_code == 0
    assert result.stdout == planned.replace("Would go", "Gone")
    assert snapshot_count() == 1
    assert prune(app).stdout == "Gone: nothing\n"


def test_new_months_are_named(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.retention.MONTHS_AHEAD", 3)
    new = "market_snapshot_y2026m10"
    assert f"New partitions would be made: {new}\n" in prune(app, "--dry-run").stdout
    assert f"New partitions: {new}\n" in prune(app).stdout


def test_what_is_in_use_is_named_and_the_exit_status_says_so(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pruning, "LOCK_MILLISECONDS", 20)
    with db.engine.connect() as other:
        store_snapshots(other, 2, [day(7, 9)])
        result = prune(app)
        other.rollback()
    assert result.exit_code == 3
    assert "months of snapshots" in result.stderr
    assert snapshot_count() == 3


def test_a_second_pruner_is_told_of_the_first(app: Flask) -> None:
    with pruning._alone(db.engine) as is_alone:
        assert is_alone
        result = prune(app)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Another process is pruning" in result.stderr


def test_a_database_that_is_away_is_said_in_a_line() -> None:
    with bare_app("postgresql://nobody@127.0.0.1:1/none") as app:
        result = prune(app)
    assert result.exit_code == 1
    assert result.stderr.startswith("Failed: The database could not be reached")


def store_runs(*ages_in_days: int) -> None:
    with db.engine.begin() as connection:
        for age in ages_in_days:
            connection.execute(
                text(
                    "WITH r AS (INSERT INTO ingestion_run (id, status, trigger, provider, owner,"
                    " started_at, finished_at, lease_until, deadline_at) VALUES"
                    " (gen_random_uuid(), 'succeeded', 'cli', 'mock', 'me', :at, :at, :at, :at)"
                    " RETURNING id), j AS (INSERT INTO rejected_row (run_id, provider, kind,"
                    " reason, detail, raw) SELECT id, 'mock', 'candle', 'off_grid', '', '' FROM r)"
                    " INSERT INTO run_stage (run_id, attempt, position, name, status, started_at,"
                    " inserted) SELECT id, 1, 0, 'snapshots', 'succeeded', :at, 5 FROM r"
                ),
                {"at": NOW - timedelta(days=age)},
            )


def counters(app: Flask) -> dict[tuple[str, str], float]:
    samples = load_business(db.session, app.extensions["tapedeck"])
    db.session.rollback()
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for sample in samples
        if sample.metric.kind.value == "counter"
    }


def test_no_counter_falls_when_runs_are_pruned(app: Flask) -> None:
    store_runs(300, 200, 150, 1)
    before = counters(app)
    assert {4, 20} <= set(before.values())
    assert "runs" in prune(app).stdout
    assert counters(app) == before
    assert prune(app).exit_code == 0
    assert counters(app) == before


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (8192, "8.0 kB"), (1_572_864, "1.5 MB"), (5 << 40, "5120.0 GB")],
)
def test_sizes_are_said_in_the_largest_unit_that_fits(size: int, words: str) -> None:
    assert _size(size) == words

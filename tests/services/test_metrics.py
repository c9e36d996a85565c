"""The numbers of the operation as the tables have them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app.alerts.facts import report_signals
from app.alerts.judging import SignalFact
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK
from app.extensions import db
from app.services.metrics import load_business, load_samples
from tests.services.seeding import NOW, add_markets, add_run, execute, seeded_app
from tests.web.deck import counted_queries


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application over empty tables."""
    with seeded_app(database_url, ingestion_markets="A-USD,B-USD") as app:
        yield app


def values(app: Flask) -> dict[str, float]:
    """The samples without labels by their name."""
    samples = load_samples(db.session, app.extensions["tapedeck"])
    return {sample.name: sample.value for sample in samples if not sample.labels}


def test_before_the_first_run_the_counters_are_zero(app: Flask) -> None:
    found = values(app)
    assert found["ingestion_success_total"] == 0
    assert found["ingestion_failure_total"] == 0
    assert "ingestion_duration_ms" not in found


def test_runs_are_counted_by_their_end(app: Flask) -> None:
    for status in ("succeeded", "succeeded", "partial", "failed", "abandoned", "cancelled"):
        add_run(status)
    found = values(app)
    assert found["ingestion_success_total"] == 2
    assert found["ingestion_failure_total"] == 1
    assert found["ingestion_duration_ms"] == 1000


def test_the_age_is_told_only_of_markets_that_are_followed(app: Flask) -> None:
    add_markets(["A-USD", "B-USD", "GONE-USD"])
    execute("UPDATE market_snapshot SET observed_at = :at", at=NOW - timedelta(days=1))
    house = app.extensions["tapedeck"]
    samples = load_business(db.session, house)
    told = {
        sample.labels["market"]
        for sample in samples
        if sample.name == "ingestion_freshness_seconds"
    }
    assert told == {"A-USD", "B-USD"}


def test_the_numbers_cost_a_handful_of_queries(app: Flask) -> None:
    add_markets([f"M{n}-USD" for n in range(200)])
    with counted_queries(app) as queries:
        load_business(db.session, app.extensions["tapedeck"])
    assert len(queries) <= 8


def labelled(app: Flask, name: str) -> dict[str, float]:
    """The samples of a metric with one label, by its value."""
    samples = load_business(db.session, app.extensions["tapedeck"])
    return {"".join(one.labels.values()): one.value for one in samples if one.name == name}


def add_delivery(status: str, *, error: str = "", kind: str = "alert") -> None:
    execute(
        "INSERT INTO alert_delivery (id, kind, group_key, status, created_at, notify_at, queued_at,"
        " due_at, planned_at, sent_at, last_error) VALUES (gen_random_uuid(), :kind, 'run_failed',"
        " :status, now(), now(), now(), now(), now(),"
        " CASE WHEN :status = 'sent' THEN now() END, :error)",
        kind=kind,
        status=status,
        error=error,
    )


def test_messages_that_did_not_arrive_are_counted_by_where_they_stand(app: Flask) -> None:
    assert labelled(app, "alert_deliveries") == {"waiting": 0, "retrying": 0, "dead": 0}
    add_delivery("waiting")
    for _ in range(2):
        add_delivery("waiting", error="The receiver answered 500.")
    for _ in range(3):
        add_delivery("dead", error="The receiver answered 410.")
    add_delivery("sent")
    add_delivery("dead", error="The receiver answered 500.", kind="test")
    assert labelled(app, "alert_deliveries") == {"waiting": 1, "retrying": 2, "dead": 3}


def report(subject: str, source: str, detail: str, *, kind: str = BREAKER_OPEN) -> None:
    with db.engine.begin() as connection:
        report_signals(connection, [SignalFact(kind, subject, detail)], source=source)


def test_processes_that_leave_a_provider_alone_are_counted(app: Flask) -> None:
    assert labelled(app, "provider_breaker_open") == {"mock": 0}
    report("mock", "a", "open: Mock answered 500")
    report("mock", "b", "half_open: Mock answered 500")
    report("kraken", "c", "open")
    report("", "d", "connection lost", kind=CACHE_FALLBACK)
    assert labelled(app, "provider_breaker_open") == {"mock": 2, "kraken": 1}
    execute("UPDATE alert_signal SET since_at = :at", at=NOW - timedelta(days=1))
    add_run("succeeded")
    assert labelled(app, "provider_breaker_open") == {"mock": 1, "kraken": 1}

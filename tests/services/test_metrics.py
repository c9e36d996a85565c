"""The numbers of the operation as the tables have them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

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

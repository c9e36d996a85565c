"""No page of alerts asks the database more than five times, before the first run and after many."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.extensions import db
from app.services.alert_watch import judge_alerts
from tests.services.seeding import NOW, add_markets, add_run, seeded_app
from tests.web.deck import counted_queries

BUDGET = 5
ADDRESSES = (
    "/alerts",
    "/alerts/history",
    "/alerts/rules",
    "/alerts/deliveries",
    "/api/alerts",
    "/api/alerts/deliveries",
)


@pytest.fixture(params=["empty", "busy"])
def app(request: pytest.FixtureRequest, database_url: str) -> Iterator[Flask]:
    """A deck without any run, and one with alerts about each of many markets."""
    with seeded_app(database_url, ingestion_markets="top:100") as app:
        if request.param == "busy":
            add_markets([f"M{n:03}-USD" for n in range(100)], hours=2)
            for _ in range(30):
                add_run("failed", at=NOW)
            judge_alerts(db.engine, app.extensions["tapedeck"])
        yield app


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_of_alerts_costs_at_most_five_queries(app: Flask, address: str) -> None:
    with counted_queries(app) as queries:
        answer = app.test_client().get(address)
    assert answer.status_code == 200
    assert len(queries) <= BUDGET, "\n".join(queries)

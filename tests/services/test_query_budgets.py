"""No page asks the database more than five times, however many markets and runs there are."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from tests.services.seeding import NOW, add_markets, add_run, execute, seeded_app
from tests.web.deck import counted_queries

BUDGET = 5


@pytest.fixture(scope="module", params=[3, 1000])
def app(request: pytest.FixtureRequest, fresh_database_url: str) -> Iterator[Flask]:
    """A deck of a few markets, and one of a thousand."""
    count = request.param
    with seeded_app(fresh_database_url, ingestion_markets=f"top:{count}") as app:
        add_markets([f"M{n:04}-USD" for n in range(count)], hours=24)
        for number in range(60):
            add_run("partial", at=NOW - timedelta(minutes=number), rejected=3)
        execute(
            "INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw) "
            "SELECT id, 'mock', 'snapshot', 'price_missing', 'No price.', '{}' FROM ingestion_run"
        )
        yield app


@pytest.mark.parametrize(
    "address",
    ["/", "/?sort=-roi_24h&search=m", "/runs", "/runs?status=partial", "/runs/RUN", "/markets",
     "/markets?search=m0", "/markets/M0001-USD", "/api/markets/M0001-USD", "/api/runs/RUN",
     "/api/snapshots/latest?limit=250", "/api/markets?limit=250", "/api/runs?limit=250"],
)  # fmt: skip
def test_a_page_costs_at_most_five_queries(app: Flask, address: str) -> None:
    run_id = app.test_client().get("/api/runs?limit=1").get_json()["runs"][0]["id"]
    with counted_queries(app) as queries:
        answer = app.test_client().get(address.replace("RUN", run_id))
    assert answer.status_code == 200
    assert len(queries) <= BUDGET, "\n".join(queries)

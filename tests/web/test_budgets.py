"""Every page and list within its budget of queries, the same however much is stored."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import NullPool, create_engine, text

from app import create_app
from app.database.patient_connection import PatientCursor
from app.extensions import cache, db
from benchmarks.stored import store_markets, store_runs, tidy
from tests.apps import load
from tests.conftest import TEMPLATE_NAME
from tests.servers import create_database

# Markets, runs.
LARGEST = (10_000, 100_000)
SIZES = ((0, 0), (3, 40), (1_000, 1_000), LARGEST)
PAIR = "M00001-USD,M00002-USD"
# What an answer may ask the database that no cache has anything for, the version of the data
# included. RUN and DELIVERY stand for the newest.
BUDGETS: Mapping[str, int] = {
    # The overview and its parts.
    "/": 5,
    "/?sort=-price": 5,
    "/?sort=symbol&search=m0": 5,
    "/fragments/state": 3,
    "/fragments/recent-runs": 3,
    "/fragments/snapshots": 3,
    "/fragments/snapshots?sort=-roi_24h": 3,
    "/fragments/progress": 1,
    # Runs.
    "/runs": 3,
    "/runs?status=partial": 3,
    "/runs?trigger=cli": 3,
    "/runs?period=30d&min_seconds=1": 3,
    "/runs?search=429": 3,
    "/runs?search=nowhere&status=failed": 3,
    "/runs?provider=nobody": 3,
    "/fragments/runs": 2,
    "/runs/RUN": 5,
    "/runs/RUN?level=warning&moved=5": 5,
    "/runs/RUN?reason=odd": 5,
    "/fragments/runs/RUN": 5,
    "/fragments/progress/RUN": 2,
    # Markets.
    "/markets": 2,
    "/markets?search=m0001": 2,
    "/markets?freshness=late": 2,
    "/markets?freshness=never&asset_type=index": 2,
    "/markets?freshness=fresh&provider=mock": 2,
    "/markets/M00001-USD": 6,
    "/markets/M00001-USD?granularity=daily": 6,
    "/markets/M00001-USD?range=all": 6,
    "/fragments/markets/M00001-USD/candles": 1,
    "/fragments/markets/M00001-USD/facts": 5,
    "/fragments/markets/M00001-USD/sheet": 5,
    "/fragments/data-watch": 1,
    "/compare": 4,
    f"/compare?markets={PAIR}": 4,
    f"/fragments/compare?markets={PAIR}": 4,
    # The operator's pages.
    "/operations": 5,
    "/operations?range=90d": 5,
    "/schedule": 3,
    "/fragments/schedule-state": 3,
    "/fragments/ticks": 3,
    "/fragments/jobs": 3,
    "/fragments/schedule-preview?expression=@hourly": 0,
    "/settings": 0,
    "/about": 2,
    "/alerts": 2,
    "/fragments/alerts-open": 1,
    "/alerts/history": 1,
    "/alerts/history?rule=run_failed&severity=warning": 1,
    "/alerts/rules": 2,
    "/alerts/deliveries": 2,
    "/alerts/deliveries?status=dead": 2,
    "/alerts/deliveries/DELIVERY": 3,
    # What machines read.
    "/badge.svg": 2,
    "/badge.json": 2,
    "/metrics": 5,
    "/readyz": 1,
    "/api/metrics": 5,
    "/api/snapshots/latest?limit=250": 3,
    "/api/snapshots/latest?limit=250&sort=-price": 3,
    "/api/markets?limit=250": 2,
    "/api/markets?search=m0001": 2,
    "/api/markets/M00001-USD": 5,
    "/api/markets/M00001-USD/candles?granularity=hourly": 2,
    "/api/markets/M00001-USD/chart?granularity=hourly&points=100": 2,
    f"/api/comparisons?markets={PAIR}": 3,
    "/api/comparisons/series?market=M00001-USD&against=M00002-USD": 3,
    f"/api/correlations?markets={PAIR}": 3,
    "/api/runs?limit=250": 1,
    "/api/runs?trigger=cli": 1,
    "/api/runs/RUN": 2,
    "/api/schedule?ticks=500": 3,
    "/api/alerts?limit=250": 1,
    "/api/alerts/rules": 3,
    "/api/alerts/deliveries?limit=250": 1,
    "/api/alerts/deliveries/DELIVERY": 3,
    # The first part of each export, and whether the market is known.
    "/api/exports/snapshots.csv": 1,
    "/api/exports/snapshots.csv?market=M00001-USD": 2,
    "/api/exports/candles.csv": 1,
    "/api/exports/roi-statistics.csv": 1,
    "/api/exports/comparisons.csv": 1,
    "/api/exports/runs.csv": 1,
    "/api/exports/rejected-rows.csv": 1,
}
# Files, the form of the password, a document, and what never asks the database or changes it.
WITHOUT = {
    "static",
    "auth.login",
    "health.healthz",
    "api.show_document",
    "api.preview_ticks",
    "api.run_cron",
}


# What grows with time: nothing may read one of these from end to end.
GROWING = (
    *("ingestion_run", "run_stage", "rejected_row", "run_log_line", "schedule_tick"),
    *("market_snapshot", "market_aggregate", "market_comparison", "market_roi_statistic"),
    *("alert_delivery", "alert_notice", "alert_attempt"),
)
# This reads the runs of a chosen stretch of time.
READ_AT_LENGTH = {"/operations?range=90d"}
Statement = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a request: the answer, every statement sent for it, and the plans of these."""

    status: int
    text: str
    statements: Sequence[Statement]
    plans: Sequence[str]


Answers = Mapping[str, Mapping[tuple[int, int], Asked]]


@pytest.fixture(scope="module")
def answers(
    postgres_url: str,
    database_url: str,
    worker_id: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Answers:
    """Every address asked once at every size that has what it names."""
    found: dict[str, dict[tuple[int, int], Asked]] = {address: {} for address in BUDGETS}
    for size in SIZES:
        name = f"tapedeck_budget_{size[0]}_{worker_id}"
        url = create_database(postgres_url, name, TEMPLATE_NAME)
        with deck(url, size, tmp_path_factory.mktemp("deck")) as app:
            ids = _newest(app)
            for address in BUDGETS:
                if size[0] or not _names_something(address):
                    found[address][size] = ask(app, _with_ids(address, ids))
    return found


@contextmanager
def deck(url: str, size: tuple[int, int], folder: Path) -> Iterator[Flask]:
    """The application over so much data; no context is pushed, as on a server."""
    fill(url, size)
    settings: dict[str, Any] = {"ingestion_markets": f"top:{max(size[0], 1)}"}
    app = create_app(load(url, folder, {}, scheduler_enabled=False, **settings))
    try:
        yield app
    finally:
        app.extensions["tapedeck"].runner.shutdown(grace_seconds=0)
        app.extensions["tapedeck"].data_version.close()
        with app.app_context():
            db.engine.dispose()


def fill(url: str, size: tuple[int, int]) -> None:
    """Store so much over connections of its own, which may take their time."""
    engine = create_engine(url, poolclass=NullPool)
    store_markets(engine, size[0])
    store_runs(engine, size[1], stages=["fetch", "snapshots"], details=1)
    tidy(engine)


def ask(app: Flask, address: str) -> Asked:
    """One request with empty caches over connections that are open already."""
    client = app.test_client()
    client.get("/badge.svg")
    with app.app_context():
        cache.clear()
    app.extensions["tapedeck"].data_version.forget()
    with driver_statements() as statements:
        status, body = _read(client, address)
    return Asked(
        status, body, statements, [] if "/exports/" in address else _plans(app, statements)
    )


def _read(client: FlaskClient, address: str) -> tuple[int, str]:
    """Status and text of an answer, of an export no more than its first part."""
    answer = client.get(address)
    parts = answer.iter_encoded()
    body = next(parts) if "/exports/" in address else b"".join(parts)
    answer.close()
    return answer.status_code, body.decode()


@contextmanager
def driver_statements() -> Iterator[list[Statement]]:
    """What is handed to the driver by whomever, but for the pool's look whether a line is alive."""
    statements: list[Statement] = []
    execute = PatientCursor.execute

    def note(cursor: PatientCursor, query: Any, values: Any = None) -> None:
        if query != "SELECT 1":
            statements.append((str(query), values))
        execute(cursor, query, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatientCursor, "execute", note)
        yield statements


def _plans(app: Flask, statements: Sequence[Statement]) -> list[str]:
    plans = []
    with app.app_context():
        engine = db.engine
    with engine.connect() as connection, connection.connection.cursor() as cursor:
        for query, values in statements:
            cursor.execute(f"EXPLAIN {query}", values)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    return plans


def _names_something(address: str) -> bool:
    return any(name in address for name in ("RUN", "DELIVERY", "M00001-USD"))


def _with_ids(address: str, ids: Mapping[str, str]) -> str:
    for name, value in ids.items():
        address = address.replace(name, value)
    return address


def _newest(app: Flask) -> dict[str, str]:
    tables = {
        "RUN": "ingestion_run WHERE status = 'partial' ORDER BY started_at",
        "DELIVERY": "alert_delivery ORDER BY created_at",
    }
    with app.app_context(), db.engine.connect() as connection:
        return {
            name: str(connection.execute(text(f"SELECT id FROM {rows} DESC LIMIT 1")).scalar())
            for name, rows in tables.items()
        }


@pytest.mark.parametrize("address", BUDGETS)
def test_an_answer_stays_within_its_budget_at_every_size(answers: Answers, address: str) -> None:
    for size, asked in answers[address].items():
        assert asked.status == 200, size
        told = "\n".join(query for query, _ in asked.statements)
        assert len(asked.statements) <= BUDGETS[address], f"{size}: {told}"


@pytest.mark.parametrize("address", BUDGETS)
def test_an_answer_takes_as_many_queries_with_much_as_with_little(
    answers: Answers, address: str
) -> None:
    counts = {size: len(asked.statements) for size, asked in answers[address].items() if size[0]}
    assert len(set(counts.values())) == 1, counts


@pytest.mark.parametrize("address", sorted(BUDGETS.keys() - READ_AT_LENGTH))
def test_nothing_that_grows_with_time_is_read_from_end_to_end(
    answers: Answers, address: str
) -> None:
    for plan in answers[address][LARGEST].plans:
        # An empty partition, or a handful of rows, costs next to nothing.
        read = re.findall(r"Seq Scan on (\w+).*?cost=[0-9.]+\.\.([0-9]+)", plan)
        whole = [name for name, cost in read if name.startswith(GROWING) and int(cost) > 100]
        assert not whole, plan


def test_counts_stop_at_the_newest_ten_thousand_runs(answers: Answers) -> None:
    html = " ".join(answers["/runs"][LARGEST].text.split())
    assert "10,000 runs; counted among the newest 10,000" in html


def test_a_text_that_no_new_run_holds_says_how_far_was_searched(answers: Answers) -> None:
    html = " ".join(answers["/runs?search=nowhere&status=failed"][LARGEST].text.split())
    assert "No run matches these filters. " in html


def test_every_route_that_reads_the_database_has_a_budget(
    database_url: str, tmp_path: Path
) -> None:
    app = create_app(load(database_url, tmp_path, {}))
    routes = app.url_map.bind("localhost")
    budgeted = {routes.match(urlsplit(address).path)[0] for address in BUDGETS}
    known = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert known - budgeted == WITHOUT

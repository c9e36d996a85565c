"""Bad inputs 69 to 72: bodies, queries, cron expressions and environment variables."""

import json
import os
from collections.abc import Mapping

import pytest

from app.errors import SettingsError
from app.providers.base import provider_classes
from app.settings_loader import LoadedSettings, load_settings
from tests.faults.inputs.table import Desk, bad_input
from tests.ingestion.exchange import page, row

# The body as JSON, and the status.
BODIES = (
    ('{"symbols": []}', 422),
    ('{"symbols": [null]}', 400),
    ('{"symbols": "BTC"}', 400),
    ('{"symbols": "*"}', 400),
    ('{"symbols": ["*"]}', 422),
    (json.dumps({"symbols": ["X" * 300]}), 422),
    ('{"symbols": ["NO-SUCH"]}', 422),
    (json.dumps({"symbols": [0] * 10_000}), 400),
    (json.dumps({"symbols": ["BTC-USD"] * 10_000}), 413),
)
QUERIES = (
    "/api/runs?page=-1",
    "/api/runs?limit=-1",
    "/api/runs?limit=1000000000",
    "/api/snapshots/latest?sort=luck",
    "/api/markets/BTC-USD/candles?start=2026-03-04&end=2026-03-01",
    "/api/markets/BTC-USD/candles?granularity=yearly",
)
CRON = (
    ("* * * *", "it has 4 fields instead of 5"),
    ("0 * * * * *", "it has 6 fields instead of 5"),
    ("60 * * * *", "'60' is not a valid minute"),
    ("*/0 * * * *", "'*/0' is not a valid minute"),
    ("*/99 * * * *", "longer than the minute field"),
    ("0 0 31 2 *", "for a date that exists"),
    ("５ * * * *", "not printable ASCII"),
    ("* * * * *;x", "'*;x' is not a valid weekday"),
)
ENVIRONMENT = (
    ("PORT", "abc"),
    ("DATABASE_URL", " "),
    ("REDIS_URL", "localhost:6379"),
    ("LOG_LEVEL", "loud"),
    ("ALERT_WEBHOOK_URL", "javascript:alert(1)"),
    ("CACHE_TTL_SECONDS", "-5"),
)


@bad_input(69, "symbols that are none", "refused with 4xx, no run starts; without a body all do")
def _symbols(desk: Desk) -> None:
    with desk.follow("BTC-USD=bitcoin,ETH-USD=ethereum") as deck:
        deck.server.script("/coins/markets", page(row(), row("ethereum", symbol="eth")))
        for body, status in BODIES:
            answer = deck.client.post("/api/ingest", data=body, content_type="application/json")
            assert (body[:40], answer.status_code) == (body[:40], status)
        assert deck.rows("SELECT count(*) FROM ingestion_run") == [0]
        result = deck.client.post("/api/ingest").get_json()["result"]
        assert result["marketsIngested"] == 2


@bad_input(70, "queries beyond every bound", "refused with 422, or no more than the bound")
def _queries(desk: Desk) -> None:
    deck = desk.fresh()
    deck.ingest(page(row()))
    refused = {path: deck.client.get(path).status_code for path in QUERIES}
    assert refused == dict.fromkeys(QUERIES, 422)
    ten_years = "/api/markets/BTC-USD/candles?start=2016-01-01&end=2026-01-01"
    assert len(deck.client.get(ten_years).get_json()["candles"]) <= 500


@bad_input(
    71, "cron expressions", "refused at the start, and the field is named; 0 and 7 are Sunday"
)
def _cron(desk: Desk) -> None:
    for expression, reason in CRON:
        (problem,) = _problems({"INGESTION_CRON_EXPRESSION": expression})
        assert problem.startswith("INGESTION_CRON_EXPRESSION is ")
        assert reason in problem
    found = {
        expression: _load({"INGESTION_CRON_EXPRESSION": expression}).settings.schedule
        for expression in ("0 0 * * 0", "0 0 * * 7", "@hourly")
    }
    now = desk.fresh().clock()
    sunday, also = found["0 0 * * 0"].next_after(now), found["0 0 * * 7"].next_after(now)
    assert (sunday.isoweekday(), sunday) == (7, also)
    assert found["@hourly"].next_after(now).minute == 0
    # Empty means that it is not set.
    assert _load({"INGESTION_CRON_EXPRESSION": ""}).settings.schedule.expression == "*/15 * * * *"


@bad_input(72, "environment variables", "refused at the start, each in a sentence that names it")
def _environment(desk: Desk) -> None:
    for name, value in ENVIRONMENT:
        (problem,) = _problems({name: value})
        assert problem.startswith(f"{name} is ")
    problems = _problems(dict(ENVIRONMENT))
    assert len(problems) == len(ENVIRONMENT)
    loaded = _load({"INGESTION_MARKET": "BTC-USD", "CRON_SECRET": "a-secret-of-many-letters\n"})
    assert any("INGESTION_MARKET " in warning for warning in loaded.warnings)
    secret = loaded.settings.cron_secret
    assert secret is not None
    assert secret.get_secret_value() == "a-secret-of-many-letters"


def _load(variables: Mapping[str, str]) -> LoadedSettings:
    """The settings as a start with only these variables finds them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - {"PATH", "HOME", "TMPDIR", "PYTEST_CURRENT_TEST"}:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        groups = {name: cls.Settings for name, cls in provider_classes().items()}
        return load_settings(groups, env_file=None)


def _problems(variables: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        _load(variables)
    return caught.value.problems

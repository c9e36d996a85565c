"""What machines read beside the API: Prometheus' text and the badge, and who may."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from app.metrics import METRICS
from app.web.badges import Badge, draw_badge
from tests.apps import load
from tests.web.deck import counted_queries, finish_run
from tests.web.real_app import real_app

TOKEN = "a-token-for-tests"
DOORS = ("/metrics", "/badge.svg", "/badge.json")
LEVELS = ("good", "late", "failing", "stalled", "empty", "paused", "unreachable")


def test_the_scrape_is_prometheus_text_of_declared_names(app: Flask, client: FlaskClient) -> None:
    finish_run(app, client)
    response = client.get("/metrics")
    families = list(text_string_to_metric_families(response.text))
    values = {sample.name: sample.value for family in families for sample in family.samples}
    names = {name.removesuffix("_total") for name in METRICS}
    assert response.content_type.startswith("text/plain; version=")
    assert {family.name for family in families} <= names
    assert (values["ingestion_success_total"], values["database_up"]) == (1, 1)
    assert response.text.count("\nalerts_open{severity=") == 3


def test_the_scrape_answers_while_the_database_is_away(tmp_path: Path) -> None:
    app = create_app(load("postgresql://nobody@127.0.0.1:1/nothing", tmp_path, {}))
    response = app.test_client().get("/metrics")
    assert response.status_code == 200
    assert "database_up 0.0" in response.text
    assert "ingestion_success_total" not in response.text


def test_the_badge_says_the_state_of_the_data(app: Flask, client: FlaskClient) -> None:
    before = client.get("/badge.json").json
    finish_run(app, client)
    after = client.get("/badge.json").json
    assert (before["message"], after["message"]) == ("empty", "good")
    assert after.keys() == {"schemaVersion", "label", "message", "color", "isError"}
    assert "market data: good" in client.get("/badge.svg").text


def test_the_badge_says_when_the_database_is_away(tmp_path: Path) -> None:
    app = create_app(load("postgresql://nobody@127.0.0.1:1/nothing", tmp_path, {}))
    badge = app.test_client().get("/badge.json").json
    assert (badge["message"], badge["isError"]) == ("unreachable", True)


def test_the_badge_costs_two_queries(app: Flask, client: FlaskClient) -> None:
    with counted_queries(app) as statements:
        client.get("/badge.svg")
    assert len(statements) <= 4


@pytest.mark.parametrize("level", LEVELS)
def test_a_badge_is_sound_and_its_words_fit(level: str) -> None:
    drawing = ElementTree.fromstring(draw_badge(Badge.of(level)))
    texts = drawing.findall(".//{*}text")
    ends = [float(text.get("x") or 0) + float(text.get("textLength") or 0) for text in texts]
    assert [text.text for text in texts] == ["market data", level]
    assert ends[0] < float(texts[1].get("x") or 0)
    assert ends[1] < float(drawing.get("width") or 0)


@pytest.mark.parametrize("door", DOORS)
def test_with_a_token_set_a_machine_must_bring_it(
    database_url: str, tmp_path: Path, door: str
) -> None:
    with real_app(database_url, tmp_path, operator_token=TOKEN) as app:
        client = app.test_client()
        refused = client.get(door)
        answered = client.get(door, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (refused.status_code, answered.status_code) == (401, 200)
    assert "WWW-Authenticate" in refused.headers
    assert answered.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("door", DOORS)
def test_a_public_badge_opens_the_badge_alone(database_url: str, tmp_path: Path, door: str) -> None:
    with real_app(database_url, tmp_path, operator_token=TOKEN, badge_public=True) as app:
        response = app.test_client().get(door)
    if door == "/metrics":
        assert response.status_code == 401
        return
    assert response.status_code == 200
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers["Cache-Control"] == "public, max-age=60"

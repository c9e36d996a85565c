"""The doors of the whole application, with its own pages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.real_app import real_app

TOKEN = "correct-horse-battery"
OPEN_PATHS = {"/healthz", "/readyz", "/login", "/static/css/app.css"}


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The whole application behind its operator token."""
    with real_app(database_url, tmp_path, operator_token=TOKEN) as app:
        yield app


def log_in(client: FlaskClient) -> None:
    page = client.get("/login").text
    csrf_token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert csrf_token
    form = {"csrf_token": csrf_token[1], "token": TOKEN, "next": "/runs"}
    response = client.post("/login", data=form)
    assert (response.status_code, response.headers["Location"]) == (303, "/runs")


def test_only_what_must_be_open_is_open(app: Flask, client: FlaskClient) -> None:
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^<>]+>", "x", re.sub(r"<int:[^<>]+>", "1", rule.rule))
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            if path in OPEN_PATHS or rule.endpoint in ("static", "auth.logout"):
                continue
            response = client.open(path, method=method)
            expected = (401, 503) if path.startswith("/api/") else (303, 401)
            assert response.status_code in expected, f"{method} {path}"


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_what_must_be_open_is_open(client: FlaskClient, path: str) -> None:
    with client.get(path) as response:
        assert response.status_code == 200


def test_the_form_leads_in_and_the_button_leads_out(client: FlaskClient) -> None:
    log_in(client)
    page = client.get("/runs")
    assert page.status_code == 200
    csrf_token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert csrf_token
    assert 'action="/logout"' in page.text
    assert client.post("/logout", data={"csrf_token": csrf_token[1]}).status_code == 303
    assert client.get("/runs").status_code == 303


def test_a_wrong_token_is_told_in_the_form(client: FlaskClient) -> None:
    page = client.get("/login").text
    csrf_token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert csrf_token
    response = client.post("/login", data={"csrf_token": csrf_token[1], "token": "<b>wrong"})
    assert response.status_code == 403
    assert "That is not the operator token." in response.text
    assert "&lt;b&gt;wrong" not in response.text
    assert "<b>wrong" not in response.text


def test_the_way_back_is_kept_in_the_form_as_text(client: FlaskClient) -> None:
    page = client.get("/login", query_string={"next": '/"><script>alert(1)</script>'}).text
    assert "<script>alert" not in page


def test_a_page_that_is_not_there_is_told_in_the_own_design(client: FlaskClient) -> None:
    log_in(client)
    response = client.get("/runs/00000000-0000-0000-0000-000000000000")
    assert response.status_code == 404
    assert "stylesheet" in response.text
    assert response.headers["X-Request-Id"] in response.text


def test_a_form_of_another_site_is_refused(client: FlaskClient) -> None:
    log_in(client)
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    for path in ("/runs", "/fragments/progress", "/api/ingest"):
        assert client.post(path, headers=headers).status_code == 403


def test_a_form_without_its_token_is_refused(client: FlaskClient) -> None:
    log_in(client)
    assert client.post("/runs").status_code == 403
    assert client.post("/fragments/progress").status_code == 403


def test_files_may_be_kept_but_pages_may_not(client: FlaskClient) -> None:
    with client.get("/static/css/app.css") as stylesheet:
        assert stylesheet.headers["Cache-Control"] != "no-store"
    for path in ("/login", "/static/nothing.css", "/api/runs", "/healthz"):
        assert client.get(path).headers["Cache-Control"] == "no-store"


def test_the_token_reaches_no_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    log_in(client)
    client.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}"})
    client.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}-wrong"})
    assert TOKEN not in capfd.readouterr().err
    assert TOKEN not in caplog.text

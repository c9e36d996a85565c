"""The overview is built once for many, and yet everybody has their own form token."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event

from app.extensions import db
from tests.web.real_app import real_app

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
OPERATOR = "a-token-of-the-operator-0123456789"


@pytest.fixture(params=[{}])
def app(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flask]:
    with real_app(database_url, tmp_path, **request.param) as app:
        yield app


@pytest.fixture
def statements(app: Flask) -> list[str]:
    """The SQL of the application, the version of the data apart."""
    found: list[str] = []
    with app.app_context():
        engine = db.engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    return found


def test_a_second_reader_costs_no_query_and_has_a_token_that_works(
    app: Flask, statements: list[str]
) -> None:
    readers = [app.test_client() for _ in range(2)]
    pages = [reader.get("/").text for reader in readers]
    cost = len(statements)
    tokens = [TOKEN.findall(page) for page in pages]
    assert tokens[0]
    assert tokens[1]
    assert not {*tokens[0]} & {*tokens[1]}
    assert readers[0].get("/").status_code == 200
    assert len(statements) == cost
    for reader, mine in zip(readers, tokens, strict=True):
        form = {"csrf_token": mine[0], "symbols": ""}
        assert reader.post("/runs", data=form).status_code == 303


def test_another_s_token_opens_nothing(app: Flask) -> None:
    readers = [app.test_client() for _ in range(2)]
    tokens = [TOKEN.findall(reader.get("/").text) for reader in readers]
    form = {"csrf_token": tokens[1][0], "symbols": ""}
    assert readers[0].post("/runs", data=form).status_code == 403


def test_a_message_is_shown_to_whom_it_is_for_and_once(app: Flask) -> None:
    mine, other = app.test_client(), app.test_client()
    other.get("/")
    mine.get("/")
    with mine.session_transaction() as session:
        session["_flashes"] = [("info", "Only for you.")]
    assert "Only for you." in mine.get("/").text
    assert "Only for you." not in mine.get("/").text
    assert "Only for you." not in other.get("/").text


@pytest.mark.parametrize("app", [{"operator_token": OPERATOR}], indirect=True)
def test_a_page_of_an_operator_is_for_operators(app: Flask) -> None:
    operator = app.test_client()
    token = TOKEN.findall(operator.get("/login").text)[0]
    operator.post("/login", data={"token": OPERATOR, "csrf_token": token})
    assert "Sign out" in operator.get("/").text
    stranger = app.test_client().get("/")
    assert (stranger.status_code, stranger.headers["Location"]) == (303, "/login")


def test_a_reader_who_comes_back_has_it_without_flask_until_something_changes(app: Flask) -> None:
    reader = app.test_client()
    reader.get("/")
    pages = [reader.get("/") for _ in range(2)]
    assert pages[0].data == pages[1].data
    assert "Set-Cookie" not in pages[1].headers
    token = TOKEN.findall(pages[1].text)[0]
    assert reader.post("/schedule/pause", data={"csrf_token": token, "reason": "moving house"})
    assert "moving house" in reader.get("/").text

"""Answers given again before Flask: the same to the byte, to nobody else, and never old ones."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from app.metrics import HTTP_REQUESTS
from app.metrics_counting import process_samples
from app.web.hot_answers import HOT_SECONDS, MOST_ANSWERS, HotAnswers
from tests.apps import bare_app
from tests.web.real_app import MARKETS, real_app

LATEST = "/api/snapshots/latest"
TOKEN = "a-token-of-the-operator-0123456789"


class Door(HotAnswers):
    """The layer with a count of the requests that went on to Flask, and a clock of its own."""

    def __init__(self, app: Flask) -> None:
        self.now = 10.0
        self.passed = 0
        layer = app.wsgi_app
        while not isinstance(layer, HotAnswers):
            layer = layer.app  # type: ignore[attr-defined]
        super().__init__(layer._inner, data_version=layer._data_version, clock=lambda: self.now)
        inner = self._inner

        def count(environ: Any, start_response: Any) -> Any:
            self.passed += 1
            return inner(environ, start_response)

        self._inner = count


@pytest.fixture(params=[{}])
def app(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """An application with one run's data."""
    with real_app(database_url, tmp_path, **request.param) as app:
        token = request.param.get("operator_token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        assert app.test_client().post("/api/ingest", headers=headers).status_code == 200
        yield app


@pytest.fixture
def door(app: Flask) -> Door:
    """The layer of the application, replaced by one that counts."""
    door = Door(app)
    app.wsgi_app = door  # type: ignore[method-assign]
    return door


@pytest.fixture
def client(app: Flask, door: Door) -> FlaskClient:
    return app.test_client(use_cookies=False)


def test_a_change_is_seen_by_the_next_request_to_another_process(
    database_url: str, tmp_path: Path
) -> None:
    lag = {"cache_lag_ms": 500}
    with (
        real_app(database_url, tmp_path, **lag) as one,
        bare_app(database_url, ingestion_markets=MARKETS, **lag) as other,
    ):
        there, here = other.test_client(), one.test_client()
        assert here.post("/api/ingest").status_code == 200
        there.get("/")
        assert "level-paused" not in there.get("/").text
        assert here.post("/api/schedule/pause", json={"reason": "a test"}).status_code == 200
        assert "level-paused" in there.get("/").text


def without_id(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "X-Request-Id"}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_the_second_answer_is_the_first_without_flask(
    client: FlaskClient, door: Door, encoding: str
) -> None:
    answers = [client.get(LATEST, headers={"Accept-Encoding": encoding}) for _ in range(2)]
    assert door.passed == 1
    first, second = answers
    assert first.status == second.status == "200 OK"
    assert first.data == second.data
    assert without_id(first.headers) == without_id(second.headers)
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]


def test_who_has_it_already_hears_so_without_flask_too(client: FlaskClient, door: Door) -> None:
    tag = client.get(LATEST).headers["ETag"]
    answers = [client.get(LATEST, headers={"If-None-Match": tag}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [304] * 3
    assert {answer.data for answer in answers} == {b""}
    assert door.passed == 2


@pytest.mark.parametrize(
    "other",
    [
        {"query_string": "limit=1"},
        {"headers": {"Accept-Encoding": "gzip"}},
        {"headers": {"Cookie": "tapedeck=x"}},
        {"headers": {"Authorization": "Bearer y"}},
        {"headers": {"Host": "127.0.0.1"}},
        {"base_url": "https://localhost"},
        {"path": LATEST + "/"},
    ],
)
def test_a_request_that_differs_is_another_request(
    client: FlaskClient, door: Door, other: dict[str, Any]
) -> None:
    client.get(LATEST)
    client.get(**({"path": LATEST} | other))
    assert door.passed == 2


@pytest.mark.parametrize(
    "peculiar", [{"data": b"body"}, {"headers": {"Range": "bytes=0-1"}}, {"method": "HEAD"}]
)
def test_what_is_no_plain_get_goes_its_own_way(
    client: FlaskClient, door: Door, peculiar: dict[str, Any]
) -> None:
    client.get(LATEST)
    client.open(LATEST, **peculiar)
    client.open(LATEST, **peculiar)
    assert door.passed == 3


def test_new_data_is_seen_at_once(app: Flask, client: FlaskClient, door: Door) -> None:
    old = client.get(LATEST)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE market_snapshot SET price = 77"))
        connection.execute(text("UPDATE data_version SET token = gen_random_uuid()"))
    new = client.get(LATEST)
    assert {row["price"] for row in new.get_json()["snapshots"]} == {"77"}
    assert new.headers["ETag"] != old.headers["ETag"]


def test_an_answer_is_given_again_for_a_moment_only(client: FlaskClient, door: Door) -> None:
    client.get(LATEST)
    door.now += HOT_SECONDS
    client.get(LATEST)
    assert door.passed == 2


@pytest.mark.parametrize("path", ["/", "/healthz", LATEST + "?limit=0", "/api/runs/nothing"])
def test_only_what_is_declared_fit_is_kept(client: FlaskClient, door: Door, path: str) -> None:
    for _ in range(2):
        client.get(path)
    assert door.passed == 2


@pytest.mark.parametrize("app", [{"operator_token": TOKEN}], indirect=True)
def test_nobody_gets_through_the_door_by_an_answer_to_another(
    client: FlaskClient, door: Door
) -> None:
    key = {"Authorization": f"Bearer {TOKEN}"}
    assert [client.get(LATEST, headers=key).status_code for _ in range(2)] == [200, 200]
    assert door.passed == 1
    assert client.get(LATEST).status_code == 401
    assert client.get(LATEST, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get(LATEST, headers={"Host": "evil.example"} | key).status_code == 400


def test_every_answer_is_logged_and_counted(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def counted() -> float:
        labels = {"method": "GET", "route": LATEST, "status": "200"}
        return sum(
            sample.value
            for sample in process_samples()
            if sample.metric is HTTP_REQUESTS and sample.labels == labels
        )

    before = counted()
    with caplog.at_level(logging.INFO, logger="app.web"):
        answers = [client.get(LATEST, headers={"X-Request-Id": f"caller-{n}"}) for n in range(3)]
    lines = [record for record in caplog.records if record.message == "request served"]
    assert [(line.route, line.status) for line in lines] == [(LATEST, 200)] * 3
    assert [line.request_id for line in lines] == ["caller-0", "caller-1", "caller-2"]
    assert [answer.headers["X-Request-Id"] for answer in answers] == [
        "caller-0",
        "caller-1",
        "caller-2",
    ]
    assert counted() == before + 3


def test_it_takes_a_bounded_room(client: FlaskClient, door: Door, app: Flask) -> None:
    for number in range(MOST_ANSWERS + 5):
        client.get(LATEST, headers={"Accept": f"text/{number}"})
    assert len(door._answers) == MOST_ANSWERS
    assert door._bytes == sum(len(answer.body) for answer in door._answers.values())


def test_whoever_changed_something_asks_the_database_next(client: FlaskClient, door: Door) -> None:
    version = door._data_version
    client.get(LATEST)
    forgotten_at = version._forgotten_at
    client.get(LATEST)
    assert version._forgotten_at == forgotten_at
    client.post("/schedule/pause")
    assert version._forgotten_at > forgotten_at

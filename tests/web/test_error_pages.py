"""The pages of failures: in the same house, with what happened and what to do about it."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.errors import InvalidRequest, NotFound, RunStopped, StorageError
from tests.apps import load
from tests.web.deck import Markup

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
FAILURES: dict[int, tuple[Exception, str]] = {
    404: (NotFound("There is no run 7."), "may be misspelt"),
    422: (InvalidRequest("That is no status.", ["status is 'x'"]), "Go back and correct it"),
    500: (ValueError("inner matter"), "The data is as it was"),
    503: (StorageError("away"), "tries again by itself"),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The whole application with a route for each failure, which no database is needed for."""
    app = create_app(load(NOWHERE, tmp_path_factory.mktemp("instance"), {}))
    app.config["WTF_CSRF_ENABLED"] = False
    for status, (error, _) in FAILURES.items():

        def fail(error: Exception = error) -> Any:
            raise error

        app.add_url_rule(f"/fail/{status}", f"fail_{status}", fail, methods=["GET", "POST"])
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize("status", FAILURES)
def test_a_failure_has_the_frame_of_every_page_and_says_what_to_do(
    client: FlaskClient, status: int
) -> None:
    answer = client.get(f"/fail/{status}", headers={"Accept": "text/html"})
    page = Markup(answer.text)
    assert answer.status_code == status
    assert f"<title>{status} " in answer.text
    assert FAILURES[status][1] in answer.text
    assert (len(page.all("h1")), len(page.all("nav")), page.mismatched) == (1, 1, [])
    assert "inner matter" not in answer.text


@pytest.mark.parametrize("status", [500, 503])
def test_what_was_sent_is_never_sent_again_by_a_click_or_by_itself(
    client: FlaskClient, status: int
) -> None:
    shown = client.get(f"/fail/{status}", headers={"Accept": "text/html"}).text
    sent = client.post(f"/fail/{status}", headers={"Accept": "text/html"}).text
    assert "Load again</a>" in shown
    assert "Load again</a>" not in sent
    assert "http-equiv" not in sent
    assert "look before you repeat it" in sent


def test_a_process_that_stops_says_when_to_come_back(app: Flask) -> None:
    def stop() -> Any:
        raise RunStopped("shutdown", "This process is stopping and begins no run any more.")

    app.view_functions["fail_503"], kept = stop, app.view_functions["fail_503"]
    page = app.test_client().post("/fail/503", headers={"Accept": "text/html"})
    problem = app.test_client().post("/fail/503", headers={"Accept": "application/json"})
    app.view_functions["fail_503"] = kept
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert '<h1 id="error-title">This process is stopping</h1>' in page.text
    assert problem.json["code"] == "stopping"


def test_an_expired_form_says_that_nothing_was_changed(app: Flask, client: FlaskClient) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    answer = client.post("/schedule/resume", headers={"Accept": "text/html"})
    app.config["WTF_CSRF_ENABLED"] = False
    assert answer.status_code == 403
    assert "Nothing was changed." in answer.text

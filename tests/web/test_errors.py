"""What a failed request is told."""

import logging

import pytest

from tests.web.small_app import AppFactory


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/nowhere", 404, "not_found"),
        ("/api/fail/missing", 404, "not_found"),
        ("/api/fail/invalid", 422, "invalid_request"),
        ("/api/fail/active", 409, "run_already_active"),
        ("/api/fail/storage", 503, "unavailable"),
        ("/api/fail/database", 503, "unavailable"),
        ("/api/fail/unexpected", 500, "internal_error"),
    ],
)
def test_the_api_answers_a_failure_with_a_problem(
    make_app: AppFactory, path: str, status: int, code: str
) -> None:
    response = make_app().test_client().get(path)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert (response.json["status"], response.json["code"]) == (status, code)
    assert response.json["type"] == "about:blank"
    assert response.json["instance"] == path


def test_an_active_run_is_named_with_its_address(make_app: AppFactory) -> None:
    response = make_app().test_client().get("/api/fail/active")
    assert response.json["runId"] == "42"
    assert response.headers["Location"] == "/api/runs/42"


def test_an_invalid_request_lists_at_most_ten_faults(make_app: AppFactory) -> None:
    response = make_app().test_client().get("/api/fail/invalid")
    assert response.json["details"] == [f"S{number}" for number in range(10)]


@pytest.mark.parametrize("name", ["storage", "database"])
def test_a_database_that_is_away_says_when_to_come_back(make_app: AppFactory, name: str) -> None:
    response = make_app().test_client().get(f"/api/fail/{name}")
    assert response.headers["Retry-After"] == "5"
    assert "secret_column" not in response.text


def test_a_wrong_method_names_the_right_ones(make_app: AppFactory) -> None:
    response = make_app().test_client().delete("/api/things")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/broken", "/api/fail/unexpected"])
def test_the_inside_goes_to_the_log_and_never_to_the_caller(
    make_app: AppFactory, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = make_app().test_client().get(path)
    assert response.status_code == 500
    assert "inner matter" not in response.text
    assert response.headers["X-Request-Id"] in response.text
    [record] = [record for record in caplog.records if record.message == "request failed"]
    assert record.levelno == logging.ERROR
    assert "inner matter" in str(record.exc_info)


def test_the_log_keeps_the_reason_but_not_the_statement(
    make_app: AppFactory, caplog: pytest.LogCaptureFixture
) -> None:
    make_app().test_client().get("/api/fail/database")
    [record] = [record for record in caplog.records if record.message == "database unavailable"]
    assert record.error == "server closed"
    assert "secret_column" not in str(record.__dict__)


@pytest.mark.parametrize("accept", ["text/html", "*/*", "text/html,application/json;q=0.9", None])
def test_people_get_a_page(make_app: AppFactory, accept: str | None) -> None:
    headers = {"Accept": accept} if accept else {}
    response = make_app().test_client().get("/nowhere", headers=headers)
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "404" in response.text


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
def test_programs_get_a_problem_from_pages_too(make_app: AppFactory, accept: str) -> None:
    response = make_app().test_client().get("/nowhere", headers={"Accept": accept})
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")


def test_an_error_page_that_fails_itself_is_replaced_by_a_plain_one(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ValueError("inner matter")

    monkeypatch.setattr("app.web.errors.render_template", fail)
    response = make_app().test_client().get("/nowhere")
    assert response.status_code == 404
    assert response.text.startswith("<!doctype html>")
    assert "inner matter" not in response.text

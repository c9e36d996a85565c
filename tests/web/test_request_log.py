"""The identity of a request and its line in the log."""

import logging

import pytest

from app.metrics import HTTP_REQUESTS
from app.metrics_counting import process_samples
from tests.web.small_app import AppFactory


def served(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "request served"]


def test_a_request_is_one_line_with_its_route_and_not_its_ids(
    make_app: AppFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="app.web"):
        make_app().test_client().get("/api/runs/42?cursor=secret")
    [record] = served(caplog)
    assert (record.method, record.route, record.status) == ("GET", "/api/runs/<run_id>", 200)
    assert record.duration_ms >= 0
    assert "secret" not in str(record.__dict__)


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        ("GET", "/nowhere", ("GET", "(unmatched)", 404)),
        ("GET", "/broken", ("GET", "/broken", 500)),
        ("BREW", "/", ("OTHER", "(unmatched)", 405)),
    ],
)
def test_failures_are_lines_too_and_make_no_new_names(
    make_app: AppFactory,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    line: tuple[str, str, int],
) -> None:
    with caplog.at_level("INFO", logger="app.web"):
        make_app().test_client().open(path, method=method)
    [record] = served(caplog)
    assert (record.method, record.route, record.status) == line


@pytest.mark.parametrize("given", ["caller-id.1234", "a" * 64])
def test_a_harmless_id_of_the_caller_is_kept(make_app: AppFactory, given: str) -> None:
    response = make_app().test_client().get("/", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "<script>alert(1)</script>", "a b c d e"])
def test_any_other_id_is_replaced(make_app: AppFactory, given: str) -> None:
    response = make_app().test_client().get("/nowhere", headers={"X-Request-Id": given})
    assert response.headers["X-Request-Id"] != given
    assert len(response.headers["X-Request-Id"]) == 32


def test_a_problem_names_the_request(make_app: AppFactory) -> None:
    response = make_app().test_client().get("/api/fail/unexpected")
    assert response.json["requestId"] == response.headers["X-Request-Id"]


def counted(route: str) -> float:
    return sum(
        sample.value
        for sample in process_samples()
        if sample.metric is HTTP_REQUESTS and sample.labels["route"] == route
    )


def test_requests_are_counted_by_route(make_app: AppFactory) -> None:
    client = make_app().test_client()
    before = counted("/api/runs/<run_id>")
    client.get("/api/runs/1")
    client.get("/api/runs/2")
    assert counted("/api/runs/<run_id>") == before + 2
    assert counted("/api/runs/1") == 0

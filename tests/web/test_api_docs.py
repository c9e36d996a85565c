"""The API, its own description and its page of documentation say the same."""

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.web.openapi import Endpoint
from app.web.openapi_document import declared_routes
from tests.apps import load
from tests.web.test_openapi import find_references

DOCUMENTED = ("api.", "health.", "auth.")
PAGE = Path("docs/api.md")
VARIABLE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
AS_IN_OPENAPI = r"{\1}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The whole application, without its database."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    return create_app(load(nowhere, tmp_path_factory.mktemp("instance"), {}))


def served(app: Flask) -> set[str]:
    """Every documented kind of route, such as `GET /api/runs/{run_id}`."""
    return {
        f"{method} {VARIABLE.sub(AS_IN_OPENAPI, rule.rule)}"
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(DOCUMENTED)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_the_page_documents_every_route_and_no_other(app: Flask) -> None:
    headings = re.findall(r"^### `([A-Z]+ /[^`]*)`$", PAGE.read_text(), flags=re.MULTILINE)
    assert set(headings) == served(app)
    assert len(headings) == len(set(headings))


def test_the_page_names_every_problem_and_every_parameter(app: Flask) -> None:
    page = PAGE.read_text()
    for route in declared_routes(app):
        fields = route.operation.query.model_fields if route.operation.query else {}
        missing = [name for name in fields if f"`{name}`" not in page]
        assert not missing, f"{route.path} takes {missing}"


def test_every_route_of_the_api_is_declared(app: Flask) -> None:
    views = {rule.endpoint: app.view_functions[rule.endpoint] for rule in app.url_map.iter_rules()}
    undeclared = [
        name
        for name, view in views.items()
        if name.startswith("api.") and not isinstance(view, Endpoint)
    ]
    assert undeclared == []


def test_the_description_covers_every_declared_route(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    described = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert described == {route for route in served(app) if "/log" not in route}


def test_the_description_holds_together(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    operations = [item for path in document["paths"].values() for item in path.values()]
    names = [item["operationId"] for item in operations]
    assert len(names) == len(set(names))
    assert all(item["summary"] and item["description"] for item in operations)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(find_references(document)) <= known


@pytest.mark.parametrize("path", ["/scheduler", "/scheduler/jobs"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_schedulers_own_api_does_not_exist(app: Flask, path: str, method: str) -> None:
    client: FlaskClient = app.test_client()
    body = {"id": "x", "func": "os:getpid", "trigger": "date"}
    headers = {"Accept": "application/json"}
    response = client.open(path, method=method, json=body, headers=headers)
    assert response.status_code == 404

"""The OpenAPI 3.1 document, drawn from the declarations behind the application's routes."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from app.web.openapi import Access, Endpoint, Operation, camel_case
from app.web.problems import MEDIA_TYPE, Problem, title_of
from app.web.security import SAFE_METHODS

API_VERSION = "1"
REFERENCE = "#/components/schemas/{model}"
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPERATOR: [{"operatorToken": []}, {"operatorSession": []}],
    Access.CRON: [{"cronSecret": []}],
    Access.OPEN: [],
}
SECURITY_SCHEMES = {
    "operatorToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "OPERATOR_TOKEN. Not asked for where that is not set.",
    },
    "operatorSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "tapedeck",
        "description": "The browser's session; changes are then taken from the same origin only.",
    },
    "cronSecret": {"type": "http", "scheme": "bearer", "description": "CRON_SECRET."},
}
Mode = Literal["validation", "serialization"]
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, with the operation behind it."""

    path: str
    method: str
    name: str
    variables: tuple[str, ...]
    endpoint: Endpoint

    @property
    def operation(self) -> Operation:
        """What the route declares."""
        return self.endpoint.operation


def declared_routes(app: Flask) -> Iterator[Route]:
    """Every route with a declaration, in the order of paths and methods."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        endpoint = app.view_functions.get(rule.endpoint)
        if isinstance(endpoint, Endpoint):
            yield from _routes_of(rule, endpoint)


def build_document(app: Flask) -> Schema:
    """The whole document as plain values."""
    routes = list(declared_routes(app))
    references, schemas = _schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        described = _operation_object(route, references, schemas)
        paths.setdefault(route.path, {})[route.method.lower()] = described
    for model in {route.operation.query for route in routes if route.operation.query}:
        del schemas[_name(references[model])]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tapedeck",
            "version": API_VERSION,
            "description": "Market data ingestion: runs, markets, snapshots and metrics. Money "
            "and percentages are decimal strings, instants ISO 8601 in UTC.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SECURITY_SCHEMES},
    }


def _routes_of(rule: Rule, endpoint: Endpoint) -> Iterator[Route]:
    methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
    view = rule.endpoint.rpartition(".")[2]
    for method in methods:
        name = camel_case(view if len(methods) == 1 else f"{view}_by_{method.lower()}")
        variables = tuple(re.findall(r"{([^{}]+)}", path))
        yield Route(path, method, name, variables, endpoint)


def _schemas(routes: list[Route]) -> tuple[dict[type[BaseModel], Schema], dict[str, Schema]]:
    wanted: dict[type[BaseModel], Mode] = {Problem: "serialization"}
    for route in routes:
        declared = route.operation
        wanted |= dict.fromkeys(declared.answers.values(), "serialization")
        wanted |= {model: "validation" for model in (declared.query, declared.body) if model}
    found, definitions = models_json_schema(list(wanted.items()), ref_template=REFERENCE)
    return {model: found[model, mode] for model, mode in wanted.items()}, definitions["$defs"]


def _operation_object(
    route: Route, references: dict[type[BaseModel], Schema], schemas: dict[str, Schema]
) -> Schema:
    declared = route.operation
    described: Schema = {
        "operationId": route.name,
        "summary": declared.summary,
        "description": inspect.getdoc(route.endpoint) or declared.summary,
        "security": SECURITY[declared.access],
        "responses": _responses(route, references),
    }
    parameters = [_path_parameter(name) for name in route.variables]
    if declared.query is not None:
        parameters += _query_parameters(schemas[_name(references[declared.query])])
    if parameters:
        described["parameters"] = parameters
    if declared.body is not None and route.method not in SAFE_METHODS:
        content = {"application/json": {"schema": references[declared.body]}}
        described["requestBody"] = {"required": False, "content": content}
    return described


def _responses(route: Route, references: dict[type[BaseModel], Schema]) -> Schema:
    answers = {
        str(status): _response(status, route.operation.media_type, references[model])
        for status, model in route.operation.answers.items()
    }
    problems = {
        str(status): _response(status, MEDIA_TYPE, references[Problem])
        for status in problem_statuses(route)
        if str(status) not in answers
    }
    return dict(sorted((answers | problems).items()))


def problem_statuses(route: Route) -> set[int]:
    """The refusals of a route: its own and those that come with its door and its shape."""
    declared = route.operation
    statuses = {400, 500, *declared.problems}
    statuses |= {401, 429, 503} if declared.access is not Access.OPEN else set()
    statuses |= {403} if route.method not in SAFE_METHODS else set()
    statuses |= {422} if declared.query else set()
    statuses |= {413, 415} if declared.body else set()
    return statuses


def _response(status: int, media_type: str, schema: Schema) -> Schema:
    described: Schema = {
        "description": title_of(status),
        "content": {media_type: {"schema": schema}},
    }
    if status in (202, 409):
        described["headers"] = {
            "Location": {"description": "The run.", "schema": {"type": "string"}}
        }
    return described


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(schema: Schema) -> list[Schema]:
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": described}
        for name, described in schema.get("properties", {}).items()
    ]


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]

"""One declaration of an operation: it validates, and it is the documentation."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import Field

from app.web.openapi import (
    Access,
    AnswerModel,
    BodyModel,
    QueryModel,
    Reply,
    camel_case,
    operation,
)
from app.web.openapi_document import build_document
from tests.web.small_app import small_app


class Order(BodyModel):
    amounts: list[int] = Field(default=[1], max_length=12)
    note: str = ""


class Choice(QueryModel):
    limit: int = Field(default=50, ge=1, le=250, description="Entries on a page.")
    word: str | None = None


class Receipt(AnswerModel):
    total_sum: Decimal
    made_at: datetime
    limit: int | None = None


@operation(summary="Order", body=Order, answers={200: Receipt, 202: Receipt}, problems=[409])
def place_order(*, body: Order) -> Reply:
    """Add the amounts up."""
    total = Decimal(sum(body.amounts)).scaleb(-9)
    receipt = Receipt(total_sum=total, made_at=datetime(2026, 1, 1, tzinfo=UTC))
    return Reply(receipt, 202 if body.note == "later" else 200, {"Location": "/receipts/1"})


@operation(summary="List", query=Choice, answers={200: Receipt}, access=Access.OPEN)
def list_orders(*, query: Choice, name: str) -> Receipt:
    """The orders of one name."""
    return Receipt(
        total_sum=Decimal(len(name)), made_at=datetime(2026, 1, 1, tzinfo=UTC), limit=query.limit
    )


@operation(summary="Wrong", answers={200: Order})
def answer_otherwise() -> Receipt:
    """Answers what it does not declare."""
    return Receipt(total_sum=Decimal(1), made_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def app() -> Flask:
    app = small_app()
    app.add_url_rule("/api/orders", "place_order", place_order, methods=["POST"])
    app.add_url_rule("/api/orders/<path:name>", "list_orders", list_orders)
    app.add_url_rule("/api/wrong", "answer_otherwise", answer_otherwise)
    app.extensions["csrf"].exempt(f"{__name__}.place_order")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_names_are_camel_case_with_their_windows() -> None:
    assert camel_case("roi_24h_pct") == "roi24hPct"
    assert camel_case("status") == "status"


def test_an_answer_is_written_by_its_model(client: FlaskClient) -> None:
    response = client.post("/api/orders", json={"amounts": [1, 2]})
    assert response.json == {
        "totalSum": "0.000000003",
        "madeAt": "2026-01-01T00:00:00Z",
        "limit": None,
    }
    assert response.headers["Location"] == "/receipts/1"


def test_an_empty_body_means_the_defaults(client: FlaskClient) -> None:
    assert client.post("/api/orders").json["totalSum"] == "0.000000001"
    typed = client.post("/api/orders", data=b"", content_type="text/plain")
    assert typed.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"not json",
        b"[]",
        b'"BTC"',
        b"null",
        b'{"amounts": null}',
        b'{"amounts": "1"}',
        b'{"amounts": ["1"]}',
        b'{"amounts": [1.5]}',
        b'{"amounts": [true]}',
        b'{"extra": 1}',
        b'{"note": NaN}',
        b'{"note": "\xff"}',
        b'{"note": "\\ud800"}',
        b"[" * 60_000,
        b'{"note":' * 7_000,
        b"\xef\xbb\xbf{",
    ],
)
def test_a_malformed_body_is_refused_without_stumbling(client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/orders", data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.json["code"] == "malformed_body"
    assert response.json["details"]


def test_at_most_ten_faults_are_named(client: FlaskClient) -> None:
    response = client.post("/api/orders", json={"amounts": ["x"] * 12})
    assert len(response.json["details"]) == 10
    assert response.json["details"][0].startswith("amounts.0: ")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_json_by_its_type_is_refused(
    client: FlaskClient, media_type: str
) -> None:
    response = client.post("/api/orders", data=b'{"amounts": [1]}', content_type=media_type)
    assert response.status_code == 415


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=251", "limit=1e9", "limit=-1", "limit=", "page=2", "limit=1&limit=2"],
)
def test_a_wrong_query_is_refused_by_name(client: FlaskClient, query: str) -> None:
    response = client.get(f"/api/orders/a?{query}")
    assert response.status_code == 422
    assert response.json["details"][0].startswith(query.partition("=")[0])


def test_path_and_query_reach_the_view(client: FlaskClient) -> None:
    response = client.get("/api/orders/a/b?limit=250")
    assert (response.json["totalSum"], response.json["limit"]) == ("3", 250)


def test_an_undeclared_answer_is_a_failure_of_ours(client: FlaskClient) -> None:
    assert client.get("/api/wrong").status_code == 500


def test_the_document_tells_what_the_declarations_say(app: Flask) -> None:
    document = build_document(app)
    place = document["paths"]["/api/orders"]["post"]
    assert document["openapi"] == "3.1.0"
    assert (place["operationId"], place["summary"]) == ("placeOrder", "Order")
    assert place["description"] == "Add the amounts up."
    assert place["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }
    assert set(place["responses"]) == {
        *("200", "202", "400", "401", "403", "409", "413", "415", "429", "500", "503")
    }
    assert "Location" in place["responses"]["202"]["headers"]
    assert place["security"] == [{"operatorToken": []}, {"operatorSession": []}]


def test_the_document_lists_the_parameters(app: Flask) -> None:
    document = build_document(app)
    listed = document["paths"]["/api/orders/{name}"]["get"]
    assert [(item["name"], item["in"], item["required"]) for item in listed["parameters"]] == [
        ("name", "path", True),
        ("limit", "query", False),
        ("word", "query", False),
    ]
    assert listed["parameters"][1]["schema"]["maximum"] == 250
    assert listed["security"] == []


def test_every_reference_of_the_document_leads_somewhere(app: Flask) -> None:
    document = build_document(app)
    schemas = document["components"]["schemas"]
    references = set(find_references(document))
    assert {"#/components/schemas/Receipt", "#/components/schemas/Problem"} <= references
    assert {reference.rpartition("/")[2] for reference in references} <= set(schemas)
    assert "totalSum" in schemas["Receipt"]["properties"]


def find_references(value: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from find_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from find_references(item)

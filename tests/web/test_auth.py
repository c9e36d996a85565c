"""The doors: the operator's session and token."""

import re
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.web.auth import safe_path
from tests.web.small_app import AppFactory, small_app

TOKEN = "correct-horse-battery"


@pytest.fixture
def app() -> Flask:
    return small_app(operator_token=TOKEN)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def log_in(client: FlaskClient, token: str = TOKEN, **form: Any) -> TestResponse:
    """Fill in the form as a browser would."""
    page = client.get("/login", **_base(form))
    csrf_token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert csrf_token
    values = {"csrf_token": csrf_token[1], "token": token} | form.get("data", {})
    headers = {"Referer": "https://localhost/login"}
    return client.post("/login", data=values, headers=headers, **_base(form))


def _base(form: dict[str, Any]) -> dict[str, Any]:
    return {"base_url": form["base_url"]} if "base_url" in form else {}


def test_without_a_token_everything_is_open(make_app: AppFactory) -> None:
    client = make_app().test_client()
    assert client.get("/").status_code == 200
    assert client.post("/api/things").status_code == 200
    assert client.get("/login?next=/runs").headers["Location"] == "/runs"


@pytest.mark.parametrize(
    ("path", "location"),
    [("/", "/login"), ("/runs?status=failed&x=1", "/login?next=/runs%3Fstatus%3Dfailed%26x%3D1")],
)
def test_a_page_asks_for_the_token(client: FlaskClient, path: str, location: str) -> None:
    response = client.get(path)
    assert response.status_code == 303
    assert response.headers["Location"] == location


def test_a_fragment_sends_the_whole_page_to_the_form(client: FlaskClient) -> None:
    response = client.get("/fragments/state")
    assert response.status_code == 401
    assert response.headers["HX-Redirect"] == "/login"


@pytest.mark.parametrize(
    ("shown", "location"),
    [
        ("http://localhost/runs?status=failed", "/login?next=/runs%3Fstatus%3Dfailed"),
        ("http://localhost/", "/login"),
        ("https://elsewhere.example//elsewhere.example/x", "/login"),
        ("javascript:alert(1)", "/login"),
        ("http://[", "/login"),
    ],
)
def test_a_fragment_whose_session_ended_leads_back_to_its_page(
    client: FlaskClient, shown: str, location: str
) -> None:
    response = client.get("/fragments/state", headers={"HX-Current-URL": shown})
    assert response.headers["HX-Redirect"] == location


def test_the_right_token_opens_the_page_that_was_asked_for(client: FlaskClient) -> None:
    response = log_in(client, data={"next": "/runs?status=failed"})
    assert response.status_code == 303
    assert response.headers["Location"] == "/runs?status=failed"
    assert client.get("/runs").status_code == 200


def test_a_token_pasted_with_its_line_break_is_right(client: FlaskClient) -> None:
    assert log_in(client, f"{TOKEN}\n").status_code == 303


@pytest.mark.parametrize(
    "token", ["", "wrong", TOKEN.upper(), f"{TOKEN}x", "\u00e9\u4e2d", "x" * 8000]
)
def test_a_wrong_token_opens_nothing(client: FlaskClient, token: str) -> None:
    response = log_in(client, token)
    assert response.status_code == 403
    assert client.get("/").status_code == 303


def test_the_form_is_protected_against_other_sites(client: FlaskClient) -> None:
    assert client.post("/login", data={"token": TOKEN}).status_code == 403
    assert client.get("/").status_code == 303


def test_five_wrong_tokens_in_a_minute_shut_the_form_even_for_the_right_one(
    client: FlaskClient,
) -> None:
    for _ in range(5):
        assert log_in(client, "wrong").status_code == 403
    response = log_in(client)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60


def test_another_client_is_not_held_up(app: Flask) -> None:
    for _ in range(6):
        log_in(app.test_client(), "wrong")
    other = app.test_client()
    other.environ_base["REMOTE_ADDR"] = "127.0.0.2"
    assert log_in(other).status_code == 303


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(client: FlaskClient) -> None:
    cookie = log_in(client).headers["Set-Cookie"]
    assert cookie.startswith("tapedeck=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(client: FlaskClient) -> None:
    cookie = log_in(client, base_url="https://localhost").headers["Set-Cookie"]
    assert cookie.startswith("__Host-tapedeck=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_nothing_of_the_session_before_the_login_survives_it(client: FlaskClient) -> None:
    client.get("/login")
    with client.session_transaction() as session:
        session["planted"] = "by somebody else"
    log_in(client)
    assert client.get("/runs").text == "runs ['_permanent', 'operator']"


def test_changing_the_token_ends_every_session(client: FlaskClient) -> None:
    log_in(client)
    cookie = client.get_cookie("tapedeck")
    assert cookie
    other = small_app(operator_token="another-token").test_client()
    other.set_cookie("tapedeck", cookie.value)
    assert other.get("/").status_code == 303


@pytest.mark.parametrize(("age_days", "status"), [(6.99, 200), (7.01, 303)])
def test_a_session_ends_after_seven_days(client: FlaskClient, age_days: float, status: int) -> None:
    log_in(client)
    with client.session_transaction() as session:
        session["operator"] |= {"issued_at": int(time.time() - age_days * 86_400)}
    assert client.get("/").status_code == status


def test_a_forged_session_opens_nothing(client: FlaskClient) -> None:
    log_in(client)
    cookie = client.get_cookie("tapedeck")
    assert cookie
    client.set_cookie("tapedeck", cookie.value[:-4] + "AAAA")
    assert client.get("/").status_code == 303


def test_logging_out_ends_the_session(client: FlaskClient) -> None:
    log_in(client)
    token = client.get("/token").text
    assert client.post("/logout", data={"csrf_token": token}).status_code == 303
    assert client.get("/").status_code == 303


def test_logging_out_needs_a_form_token(client: FlaskClient) -> None:
    log_in(client)
    assert client.post("/logout").status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "runs",
        "",
    ],
)
def test_the_way_back_never_leaves_the_site(target: str) -> None:
    assert safe_path(target) == "/"


@pytest.mark.parametrize("target", ["/", "/runs?status=failed", "/markets/BTC-USD#candles"])
def test_the_way_back_is_a_path_of_the_site(target: str) -> None:
    assert safe_path(target) == target


def test_the_api_takes_the_token_as_bearer(client: FlaskClient) -> None:
    for header in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        response = client.post("/api/things", headers={"Authorization": header})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"bearer{TOKEN}",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer \u00e9\u00ff",
        "Bearer " + "x" * 8000,
        'Digest username="a',
        "\x80\xff",
    ],
)
def test_the_api_refuses_anything_else_without_stumbling(
    client: FlaskClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = client.get("/api/things", headers=headers)
    assert response.status_code == 401
    assert response.json["code"] == "unauthorized"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_token_in_the_address_opens_nothing(client: FlaskClient) -> None:
    assert client.get(f"/api/things?token={TOKEN}").status_code == 401


def test_thirty_wrong_bearers_in_a_minute_are_enough(client: FlaskClient) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [client.get("/api/things", headers=wrong).status_code for _ in range(31)]
    assert statuses == [401] * 30 + [429]


def test_a_session_reads_the_api_and_changes_it_from_the_same_origin_only(
    client: FlaskClient,
) -> None:
    log_in(client)
    assert client.get("/api/things").status_code == 200
    assert client.post("/api/things", headers={"Origin": "http://localhost"}).status_code == 200
    assert client.post("/api/things", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.post("/api/things", headers={"Sec-Fetch-Site": "none"}).status_code == 403
    assert client.post("/api/things").status_code == 403


def test_a_refused_change_of_a_page_leads_to_the_form_and_not_back(client: FlaskClient) -> None:
    page = client.get("/login").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token
    response = client.post("/", data={"csrf_token": token[1]})
    assert (response.status_code, response.headers["Location"]) == (303, "/login")

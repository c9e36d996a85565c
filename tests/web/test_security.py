"""What every request must pass and every response must carry."""

import pytest

from tests.web.small_app import AppFactory


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_change_from_our_own_pages_or_a_program_passes(
    make_app: AppFactory, headers: dict[str, str]
) -> None:
    assert make_app().test_client().post("/api/things", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://["},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_change_from_another_site_is_refused(
    make_app: AppFactory, headers: dict[str, str], method: str
) -> None:
    response = make_app().test_client().open("/api/things", method=method, headers=headers)
    assert response.status_code == 403
    assert response.json["code"] == "cross_origin"


def test_reading_from_another_site_is_harmless_and_passes(make_app: AppFactory) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert make_app().test_client().get("/api/things", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/api/things", 200), ("/nowhere", 404), ("/broken", 500), ("/api/nowhere", 404)],
)
def test_every_response_carries_the_headers(make_app: AppFactory, path: str, status: int) -> None:
    response = make_app().test_client().get(path)
    assert response.status_code == status
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'; img-src 'self' data:"
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in response.headers
    assert not [name for name in dict(response.headers) if name.startswith("Access-Control")]


def test_strict_transport_is_announced_over_https_only(make_app: AppFactory) -> None:
    response = make_app().test_client().get("/", base_url="https://localhost")
    assert response.headers["Strict-Transport-Security"].startswith("max-age=31536000")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_local_names_are_served_on_loopback(make_app: AppFactory, host: str) -> None:
    assert make_app().test_client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", "", "a b"]
)
def test_other_names_are_refused_on_loopback_and_not_repeated(
    make_app: AppFactory, host: str
) -> None:
    response = make_app().test_client().get("/", headers={"Host": host})
    assert response.status_code == 400
    assert "evil" not in response.text
    assert "Content-Security-Policy" in response.headers


def test_trusted_hosts_replace_the_local_names(make_app: AppFactory) -> None:
    client = make_app(trusted_hosts="deck.example,.inner.example").test_client()
    answers = {
        host: client.get("/", headers={"Host": host}).status_code
        for host in ("deck.example", "DECK.example:8443", "a.inner.example", "localhost")
    }
    assert list(answers.values()) == [200, 200, 200, 400]


def test_without_trusted_hosts_any_name_is_served_beyond_loopback(make_app: AppFactory) -> None:
    app = make_app(host="0.0.0.0", secret_key="k" * 32, operator_token="t" * 16)
    assert app.test_client().get("/login", headers={"Host": "any.example"}).status_code == 200


def test_forged_proxy_headers_mean_nothing_without_a_proxy(make_app: AppFactory) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    response = make_app().test_client().get("/", headers=forged)
    assert response.status_code == 200
    assert "Strict-Transport-Security" not in response.headers


def test_the_proxy_in_front_is_believed_where_one_is_declared(make_app: AppFactory) -> None:
    client = make_app(proxy_hops=1, trusted_hosts="deck.example").test_client()
    told = {"X-Forwarded-Host": "deck.example", "X-Forwarded-Proto": "https"}
    response = client.post("/api/things", headers=told | {"Origin": "https://deck.example"})
    assert response.status_code == 200
    assert "Strict-Transport-Security" in response.headers


def test_a_body_over_64_kb_is_refused(make_app: AppFactory) -> None:
    client = make_app().test_client()
    assert client.post("/api/body", data=b"x" * 65_536).json == {"length": 65_536}
    response = client.post("/api/body", data=b"x" * 65_537)
    assert response.status_code == 413
    assert response.json["code"] == "body_too_large"


@pytest.mark.parametrize("path", ["/api/runs/a%00b", "/api/things?search=%00", "/%00"])
def test_an_address_with_a_nul_is_refused(make_app: AppFactory, path: str) -> None:
    assert make_app().test_client().get(path).status_code == 400

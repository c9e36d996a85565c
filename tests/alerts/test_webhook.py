"""Sending to a real receiver: every trouble ends in time, in a word, and tells no address."""

import base64
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.alerts.webhook import Outcome, Reply, Webhook, webhook_of
from app.settings import Settings
from tests.alerts.making import KEY, NOON, webhook
from tests.alerts.verifier import verify
from tests.servers import Answer, ScriptedServer

DELIVERY = UUID(int=5)
SECRET_PATH = "/services/T0-s3cr3t-of-the-address"


def send(hook: Webhook, *, seconds: float = 5, body: bytes = b'{"a": 1}') -> Reply:
    return hook.send(DELIVERY, body, at=NOON, timeout_seconds=seconds)


def test_the_receiver_gets_the_body_and_can_verify_it(http_server: ScriptedServer) -> None:
    http_server.script("/hook", Answer(204))
    reply = send(webhook(f"{http_server.url}/hook?channel=1"))
    (request,) = http_server.requests
    assert (reply.outcome, reply.status) == (Outcome.DELIVERED, 204)
    assert (request.method, request.query_string, request.body) == (
        "POST",
        "channel=1",
        b'{"a": 1}',
    )
    secret = "whsec_" + base64.b64encode(KEY).decode()
    verify(secret, dict(request.headers.items()), request.body, now=NOON.timestamp())
    assert request.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (302, Outcome.REDIRECTED),
        (400, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (410, Outcome.GONE),
        (429, Outcome.RATE_LIMITED),
        (500, Outcome.SERVER_ERROR),
        (503, Outcome.SERVER_ERROR),
    ],
)
def test_every_status_has_its_meaning(
    http_server: ScriptedServer, status: int, outcome: Outcome
) -> None:
    http_server.script("/hook", Answer(status, "words of the receiver"))
    reply = send(webhook(f"{http_server.url}/hook"))
    assert (reply.outcome, reply.status) == (outcome, status)
    assert "words" not in reply.detail


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(http_server: ScriptedServer, status: int) -> None:
    with ScriptedServer() as elsewhere:
        elsewhere.script("/", Answer(200))
        http_server.script("/hook", Answer(status, headers={"Location": f"{elsewhere.url}/"}))
        assert send(webhook(f"{http_server.url}/hook")).outcome is Outcome.REDIRECTED
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("Fri, 20 Nov 2026 12:01:00 GMT", 60), ("-1", None), ("soon", None)],
)
def test_retry_after_is_read_in_both_spellings(
    http_server: ScriptedServer, header: str, seconds: float | None
) -> None:
    http_server.script("/hook", Answer(429, headers={"Retry-After": header}))
    assert send(webhook(f"{http_server.url}/hook")).retry_after == seconds


def test_a_receiver_that_keeps_silent_is_left_at_the_deadline(http_server: ScriptedServer) -> None:
    http_server.script("/hook", Answer(hold=threading.Event()))
    reply = send(webhook(f"{http_server.url}/hook"), seconds=0.3)
    assert (reply.outcome, reply.status) == (Outcome.TIMEOUT, None)


def test_a_receiver_that_drips_its_reply_has_taken_the_alert(http_server: ScriptedServer) -> None:
    http_server.script("/hook", Answer(200, "x" * 10_000, drip_seconds=0.01))
    assert send(webhook(f"{http_server.url}/hook")).outcome is Outcome.DELIVERED


def test_a_reply_without_end_is_not_read_to_its_end(http_server: ScriptedServer) -> None:
    http_server.script("/hook", Answer(200, b"x" * 20_000_000))
    assert send(webhook(f"{http_server.url}/hook")).outcome is Outcome.DELIVERED


def test_a_broken_connection_and_a_closed_port_are_unreachable(
    http_server: ScriptedServer,
) -> None:
    http_server.script("/hook", Answer(reset=True))
    assert send(webhook(f"{http_server.url}/hook")).outcome is Outcome.UNREACHABLE
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/hook"
    assert send(webhook(url)).outcome is Outcome.UNREACHABLE


def test_this_machine_is_refused_where_it_is_not_allowed(http_server: ScriptedServer) -> None:
    hook = Webhook(f"{http_server.url}/hook")
    assert send(hook).outcome is Outcome.ADDRESS_REFUSED
    assert http_server.requests == []


def test_the_name_is_looked_up_once_and_that_address_is_connected_to(
    http_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_server.script("/hook", Answer(200))
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "hooks.example":
            return real(host, port, *args, **options)
        asked.append(host)
        # An attacker's second answer would be another address.
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = http_server.url.rpartition(":")[2]
    assert send(webhook(f"http://hooks.example:{port}/hook")).outcome is Outcome.DELIVERED
    assert asked == ["hooks.example"]
    assert http_server.requests[0].headers["host"] == f"hooks.example:{port}"


def test_proxies_of_the_environment_are_ignored(
    http_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_server.script("/hook", Answer(200))
    with ScriptedServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(webhook(f"{http_server.url}/hook")).outcome is Outcome.DELIVERED
        assert proxy.requests == []


@pytest.mark.parametrize("answer", [Answer(500), Answer(reset=True), Answer(302), Answer(410)])
def test_no_failure_tells_the_address(
    http_server: ScriptedServer, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    caplog.set_level(logging.DEBUG)
    http_server.script(SECRET_PATH, answer)
    hook = webhook(f"{http_server.url}{SECRET_PATH}")
    reply = send(hook)
    logging.getLogger("app").warning("sent", extra={"hook": repr(hook), "said": reply.detail})
    ours = [record for record in caplog.records if record.name.startswith("app")]
    assert "s3cr3t" not in repr(hook) + reply.detail + str([vars(record) for record in ours])


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/hook", "alertmanager"),
        ("/api/v2/alerts", "alertmanager api"),
        ("/behind/a/prefix/api/v2/alerts/", "alertmanager api"),
        ("/api/v2/alerts/groups", "alertmanager"),
        ("/hook?to=/api/v2/alerts", "alertmanager"),
    ],
)
def test_alertmanagers_own_address_takes_its_own_body(path: str, form: str) -> None:
    url = f"https://hooks.example{path}"
    assert webhook(url, format_name="alertmanager").body_format == form
    assert webhook(url, format_name="slack").body_format == "slack"


def test_the_settings_make_the_receiver_and_hide_it() -> None:
    assert webhook_of(Settings()) is None
    secret = "whsec_" + base64.b64encode(KEY).decode()
    settings = Settings(
        alert_webhook_url=f"https://hooks.example{SECRET_PATH}",
        alert_webhook_secret=secret,
        alert_webhook_format="slack",
    )
    hook = webhook_of(settings)
    assert hook is not None
    assert (hook.host, hook.format_name, hook.keys) == ("hooks.example", "slack", (KEY,))
    assert (hook.reach.private, hook.reach.loopback) == (False, True)
    assert "s3cr3t" not in f"{settings!r}{hook!r}"
    assert secret not in f"{settings!r}{hook!r}"


class _Quiet(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_the_certificate_must_be_trusted_and_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), _Quiet)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(HTTPServer, "handle_error", lambda *details: None)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **kinds: real("127.0.0.1", *args, **kinds)
    )
    port = server.server_address[1]
    try:
        untrusted = send(webhook(f"https://hooks.example:{port}/"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = send(webhook(f"https://hooks.example:{port}/"))
        another_host = send(webhook(f"https://other.example:{port}/"))
    finally:
        server.shutdown()
        server.server_close()
    assert trusted.outcome is Outcome.DELIVERED
    assert {untrusted.outcome, another_host.outcome} == {Outcome.UNREACHABLE}
    assert "certificate" in untrusted.detail

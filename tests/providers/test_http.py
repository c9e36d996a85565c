"""The HTTP room against a real server: every trouble ends in time, with its class and sentence."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import tracemalloc
import zlib
from pathlib import Path

import msgspec
import pytest

from app.errors import PermanentProviderError, PlanLimitError, TransientProviderError
from app.providers.http import Request
from tests.providers.http_setup import KEY, LIST, build_client, error_of
from tests.servers import Answer, ScriptedServer

Transient, Permanent = TransientProviderError, PermanentProviderError


def gzipped(content: bytes, cut: int | None = None) -> Answer:
    return Answer(body=gzip.compress(content)[:cut], headers={"Content-Encoding": "gzip"})


def status_body(code: int, text: str) -> dict[str, object]:
    return {"status": {"error_code": code, "error_message": text}}


FAULTS = {
    "html": (Answer(body="<!DOCTYPE html>"), Transient, "sent HTML instead of JSON (HTTP 200)"),
    "empty": (Answer(body=b""), Transient, "sent an empty body"),
    "blank": (Answer(body=b" \r\n"), Transient, "sent an empty body"),
    "truncated": (
        Answer(body=b"[" + b"1," * 2838 + b"1]", truncate_to=1234),
        Transient,
        "CoinGecko's answer ended after 1,234 of 5,679 bytes",
    ),
    "cut json": (Answer(body=b"[1,2"), Transient, "JSON that cannot be read"),
    "not json": (Answer(body=b"Throttled"), Transient, "JSON that cannot be read"),
    "nan": (Answer(body=b"[NaN]"), Transient, "JSON that cannot be read"),
    "latin-1": (Answer(body='["é"]'.encode("latin-1")), Transient, "not UTF-8"),
    "object": (Answer(body=b'{"prices": []}'), Permanent, "another shape"),
    "too large": (Answer(body=b"[" + b"1," * 3_000_000 + b"1]"), Permanent, "5,000,000 bytes"),
    "reset": (Answer(reset=True), Transient, "broke the connection off"),
    "cut gzip": (gzipped(b"[1, 2, 3]", cut=-6), Transient, "ended early"),
    "no gzip": (
        Answer(body=b"[1]", headers={"Content-Encoding": "gzip"}),
        Transient,
        "could not be unpacked",
    ),
    "brotli": (
        Answer(body=b"[1]", headers={"Content-Encoding": "br"}),
        Permanent,
        "an encoding nobody asked for",
    ),
    "401": (
        Answer(401, status_body(10002, "Invalid API Key")),
        Permanent,
        "CoinGecko answered 401 (unauthorized): Invalid API Key",
    ),
    "403 html": (Answer(403, "<html>Access denied"), Permanent, "answered 403 (forbidden)"),
    "404": (Answer(404, {"error": "coin not found"}), Permanent, "(not found): coin not found"),
    "408": (Answer(408), Transient, "answered 408 (request timeout)"),
    "418 to nobody": (Answer(499), Permanent, "CoinGecko answered 499"),
    "422": (Answer(422, {"error": "Missing parameter ids"}), Permanent, "Missing parameter ids"),
    "500": (
        Answer(500, {"status": 500, "error": "Internal Server Error"}),
        Transient,
        "answered 500 (internal server error): Internal Server Error",
    ),
    "502 text": (Answer(502, "Bad Gateway"), Transient, "answered 502 (bad gateway)"),
    "429": (Answer(429, "error code: 1015"), Transient, "answered 429 (too many requests)"),
    "plan": (
        Answer(401, {"error": status_body(10012, "Your request exceeds the range.")}),
        PlanLimitError,
        "CoinGecko's plan does not include this (error 10012): Your request exceeds the range.",
    ),
    "wrong host": (
        Answer(400, {"error_code": 10011, "status": {"error_message": "Use the demo host."}}),
        Permanent,
        "CoinGecko answered 400 (bad request): Use the demo host.",
    ),
    "error in place": (
        Answer(body=status_body(403, "Temporarily unavailable.")),
        Permanent,
        "sent an error in place of the data (HTTP 200, error 403): Temporarily unavailable.",
    ),
    "rate limit in place": (
        Answer(body=status_body(429, "Slow down.")),
        Transient,
        "error 429): Slow down.",
    ),
    "plan in place": (Answer(body=status_body(10005, "Pro only.")), PlanLimitError, "Pro only."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_raised_at_once_with_its_class_and_sentence(
    fault: str, http_server: ScriptedServer
) -> None:
    answer, kind, sentence = FAULTS[fault]
    http_server.script("/list", answer)
    error = error_of(build_client(http_server.url))
    assert type(error) is kind
    assert sentence in str(error)
    assert "\n" not in str(error)
    assert len(http_server.requests) == 1


def test_depth_bomb_is_refused(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(body=b"[" * 100_000))
    client = build_client(http_server.url)
    with pytest.raises(Permanent, match="nested too deeply"):
        client.get(Request("/list", msgspec.json.Decoder(list[msgspec.Raw]).decode))
    client.close()


def test_good_answer_is_decoded_also_from_gzip_and_behind_a_byte_order_mark(
    http_server: ScriptedServer,
) -> None:
    two_members = gzip.compress(b"[1,") + gzip.compress(b"2]")
    http_server.script(
        "/list",
        Answer(body=b"\xef\xbb\xbf[1,2]"),
        Answer(body=two_members, headers={"Content-Encoding": "gzip"}),
        gzipped(b"[1,2]"),
    )
    client = build_client(http_server.url)
    assert [client.get(LIST) for _ in range(3)] == [[1, 2]] * 3
    assert http_server.requests[0].headers["x-cg-demo-api-key"] == KEY
    client.close()


def test_json_of_another_content_type_is_taken_with_a_warning(
    http_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    http_server.script("/list", Answer(body=b"[1]", headers={"Content-Type": "text/plain"}))
    client = build_client(http_server.url)
    assert client.get(LIST) == [1]
    assert "provider answer not labelled as JSON" in caplog.messages
    client.close()


def test_redirect_is_an_error_and_its_target_sees_no_connection(
    http_server: ScriptedServer,
) -> None:
    with ScriptedServer() as target:
        target.script("/list", Answer(body=b"[1]"))
        for status in (301, 302, 307, 308):
            headers = {"Location": f"{target.url}/list"}
            http_server.script("/list", Answer(status, headers=headers))
            error = error_of(build_client(http_server.url))
            assert isinstance(error, Permanent)
            assert f"answered {status}, a redirect" in str(error)
        assert target.requests == []


def test_proxies_of_the_environment_are_ignored(
    http_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    http_server.script("/list", Answer(body=b"[1]"))
    with ScriptedServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        client = build_client(http_server.url)
        assert client.get(LIST) == [1]
        assert proxy.requests == []
        client.close()


def test_refused_connection_is_transient() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = error_of(build_client(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert type(error) is Transient
    assert str(error) == "CoinGecko could not be reached (Connection refused)"


def test_unknown_host_name_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = error_of(build_client("http://provider.invalid"))
    assert type(error) is Transient
    assert str(error) == "CoinGecko's host name could not be resolved"


def test_gzip_bomb_stops_at_the_cap_with_little_memory(http_server: ScriptedServer) -> None:
    packer = zlib.compressobj(level=1, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    http_server.script("/list", Answer(body=bomb, headers={"Content-Encoding": "gzip"}))
    client = build_client(http_server.url)
    tracemalloc.start()
    error = error_of(client)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error) == "CoinGecko's answer is larger than 5,000,000 bytes"
    assert peak < 40_000_000


def test_caller_may_raise_the_cap(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(body=b"[" + b"1," * 3_000_000 + b"1]"))
    client = build_client(http_server.url)
    large = Request("/list", msgspec.json.Decoder(list[int]).decode, max_bytes=10_000_000)
    assert len(client.get(large)) == 3_000_001
    client.close()


def test_tls_handshake_with_a_plain_server_is_transient(http_server: ScriptedServer) -> None:
    error = error_of(build_client(http_server.url.replace("http:", "https:")))
    assert type(error) is Transient
    assert str(error) == "CoinGecko broke off the TLS handshake"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake() -> None:
            connection, _ = listener.accept()
            with pytest.raises(OSError), connection:  # noqa: PT011 - the client says no
                tls.wrap_socket(connection, server_side=True).recv(1)

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        error = error_of(build_client(f"https://localhost:{listener.getsockname()[1]}"))
        thread.join()
    assert type(error) is Permanent
    assert str(error).startswith("CoinGecko's certificate was not accepted: self-signed")


@pytest.mark.parametrize(
    ("coin_id", "segment"),
    [
        ("bitcoin", "bitcoin"),
        ("1move token", "1move%20token"),
        ("boringdao-[old]", "boringdao-%5Bold%5D"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("..", "%2E%2E"),
        ("_", "_"),
    ],
)
def test_ids_are_escaped_in_the_path(coin_id: str, segment: str) -> None:
    request = Request("/coins/{id}/x", bytes, values={"id": coin_id}, query={"ids": "a b,c&d"})
    assert request.target() == f"/coins/{segment}/x?ids=a%20b,c%26d"

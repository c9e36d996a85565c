"""The HTTP room against a real server: every trouble ends in time, with its class and sentence."""

import gzip
import json
import logging
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

from app.errors import (
    PermanentProviderError,
    PlanLimitError,
    ProviderError,
    RunStopped,
    TransientProviderError,
)
from app.providers.base import ProviderContext
from app.providers.http import (
    BreakerState,
    CallLimits,
    HttpClient,
    NotAsked,
    Request,
    breaker_states,
)
from app.providers.http_errors import ErrorReader
from tests.providers.coingecko_setup import QUICK, build_context
from tests.servers import Answer, ScriptedServer

KEY = "CG-secret-key"
LIST = Request("/list", msgspec.json.Decoder(list[int]).decode)
Transient, Permanent = TransientProviderError, PermanentProviderError


def build_client(
    url: str,
    context: ProviderContext | None = None,
    *,
    limits: CallLimits = QUICK,
    per_minute: int = 100_000,
    waits: bool = True,
) -> HttpClient:
    return HttpClient(
        provider="coingecko",
        base_url=url,
        context=context or build_context(),
        errors=ErrorReader("CoinGecko", [KEY], frozenset({10005, 10012})),
        requests_per_minute=per_minute,
        headers={"x-cg-demo-api-key": KEY},
        wait_out_rate_limits=waits,
        limits=limits,
    )


def error_of(client: HttpClient, request: Request[list[int]] = LIST) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        client.get(request)
    client.close()
    return caught.value


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


def test_silent_server_ends_with_the_read_timeout(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(hold=threading.Event()))
    error = error_of(build_client(http_server.url, limits=CallLimits(read_seconds=0.2)))
    assert type(error) is Transient
    assert str(error) == "CoinGecko was silent for 0.2 s"


def test_dripping_body_ends_with_the_total_time(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(body=b"[" + b" " * 10_000 + b"]", drip_seconds=0.02))
    limits = CallLimits(read_seconds=3, total_seconds=0.4)
    error = error_of(build_client(http_server.url, limits=limits))
    assert type(error) is Transient
    assert str(error) == "CoinGecko did not answer within 0.4 s"


def test_dripping_headers_end_with_the_total_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = error_of(build_client(url, limits=CallLimits(total_seconds=0.4)))
        done.set()
        thread.join()
    assert str(error) == "CoinGecko did not answer within 0.4 s"


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


def test_stop_ends_a_call_that_waits_for_its_answer(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(hold=threading.Event()))
    stop = threading.Event()
    outcomes: list[str] = []
    context = build_context(stop=stop, on_call=lambda outcome, seconds: outcomes.append(outcome))
    client = build_client(http_server.url, context, limits=CallLimits(read_seconds=60))
    presser = threading.Thread(target=lambda: (http_server.wait_for_requests(1), stop.set()))
    presser.start()
    with pytest.raises(RunStopped) as caught:
        client.get(LIST)
    presser.join()
    client.close()
    assert (caught.value.reason, outcomes) == ("cancelled", ["stopped"])


def test_stop_ends_a_wait_for_the_provider(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(429, headers={"Retry-After": "200"}))
    stop = threading.Event()
    context = build_context(stop=stop, on_call=lambda outcome, seconds: stop.set())
    client = build_client(http_server.url, context)
    with pytest.raises(RunStopped):
        client.get(LIST)
    client.close()
    assert len(http_server.requests) == 1


def test_call_never_outlives_the_deadline_of_the_run(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(hold=threading.Event()))
    error = error_of(build_client(http_server.url, build_context(seconds_left=0.3)))
    assert type(error) is Transient
    client = build_client(http_server.url, build_context(seconds_left=-1))
    assert str(error_of(client)) == "The run's time is over; CoinGecko was not asked"
    assert len(http_server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_short_retry_after_is_waited_out_twice_at_most(
    status: int, http_server: ScriptedServer
) -> None:
    busy = Answer(status, headers={"Retry-After": "0.05"})
    http_server.script("/list", busy, busy, Answer(body=b"[1]"), busy)
    client = build_client(http_server.url, build_context(seconds_left=60))
    assert client.get(LIST) == [1]
    error = error_of(client)
    assert isinstance(error, Transient)
    assert (error.status, error.retry_after) == (status, 0.05)
    assert len(http_server.requests) == 6


@pytest.mark.parametrize(
    ("value", "seconds_left", "asked"),
    [("119", 60, 119), ("999999", None, 999_999), ("400", 600, 400)],
)
def test_long_retry_after_is_handed_on_at_once(
    value: str, seconds_left: float | None, asked: float, http_server: ScriptedServer
) -> None:
    http_server.script("/list", Answer(429, headers={"Retry-After": value}))
    error = error_of(build_client(http_server.url, build_context(seconds_left=seconds_left)))
    assert isinstance(error, Transient)
    assert error.retry_after == asked
    assert str(error) == (f"CoinGecko answered 429 (too many requests) and asks to wait {asked} s")
    assert len(http_server.requests) == 1


@pytest.mark.parametrize("value", ["-1", "abc", "", "1e9", "١٢"])
def test_unreadable_retry_after_is_not_waited_for(value: str, http_server: ScriptedServer) -> None:
    header = value.encode("utf-8").decode("latin-1")
    http_server.script("/list", Answer(429, headers={"Retry-After": header}))
    error = error_of(build_client(http_server.url))
    assert isinstance(error, Transient)
    assert error.retry_after is None
    assert len(http_server.requests) == 1


def test_waiting_can_be_switched_off_and_the_provider_is_left_alone(
    http_server: ScriptedServer,
) -> None:
    http_server.script("/list", Answer(429, headers={"Retry-After": "100"}))
    first = error_of(build_client(http_server.url, waits=False))
    second = error_of(build_client(http_server.url, waits=False))
    assert (type(first), type(second)) == (Transient, NotAsked)
    assert "asked not to be called for another" in str(second)
    assert len(http_server.requests) == 1


def test_budget_is_shared_and_a_turn_too_late_is_not_taken(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(body=b"[1]"))
    context = build_context(seconds_left=30)
    clients = [build_client(http_server.url, context, per_minute=3) for _ in range(2)]
    for client in (*clients, clients[0]):
        client.get(LIST)
    errors = [error_of(client) for client in clients]
    assert {type(error) for error in errors} == {NotAsked}
    assert "budget: 3 requests a minute" in str(errors[0])
    assert len(http_server.requests) == 3


def states_of(server: ScriptedServer) -> list[BreakerState]:
    return [state for state in breaker_states() if state.base_url == server.url]


def test_breaker_opens_after_five_failed_calls_in_a_row(http_server: ScriptedServer) -> None:
    http_server.script("/list", Answer(500))
    for _ in range(5):
        error_of(build_client(http_server.url))
    refused = error_of(build_client(http_server.url))
    assert type(refused) is NotAsked
    assert "not asked after repeated failures" in str(refused)
    assert len(http_server.requests) == 5
    [state] = states_of(http_server)
    assert (state.provider, state.state, state.failures) == ("coingecko", "open", 5)


def test_refusals_of_what_was_asked_do_not_open_the_breaker(http_server: ScriptedServer) -> None:
    http_server.script("/list", *[Answer(500)] * 4, Answer(404), Answer(500))
    errors = [error_of(build_client(http_server.url)) for _ in range(6)]
    assert [error.status for error in errors] == [500, 500, 500, 500, 404, 500]
    assert states_of(http_server)[0].state == "closed"


def test_every_attempt_is_counted_and_logged_without_the_key(
    http_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"error": f"\x1b[31mKey {KEY}\u202e is\n{'x' * 300}"}
    http_server.script("/coins/a b", Answer(503, said, {"Retry-After": "0"}))
    http_server.script("/coins/a%20b", Answer(503, said, {"Retry-After": "0"}))
    outcomes: list[str] = []
    context = build_context(on_call=lambda outcome, seconds: outcomes.append(outcome))
    request = Request("/coins/{id}", LIST.decode, values={"id": "a b"}, query={"days": "2"})
    error = error_of(build_client(http_server.url, context), request)
    assert outcomes == ["server_error"] * 3
    records = [each for each in caplog.records if each.message == "provider call failed"]
    fields = [(each.provider, each.path, each.status, each.attempt) for each in records]
    assert fields == [("coingecko", "/coins/{id}", 503, number) for number in (1, 2, 3)]
    assert all(each.duration_ms >= 0 for each in records)
    assert KEY not in str(error) + json.dumps([str(each.__dict__) for each in caplog.records])
    assert str(error).startswith("CoinGecko answered 503 (service unavailable): [31mKey *** is xxx")
    assert len(str(error)) < 260


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

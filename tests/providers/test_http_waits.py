"""Deadlines, stops, Retry-After, the budget and the breaker, as one call meets them."""

import json
import logging
import socket
import threading

import pytest

from app.errors import RunStopped, TransientProviderError
from app.providers.http import BreakerState, CallLimits, NotAsked, Request, breaker_states
from tests.providers.coingecko_setup import build_context
from tests.providers.http_setup import KEY, LIST, build_client, error_of
from tests.servers import Answer, ScriptedServer

Transient = TransientProviderError


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

"""The breaker over real HTTP: after its rest one call tries, and its outcome decides."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import ProviderError, TransientProviderError
from app.providers import http_limits
from app.providers.http import NotAsked, breaker_states
from tests.providers.http_setup import LIST, build_client, error_of
from tests.servers import Answer, ScriptedServer

REST_SECONDS = 0.2


@pytest.fixture
def rested(http_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server whose breaker opened after five failures, and has had its rest."""
    monkeypatch.setattr(http_limits, "BREAKER_SECONDS", REST_SECONDS)
    http_server.script("/list", Answer(500))
    for _ in range(5):
        error_of(build_client(http_server.url))
    refused = error_of(build_client(http_server.url))
    assert isinstance(refused, NotAsked)
    assert "the last: CoinGecko answered 500" in str(refused)
    assert len(http_server.requests) == 5
    while (left := seconds_left(http_server)) > 0:
        threading.Event().wait(left)
    assert state_of(http_server) == "half_open"
    return http_server


def state_of(server: ScriptedServer) -> str:
    return next(each.state for each in breaker_states() if each.base_url == server.url)


def seconds_left(server: ScriptedServer) -> float:
    return next(each.retry_in_seconds for each in breaker_states() if each.base_url == server.url)


def test_one_call_tries_while_the_others_are_refused_and_its_success_closes(
    rested: ScriptedServer,
) -> None:
    hold = threading.Event()
    rested.script("/list", Answer(body=b"[1]", hold=hold))
    with ThreadPoolExecutor(1) as pool:
        trial = pool.submit(build_client(rested.url).get, LIST)
        rested.wait_for_requests(6)
        assert isinstance(error_of(build_client(rested.url)), NotAsked)
        hold.set()
        assert trial.result() == [1]
    assert state_of(rested) == "closed"
    assert build_client(rested.url).get(LIST) == [1]
    assert len(rested.requests) == 7


def test_a_try_that_fails_opens_it_again_at_once(rested: ScriptedServer) -> None:
    failed = error_of(build_client(rested.url))
    assert (type(failed), failed.status) == (TransientProviderError, 500)
    assert state_of(rested) == "open"
    assert isinstance(error_of(build_client(rested.url)), NotAsked)
    assert len(rested.requests) == 6


@pytest.mark.parametrize("status", [401, 404])
def test_a_try_that_is_answered_with_a_refusal_closes_it(
    rested: ScriptedServer, status: int
) -> None:
    rested.script("/list", Answer(status))
    refused: ProviderError = error_of(build_client(rested.url))
    assert refused.status == status
    assert state_of(rested) == "closed"


def test_a_try_that_is_rate_limited_is_waited_out(rested: ScriptedServer) -> None:
    rested.script("/list", Answer(429, headers={"Retry-After": "0.05"}), Answer(body=b"[1]"))
    assert build_client(rested.url).get(LIST) == [1]
    assert state_of(rested) == "closed"

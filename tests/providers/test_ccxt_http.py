"""How ccxt's requests go: through our client alone, with every refusal in its class."""

import json
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from app.domain import Granularity, MarketRequest
from app.errors import (
    PermanentProviderError,
    ProviderError,
    RunStopped,
    TransientProviderError,
)
from app.providers.ccxt import Ccxt
from app.providers.ccxt_http import Refused, UnknownSymbol
from app.providers.ccxt_package import build_exchange, exchange_names
from app.providers.http import breaker_states
from tests.providers.ccxt_setup import (
    NOW,
    SERVERS,
    Open,
    build_ccxt,
    forget_markets,
    listings_of,
    open_ccxt,
)
from tests.providers.coingecko_setup import build_context
from tests.servers import Answer, ScriptedServer

__all__ = ["forget_markets", "open_ccxt"]
HTML = "<!DOCTYPE html><title>Down for maintenance</title>"
KRAKEN, BINANCE = "/0/public/Ticker", "/api/v3/ticker/24hr"


def failure_of(
    server: ScriptedServer, answer: Answer, exchange: str = "kraken"
) -> tuple[ProviderError, str]:
    """What the call for one ticker raised, and the outcome that was counted for its call."""
    SERVERS[exchange](server)
    calls: list[str] = []
    context = build_context(now=NOW, on_call=lambda outcome, seconds: calls.append(outcome))
    provider = build_ccxt(server.url, context, exchange=exchange, wait_out_rate_limits=False)
    asked = listings_of(provider, "BTC-USD" if exchange == "kraken" else "BTC-USDT")
    server.script(KRAKEN if exchange == "kraken" else BINANCE, answer)
    with pytest.raises(ProviderError) as caught:
        provider._calls.tickers([each.provider_symbol for each in asked])
    provider.close()
    return caught.value, calls[-1]


def test_429_keeps_the_wait_that_the_exchange_asks_for(http_server: ScriptedServer) -> None:
    answer = Answer(status=429, headers={"Retry-After": "30"}, body={"code": -1003, "msg": "Slow"})
    error, outcome = failure_of(http_server, answer, "binance")
    assert isinstance(error, TransientProviderError)
    assert (error.status, error.retry_after, outcome) == (429, 30, "rate_limited")
    assert "asks to wait 30 s" in str(error)


def test_418_is_a_ban_that_ends(http_server: ScriptedServer) -> None:
    answer = Answer(status=418, headers={"Retry-After": "120"}, body={"code": -1003, "msg": "Ban"})
    error, outcome = failure_of(http_server, answer, "binance")
    assert isinstance(error, TransientProviderError)
    assert (error.status, error.retry_after, outcome) == (418, 120, "rate_limited")


@pytest.mark.parametrize("body", [HTML, {"error": ["EService:Unavailable"]}, ""])
def test_503_is_transient_whatever_comes_with_it(http_server: ScriptedServer, body: object) -> None:
    error, outcome = failure_of(http_server, Answer(status=503, body=body))
    assert isinstance(error, TransientProviderError)
    assert (error.status, outcome) == (503, "server_error")


def test_maintenance_page_in_place_of_the_data_is_transient(http_server: ScriptedServer) -> None:
    page = Answer(body=HTML, headers={"Content-Type": "text/html"})
    error, outcome = failure_of(http_server, page)
    assert isinstance(error, TransientProviderError)
    assert outcome == "bad_body"
    assert str(error) == "Kraken sent HTML instead of JSON (HTTP 200)"


@pytest.mark.parametrize(
    ("said", "kind", "outcome"),
    [
        ("EAPI:Rate limit exceeded", TransientProviderError, "rate_limited"),
        ("EService:Unavailable", TransientProviderError, "server_error"),
        ("EService:Busy", TransientProviderError, "server_error"),
        ("EQuery:Invalid asset pair", UnknownSymbol, "refused"),
        ("EQuery:Unknown asset pair", UnknownSymbol, "refused"),
        ("EGeneral:Permission denied", PermanentProviderError, "refused"),
        ("ENews:Something new", Refused, "refused"),
    ],
)
def test_an_error_that_comes_with_200_is_judged_by_what_ccxt_knows(
    http_server: ScriptedServer, said: str, kind: type[ProviderError], outcome: str
) -> None:
    error, counted = failure_of(http_server, Answer(body={"error": [said]}))
    assert type(error) is kind
    assert counted == outcome
    assert said in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(status=400, body={"code": -1121, "msg": "Invalid symbol."}), UnknownSymbol),
        (Answer(status=403, body=HTML), PermanentProviderError),
        (Answer(status=451, body={"code": 0, "msg": "Restricted."}), PermanentProviderError),
        (Answer(status=302, headers={"Location": "/elsewhere"}), PermanentProviderError),
        (Answer(body="[NaN]"), TransientProviderError),
        (Answer(body='{"a": '), TransientProviderError),
        (Answer(body=""), TransientProviderError),
        (Answer(body="7"), PermanentProviderError),
        (Answer(body="[" * 5000), PermanentProviderError),
        (Answer(reset=True), TransientProviderError),
    ],
)
def test_other_refusals_and_nonsense(
    http_server: ScriptedServer, answer: Answer, kind: type[ProviderError]
) -> None:
    error, _ = failure_of(http_server, answer, "binance")
    assert isinstance(error, kind)
    assert str(error).startswith("Binance ")
    assert all(each.path != "/elsewhere" for each in http_server.requests)


def test_a_short_wait_is_waited_out(open_ccxt: Open, http_server: ScriptedServer) -> None:
    provider = open_ccxt("kraken")
    asked = listings_of(provider, "BTC-USD")
    whole = Answer(body={"error": [], "result": {"XXBTZUSD": {"c": ["1.5", "1"]}}})
    slow = Answer(status=429, headers={"Retry-After": "0.05"}, body={})
    http_server.script(KRAKEN, slow, whole)
    assert [str(row.price) for row in provider.fetch_snapshots(asked).rows] == ["1.5"]


def test_every_attempt_is_counted_and_logged_without_its_query(
    http_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    SERVERS["kraken"](http_server)
    calls: list[str] = []
    context = build_context(now=NOW, on_call=lambda outcome, seconds: calls.append(outcome))
    provider = build_ccxt(http_server.url, context)
    with caplog.at_level("INFO", "app.providers.http"):
        provider.fetch_snapshots(listings_of(provider, "BTC-USD", "ETH-USD"))
    assert calls == ["ok"] * 3
    paths = [record.__dict__["path"] for record in caplog.records]
    assert paths == ["/0/public/Assets", "/0/public/AssetPairs", KRAKEN]
    assert [state.provider for state in breaker_states()] == ["ccxt"]
    provider.close()


def test_open_breaker_sends_nothing(open_ccxt: Open, http_server: ScriptedServer) -> None:
    provider = open_ccxt("kraken")
    asked = listings_of(provider, "BTC-USD")
    http_server.script(KRAKEN, Answer(status=500, body={}))
    for _ in range(5):
        with pytest.raises(TransientProviderError):
            provider.fetch_snapshots(asked)
    sent = len(http_server.requests)
    with pytest.raises(TransientProviderError, match="not asked after repeated failures"):
        provider.fetch_snapshots(asked)
    assert len(http_server.requests) == sent


def test_stop_ends_a_call_that_hangs(http_server: ScriptedServer) -> None:
    SERVERS["kraken"](http_server)
    stop = threading.Event()
    provider = build_ccxt(http_server.url, build_context(now=NOW, stop=stop))
    asked = listings_of(provider, "BTC-USD")

    def hang(request: object) -> Answer:
        stop.set()
        return Answer(hold=threading.Event())

    http_server.handle(KRAKEN, hang)
    with pytest.raises(RunStopped):
        provider.fetch_snapshots(asked)
    provider.close()


@pytest.mark.parametrize("exchange", SERVERS)
def test_nothing_connects_to_another_host(
    http_server: ScriptedServer,
    open_ccxt: Open,
    monkeypatch: pytest.MonkeyPatch,
    exchange: str,
) -> None:
    port = int(http_server.url.rpartition(":")[2])
    reached: set[object] = set()
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def note(self: socket.socket, address: Any) -> None:
        reached.add(address)
        connect(self, address)

    def note_name(host: str, *rest: Any, **options: Any) -> Any:
        reached.add((host, rest[0]))
        if host != "127.0.0.1":
            raise OSError("no other host is looked up")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", note)
    monkeypatch.setattr(socket, "getaddrinfo", note_name)
    provider = open_ccxt(exchange, usd_stablecoins="USDT")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    provider.fetch_snapshots(asked)
    provider.fetch_candles(asked, Granularity.HOURLY, NOW - timedelta(days=9), NOW)
    assert reached == {("127.0.0.1", port)}


def test_without_a_base_address_the_exchanges_own_is_asked_over_https() -> None:
    stop = threading.Event()
    stop.set()
    provider = build_ccxt("", build_context(now=NOW, stop=stop))
    with pytest.raises(RunStopped):
        provider.resolve_listings([MarketRequest("BTC-USD")])
    assert [key[0] for key in provider._http._clients] == ["https://api.kraken.com"]
    provider.close()


@pytest.mark.parametrize(
    ("url", "method", "body"),
    [
        ("https://api.kraken.com/0/private/AddOrder", "POST", "pair=XXBTZUSD"),
        ("http://api.kraken.com/0/public/Ticker", "GET", None),
        ("ftp://api.kraken.com/0/public/Ticker", "GET", None),
    ],
)
def test_only_get_over_https_leaves(
    open_ccxt: Open, http_server: ScriptedServer, url: str, method: str, body: str | None
) -> None:
    provider = open_ccxt("kraken")
    with pytest.raises(PermanentProviderError):
        provider._http.fetch(url, method, None, body)
    assert not http_server.requests


def test_ccxt_has_no_connections_of_its_own(open_ccxt: Open) -> None:
    exchange = open_ccxt("kraken")._exchange
    with pytest.raises(PermanentProviderError, match="by itself"):
        exchange.session.request("GET", "http://127.0.0.1:9")
    assert exchange.fetch.__func__.__module__ == "app.providers.ccxt_http"


def test_every_exchange_of_ccxt_can_be_built_without_a_request() -> None:
    assert len(exchange_names()) > 50

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is asked while an exchange is built")

    for name in sorted(exchange_names()):
        exchange = build_exchange(name, refuse)
        assert exchange.number is str
        assert not exchange.enableRateLimit
        assert not exchange.apiKey


def test_no_key_of_the_environment_reaches_an_exchange(
    open_ccxt: Open, http_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCXT_API_KEY", "never")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    provider: Ccxt = open_ccxt("kraken")
    assert provider.fetch_snapshots(listings_of(provider, "BTC-USD")).rows
    sent = json.dumps([dict(each.headers) for each in http_server.requests])
    assert "never" not in sent

"""CoinGecko's snapshots and rankings over real HTTP against a scripted server."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain import Granularity, Listing
from app.errors import (
    PermanentProviderError,
    RunStopped,
    SettingsError,
    TransientProviderError,
)
from app.providers.base import provider_class
from app.providers.coingecko import CoinGecko, CoinGeckoSettings
from app.providers.coingecko_markets import pages_by_id
from app.settings_loader import load_settings
from tests.providers.coingecko_setup import build_context, build_provider, payload
from tests.servers import Answer, ReceivedRequest, ScriptedServer

MARKETS = "/coins/markets"


def listing(coin_id: str, quote: str = "USD") -> Listing:
    return Listing("coingecko", coin_id, f"{coin_id.upper()[:8]}-{quote}", quote)


def row(coin_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": coin_id,
        "symbol": coin_id[:4],
        "name": coin_id.title(),
        "current_price": 1.5,
        "market_cap": 10,
        "last_updated": "2025-04-16T01:05:00.000Z",
        **fields,
    }


@pytest.fixture
def provider(http_server: ScriptedServer) -> Any:
    made = build_provider(http_server.url)
    yield made
    made.close()


def test_snapshot_is_exactly_what_the_row_says(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    http_server.script(MARKETS, Answer(body=payload("coingecko_markets.json")))
    asked = [listing("bitcoin"), listing("dust"), listing("bridged dust (old)[x]")]
    bitcoin, dust, bridged = provider.fetch_snapshots(asked).rows
    assert bitcoin.listing is asked[0]
    assert bitcoin.observed_at == datetime(2025, 4, 16, 1, 6, 16, 759_000, tzinfo=UTC)
    assert (bitcoin.price, bitcoin.market_cap) == (Decimal(83266), Decimal(1652026911163))
    assert str(bitcoin.roi_1h_pct) == "0.12345678901234568"
    assert (str(bitcoin.roi_24h_pct), bitcoin.roi_30d_pct) == ("-1.6953125", None)
    assert json.loads(bitcoin.raw)["id"] == "bitcoin"
    assert (dust.price, dust.roi_24h_pct) == (Decimal("2.839E-9"), Decimal("3.25"))
    assert str(dust.volume) == "0.123456789012345678901234"
    assert dust.observed_at == datetime(2025, 4, 16, 1, 6, tzinfo=UTC)
    assert (bridged.price, bridged.observed_at) == (Decimal("123.45"), None)


def test_what_validation_judges_passes_and_what_cannot_be_read_is_rejected_alone(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    http_server.script(MARKETS, Answer(body=payload("coingecko_markets.json")))
    ids = ["nothing", "below", "broken", "old-timer", "gone"]
    batch = provider.fetch_snapshots([listing(coin_id) for coin_id in ids])
    prices = {each.listing.provider_id: each.price for each in batch.rows}
    assert prices == {"old-timer": Decimal("0.5"), "nothing": None, "below": Decimal("-1.25")}
    [rejected] = batch.rejected
    assert (rejected.kind, rejected.reason) == ("snapshot", "not_a_number")
    assert (rejected.symbol, rejected.provider_id) == ("BROKEN-USD", "broken")
    assert rejected.detail == 'The price is "1,234.5", which is not a number.'
    assert '"current_price": "1,234.5"' in rejected.raw
    [problem] = batch.problems
    assert (problem.symbol, problem.error_class) == ("GONE-USD", "NotFound")
    assert problem.message == "CoinGecko has no market with the id 'gone' in USD."


def test_same_id_twice_is_kept_twice_and_strangers_are_ignored(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    rows = [row("a", current_price=1), row("stranger"), row("a", current_price=2), "junk"]
    http_server.script(MARKETS, Answer(body=rows))
    batch = provider.fetch_snapshots([listing("a")])
    assert [each.price for each in batch.rows] == [1, 2]
    assert [each.reason for each in batch.rejected] == ["bad_shape"]


def test_ids_are_asked_by_currency_in_pages_of_250_with_short_addresses(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    def answer(request: ReceivedRequest) -> Answer:
        return Answer(body=[row(coin_id) for coin_id in request.query["ids"].split(",")])

    http_server.handle(MARKETS, answer)
    ids = [f"coin [{number}] ü" for number in range(300)]
    asked = [listing(coin_id) for coin_id in ids] + [listing(ids[0], "EUR")]
    batch = provider.fetch_snapshots(asked)
    assert {each.listing.key for each in batch.rows} == {each.key for each in asked}
    assert not batch.problems
    queries = [request.query for request in http_server.requests]
    assert sorted({query["vs_currency"] for query in queries}) == ["eur", "usd"]
    assert all(query["per_page"] == "250" for query in queries)
    assert all(query["precision"] == "full" for query in queries)
    assert all(query["price_change_percentage"] == "1h,24h,7d,30d" for query in queries)
    assert max(len(request.query_string) for request in http_server.requests) < 6_000
    assert len(queries) == 3


def test_page_holds_250_ids_at_most() -> None:
    pages = pages_by_id([listing(str(number)) for number in range(501)])
    assert [len(page.listings) for page in pages] == [250, 250, 1]


def test_failed_page_costs_only_its_own_markets(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    def answer(request: ReceivedRequest) -> Answer:
        is_euro = request.query["vs_currency"] == "eur"
        return Answer(500) if is_euro else Answer(body=[row("a")])

    http_server.handle(MARKETS, answer)
    batch = provider.fetch_snapshots([listing("a"), listing("a", "EUR")])
    assert [each.listing.quote for each in batch.rows] == ["USD"]
    [problem] = batch.problems
    assert (problem.symbol, problem.error_class) == ("A-EUR", "TransientProviderError")


def test_nothing_at_all_is_an_error(http_server: ScriptedServer, provider: CoinGecko) -> None:
    http_server.script(MARKETS, Answer(500))
    with pytest.raises(TransientProviderError, match="answered 500"):
        provider.fetch_snapshots([listing("a"), listing("a", "EUR")])
    http_server.script(MARKETS, Answer(body=[]))
    with pytest.raises(TransientProviderError, match="an empty list of markets"):
        provider.fetch_ranked(10, "USD")
    with pytest.raises(PermanentProviderError, match="no prices in USDT"):
        provider.fetch_ranked(10, "USDT")


def test_stop_ends_pages_side_by_side(http_server: ScriptedServer) -> None:
    http_server.script(MARKETS, Answer(429, headers={"Retry-After": "100"}))
    context = build_context(on_call=lambda outcome, seconds: context.stop.set())
    provider = build_provider(http_server.url, context)
    with pytest.raises(RunStopped):
        provider.fetch_ranked(2_000, "USD")
    provider.close()


def test_ranking_of_one_page_asks_for_just_that_many(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    http_server.script(MARKETS, Answer(body=payload("coingecko_markets.json")))
    ranked = provider.fetch_ranked(6, "USD")
    query = http_server.requests[0].query
    assert (query["order"], query["per_page"]) == ("market_cap_desc", "6")
    assert "ids" not in query
    assert [each.rank for each in ranked.listings] == [1, 2, 3, 5, None, None]
    assert {each.chosen_by for each in ranked.listings} == {"discovered"}
    dust = ranked.listings[2]
    assert (dust.name, dust.provider_symbol, dust.symbol) == (
        "\u200b\u200bDust",
        "DUST",
        "DUST-USD",
    )
    assert [each.symbol for each in ranked.listings if each.provider_id == "below"] == ["BELOW-USD"]
    assert len(ranked.snapshots.rows) == 6
    assert not ranked.snapshots.problems


def test_ranking_of_several_pages_is_trimmed_and_names_lost_ranks(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    def answer(request: ReceivedRequest) -> Answer:
        page = int(request.query["page"])
        rows = [row(f"p{page}-{number}") for number in range(250)]
        return Answer(404) if page == 2 else Answer(body=rows)

    http_server.handle(MARKETS, answer)
    ranked = provider.fetch_ranked(501, "EUR")
    assert len(ranked.listings) == 500
    [problem] = ranked.snapshots.problems
    assert problem.symbol == "top:501"
    assert problem.message.startswith("Ranks 251 to 500 are missing: CoinGecko answered 404")
    http_server.script(MARKETS, Answer(body=[row(f"x{n}") for n in range(250)]))
    assert len(provider.fetch_ranked(251, "EUR").snapshots.rows) == 251


def test_ranking_that_is_too_short_says_so(
    http_server: ScriptedServer, provider: CoinGecko
) -> None:
    http_server.script(MARKETS, Answer(body=[row("a"), row("a"), row("b", current_price=True)]))
    ranked = provider.fetch_ranked(5, "USD")
    assert [each.provider_id for each in ranked.listings] == ["a"]
    assert len(ranked.snapshots.rows) == 2
    assert [each.provider_id for each in ranked.snapshots.rejected] == ["b"]
    [problem] = ranked.snapshots.problems
    assert (problem.error_class, "3 of the 5" in problem.message) == ("ShortAnswer", True)


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"api_key": "K1"}, "x-cg-demo-api-key"),
        ({"api_key": "K1", "plan": "pro"}, "x-cg-pro-api-key"),
        ({"api_key": "K1", "plan": "keyless"}, None),
    ],
)
def test_key_travels_in_the_header_of_its_plan_only(
    settings: dict[str, str], header: str | None, http_server: ScriptedServer
) -> None:
    http_server.script(MARKETS, Answer(body=[row("a")]))
    provider = build_provider(http_server.url, **settings)
    provider.fetch_snapshots([listing("a")])
    provider.close()
    request = http_server.requests[0]
    sent = {name: value for name, value in request.headers.items() if name.startswith("x-cg-")}
    assert sent == ({header: "K1"} if header else {})
    assert "K1" not in request.query_string


@pytest.mark.parametrize(
    ("settings", "figures"),
    [
        ({}, ("https://api.coingecko.com/api/v3", 5, 5, 365)),
        ({"api_key": "k"}, ("https://api.coingecko.com/api/v3", 25, 20, 365)),
        (
            {"api_key": "k", "plan": "PRO"},
            ("https://pro-api.coingecko.com/api/v3", 250, 100, 3650),
        ),
    ],
)
def test_defaults_follow_the_plan(
    settings: dict[str, str], figures: tuple[str, float, int, int]
) -> None:
    chosen = CoinGeckoSettings(**settings)
    capabilities = CoinGecko(chosen, build_context()).capabilities
    assert figures == (
        chosen.base_url,
        capabilities.requests_per_minute,
        capabilities.candle_calls_per_run,
        capabilities.history_days,
    )
    assert capabilities.granularities == {Granularity.HOURLY, Granularity.DAILY}


def test_history_can_be_switched_off() -> None:
    settings = CoinGeckoSettings(history_markets_per_run=0)
    capabilities = CoinGecko(settings, build_context()).capabilities
    assert (capabilities.history_days, capabilities.granularities) == (0, frozenset())


@pytest.mark.parametrize(
    ("variable", "text", "part"),
    [
        ("PLAN", "gold", "keyless, demo or pro"),
        ("PLAN", "pro", "needs a key in COINGECKO_API_KEY"),
        ("BASE_URL", "http://example.org", "http is for this machine only"),
        ("BASE_URL", "https://user:hidden@example.org", "more than host, port and path"),
        ("BASE_URL", "https://example.org/?key=hidden", "more than host, port and path"),
        ("BASE_URL", "ftp://example.org", "not an address"),
        ("BASE_URL", "https://", "not an address"),
        ("REQUESTS_PER_MINUTE", "0", "1 to 100000"),
        ("HISTORY_MARKETS_PER_RUN", "-1", "0 to 10000"),
        ("API_KEY", "hidden key", "visible ASCII"),
    ],
)
def test_wrong_settings_are_refused_by_name(
    variable: str, text: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"COINGECKO_{variable}", text)
    with pytest.raises(SettingsError) as caught:
        load_settings({"coingecko": CoinGeckoSettings}, env_file=None)
    assert f"COINGECKO_{variable} is " in str(caught.value)
    assert part in str(caught.value)
    assert "hidden key" not in str(caught.value)


def test_provider_is_known_by_its_name() -> None:
    assert provider_class("coingecko") is CoinGecko
    assert CoinGecko.Settings is CoinGeckoSettings

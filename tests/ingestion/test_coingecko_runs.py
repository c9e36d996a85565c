"""Runs over CoinGecko's own shape of rows: every odd row of the world, alone among good ones."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.domain import RunStatus
from tests.ingestion.exchange import Deck, coingecko_deck, page, row, with_price
from tests.servers import Answer

D = Decimal
REFUSED = {
    "NaN": "bad_shape",
    "-Infinity": "bad_shape",
    "0": "price_not_positive",
    "-1.5": "price_not_positive",
    "-0.0": "price_not_positive",
    "null": "price_missing",
    '""': "not_a_number",
    '"1,234.5"': "not_a_number",
    '"0x1F"': "not_a_number",
    '" 1.5 "': "not_a_number",
    "true": "not_a_number",
    "1e400": "price_out_of_range",
    "1e99999": "number_out_of_range",
    "1" * 40: "price_out_of_range",
    "1" * 5000: "number_too_long",
    "[1]": "not_a_number",
    '{"usd": 1}': "not_a_number",
    '"١٢٣"': "not_a_number",
    '"１２３"': "not_a_number",
}
ACCEPTED = {
    '"123.45"': "123.45",
    "2.839e-09": "2.839e-09",
    "1E-400": "1E-400",
    "1e-19": "1e-19",
    "0.123456789012345678901234567890": "0.123456789012345678901234567890",
    "205378": "205378",
    "9.99e29": "9.99e29",
}
TIMES = {
    '"2026-03-04T10:26:00Z"': "time_in_future",
    '"2026-01-04T10:00:00Z"': "time_too_old",
    "1772619600000": "bad_shape",
    "1772619600000000": "bad_shape",
    '"2026-03-04T10:00:00"': "bad_time",
    "0": "bad_shape",
    "-1": "bad_shape",
    "true": "bad_shape",
    '"NaN"': "bad_time",
    '"2026-02-30T10:00:00Z"': "bad_time",
    '"+58000-01-01T00:00:00Z"': "bad_time",
    '"9999-12-31T23:59:59-12:00"': "bad_time",
}
GOOD_TIMES = {
    '"2026-03-04T15:50:00+05:30"': ("2026-03-04 10:20:00", []),
    '"2026-03-04T10:23:00Z"': ("2026-03-04 10:20:00", ["time_clamped"]),
    '"2026-02-28T23:59:60Z"': ("2026-03-01 00:00:00", ["stale"]),
    "null": ("2026-03-04 10:20:00", ["time_local"]),
    '"2026-02-04T10:20:00Z"': ("2026-02-04 10:20:00", ["stale"]),
}


@pytest.fixture
def deck(database_url: str) -> Iterator[Deck]:
    """The ten largest coins are followed."""
    with coingecko_deck(database_url, markets="top:60") as deck:
        yield deck


def with_time(text: str, coin_id: str) -> str:
    """A row whose time is this JSON text."""
    return json.dumps(row(coin_id, last_updated=None)).replace(
        '"last_updated": null', f'"last_updated": {text}'
    )


def reasons(deck: Deck, run_id: str) -> dict[str, str]:
    """The reason of each rejected row by the provider's id."""
    found = deck.client.get(f"/api/runs/{run_id}").get_json()["rejectedRows"]
    return {each["providerId"]: each["reason"] for each in found}


def test_each_bad_price_is_set_aside_alone_and_each_good_one_stored_exactly(deck: Deck) -> None:
    bad = {f"bad-{n}": text for n, text in enumerate(REFUSED)}
    good = {f"good-{n}": text for n, text in enumerate(ACCEPTED)}
    rows = [with_price(text, coin_id) for coin_id, text in {**bad, **good}.items()]
    # What is no JSON at all spoils the whole answer, not a row.
    detail = deck.ingest(page(*rows[2:]))
    assert detail.run.status is RunStatus.PARTIAL
    expected = {coin_id: REFUSED[text] for coin_id, text in bad.items()}
    expected = {key: value for key, value in expected.items() if key not in ("bad-0", "bad-1")}
    assert reasons(deck, detail.run.id) == expected
    stored = dict(deck.rows(
        "SELECT l.provider_id, s.price FROM market_snapshot s "
        "JOIN listing l ON l.market_id = s.market_id"
    ))  # fmt: skip
    assert stored == {coin_id: D(ACCEPTED[text]) for coin_id, text in good.items()}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "0x1F", "01", "1.", ".5", "+1"])
def test_a_price_that_json_does_not_know_fails_the_answer_or_its_row(deck: Deck, text: str) -> None:
    detail = deck.ingest(page(row("other"), with_price(text)))
    assert detail.run.status in (RunStatus.FAILED, RunStatus.PARTIAL)
    assert deck.rows("SELECT count(*) FROM listing WHERE provider_id = 'bitcoin'") in ([0], [1])
    assert deck.rows(
        "SELECT count(*) FROM market_snapshot s JOIN listing l ON l.market_id = s.market_id "
        "WHERE l.provider_id = 'bitcoin'"
    ) == [0]


def test_each_bad_time_is_set_aside_alone(deck: Deck) -> None:
    bad = {f"bad-{n}": text for n, text in enumerate(TIMES)}
    rows = [with_time(text, coin_id) for coin_id, text in bad.items()]
    detail = deck.ingest(page(row(), *rows))
    assert reasons(deck, detail.run.id) == {key: TIMES[text] for key, text in bad.items()}
    assert detail.run.snapshots_ingested == 1


def test_each_good_time_is_stored_in_utc_with_its_flags(deck: Deck) -> None:
    good = {f"good-{n}": text for n, text in enumerate(GOOD_TIMES)}
    deck.ingest(page(*(with_time(text, coin_id) for coin_id, text in good.items())))
    stored = deck.rows(
        "SELECT l.provider_id, to_char(s.observed_at AT TIME ZONE 'UTC', "
        "'YYYY-MM-DD HH24:MI:SS'), s.flags FROM market_snapshot s "
        "JOIN listing l ON l.market_id = s.market_id"
    )
    assert {row[0]: row[1:] for row in stored} == {
        coin_id: GOOD_TIMES[text] for coin_id, text in good.items()
    }


@pytest.mark.parametrize(
    ("values", "volume", "cap"),
    [
        ({"total_volume": -1}, None, D(10)),
        ({"total_volume": None, "market_cap": None}, None, None),
        ({"market_cap": 1e18, "total_volume": 0}, D(0), D("1e18")),
    ],
)
def test_a_bad_amount_goes_and_the_price_stays(
    deck: Deck, values: dict[str, Any], volume: Decimal | None, cap: Decimal | None
) -> None:
    deck.ingest(page(row(**({"market_cap": 10} | values))))
    assert deck.rows("SELECT volume, market_cap FROM market_snapshot") == [(volume, cap)]


def test_texts_that_postgresql_cannot_take_cost_at_most_their_row(deck: Deck) -> None:
    rows = [
        json.dumps(row("nul-name", name="A\0B", symbol="n\0")),
        json.dumps(row("nul\0id")),
        json.dumps(row("nul\0bad", current_price="x\0")),
        json.dumps(row("long", name="x" * 10_000, symbol="y" * 300)),
        json.dumps(row("zero-width", name="\u200b\u200bStable", symbol="\u200b")),
        json.dumps(row("i" * 5000)),
    ]
    detail = deck.ingest(page(*rows))
    assert detail.run.status is RunStatus.PARTIAL
    assert set(deck.rows("SELECT name FROM market")) == {"AB", "x" * 100, "Stable"}
    assert {each.reason for each in detail.rejected} == {"bad_id", "not_a_number"}
    shown = deck.client.get("/").text
    assert "Stable" in shown
    assert "\u200b" not in shown


def test_half_a_surrogate_pair_in_a_name_is_replaced(deck: Deck) -> None:
    names = {"half": "A\\ud800B", "pair": "\\ud83d\\ude00", "text": "\\\\ud800"}
    rows = [
        json.dumps(row(coin_id, symbol=coin_id)).replace('"Bitcoin"', f'"{name}"')
        for coin_id, name in names.items()
    ]
    detail = deck.ingest(page(*rows))
    assert detail.run.snapshots_ingested == 3
    stored = deck.rows("SELECT provider_id, name FROM listing ORDER BY 1")
    assert stored == [("half", "A\ufffdB"), ("pair", "😀"), ("text", "\\ud800")]


def test_the_same_coin_twice_on_a_page_is_one_snapshot(deck: Deck) -> None:
    detail = deck.ingest(page(row(), row()))
    assert (detail.run.snapshots_ingested, detail.run.markets_ingested) == (1, 1)
    assert deck.rows("SELECT flags FROM market_snapshot") == [[]]


def test_a_short_page_is_stored_and_the_run_is_partial(deck: Deck) -> None:
    detail = deck.ingest(page(*(row(f"coin-{n}", symbol=f"c{n}") for n in range(10))))
    assert detail.run.status is RunStatus.PARTIAL
    assert detail.run.snapshots_ingested == 10
    assert detail.run.markets_requested == 60
    assert [problem.message for problem in detail.run.problems] == [
        "CoinGecko sent only 10 of the 60 largest markets"
    ]


def test_a_renamed_coin_is_found_by_both_symbols(deck: Deck) -> None:
    deck.ingest(page(row("render-token", symbol="rndr", name="Render")))
    deck.ingest(page(row("render-token", symbol="render", name="Render")))
    for search in ("RNDR", "rndr-usd", "render"):
        found = deck.client.get("/api/markets", query_string={"search": search}).get_json()
        assert [each["symbol"] for each in found["markets"]] == ["RENDER-USD"]
    assert deck.client.get("/api/markets/RNDR-USD").get_json()["market"]["symbol"] == "RENDER-USD"
    assert "RENDER-USD" in deck.client.get("/?search=rndr").text


def test_two_coins_of_one_symbol_are_both_shown(deck: Deck) -> None:
    deck.ingest(page(row("solana", symbol="sol"), row("wrapped-solana", symbol="sol")))
    shown = deck.client.get("/api/snapshots/latest").get_json()["snapshots"]
    assert {each["symbol"] for each in shown} == {"SOL-USD", "SOL.WRAPPED-SOLANA-USD"}
    text = deck.client.get("/markets").text
    assert "SOL.WRAPPED-SOLANA-USD" in text


def test_tiny_prices_and_huge_caps_are_shown_without_exponent(deck: Deck) -> None:
    deck.ingest(page(row(current_price=2.8e-09, market_cap=10**18, total_volume=1.56e17)))
    (shown,) = deck.client.get("/api/snapshots/latest").get_json()["snapshots"]
    assert shown["price"] == "0.0000000028"
    assert (shown["marketCap"], shown["volume"]) == ("1000000000000000000", "156000000000000000")
    assert "e-09" not in deck.client.get("/").text.lower()


def test_a_price_beyond_every_float_is_shown_on_every_page(deck: Deck) -> None:
    deck.ingest(page(with_price("1E-400"), with_price("9.99e29", "big")))
    symbols = deck.rows("SELECT symbol FROM market")
    addresses = ["/", "/markets", "/api/snapshots/latest", "/api/markets", "/api/metrics"]
    addresses += [f"/{kind}/{symbol}" for kind in ("markets", "api/markets") for symbol in symbols]
    answers = {address: deck.client.get(address).status_code for address in addresses}
    assert set(answers.values()) == {200}


def test_an_index_is_not_taken_for_a_token(database_url: str) -> None:
    with coingecko_deck(database_url, markets="BTC-USD=bitcoin,SPX") as deck:
        detail = deck.ingest(page(row()))
        assert detail.run.status is RunStatus.PARTIAL
        assert (detail.run.markets_requested, detail.run.markets_ingested) == (2, 1)
        (problem,) = detail.run.problems
        assert problem.symbol == "SPX"
        assert "SPX is an index or share; CoinGecko lists only cryptocurrencies" in problem.message
        assert "SPX is an index or share" in deck.client.get(f"/runs/{detail.run.id}").text


def test_a_pinned_id_wins_and_a_resolved_one_stays(database_url: str) -> None:
    coins = [{"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}]
    with coingecko_deck(database_url, markets="BTC-USD,SPX=spx6900") as deck:
        deck.server.script("/coins/list", Answer(body=coins))
        answer = page(row(), row("spx6900", symbol="spx", name="SPX6900"))
        assert deck.ingest(answer).run.status is RunStatus.SUCCEEDED
        # Whatever the list says later, the choice stands and the list is not asked again.
        deck.server.script("/coins/list", Answer(body=[{**coins[0], "id": "other"}]))
        assert deck.ingest(answer).run.status is RunStatus.SUCCEEDED
        lists = [each for each in deck.server.requests if each.path == "/coins/list"]
        assert len(lists) == 1
        chosen = deck.rows("SELECT provider_id, chosen_by FROM listing ORDER BY 1")
    assert chosen == [("bitcoin", "resolved"), ("spx6900", "pinned")]


def test_a_coin_that_leaves_the_ranking_is_no_error_and_no_zero(deck: Deck) -> None:
    coins = [row(f"coin-{n}", symbol=f"c{n}", market_cap_rank=n + 1) for n in range(60)]
    deck.ingest(page(*coins))
    coins[59] = row("newcomer", symbol="new", market_cap_rank=60)
    detail = deck.ingest(page(*coins))
    assert detail.run.status is RunStatus.SUCCEEDED
    assert deck.rows("SELECT count(*) FROM market") == [61]
    assert "60 markets" in deck.client.get("/").text

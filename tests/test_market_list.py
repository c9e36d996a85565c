"""How market lists and pairs are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import MarketRequest
from app.market_list import MarketSelection, parse_markets, parse_pairs, parse_symbol

SYMBOLS = st.from_regex(r"[A-Z0-9][A-Z0-9._-]{0,20}[A-Z0-9]", fullmatch=True)
IDS = st.from_regex(r"[a-z0-9][a-z0-9 =:_-]{0,20}[a-z0-9]", fullmatch=True)


def test_a_list_holds_symbols_pinned_ids_and_one_top() -> None:
    selection = parse_markets(" btc-usd , ETH-USD = ethereum,SPX,, top:100 ")
    assert selection == MarketSelection(
        (MarketRequest("BTC-USD"), MarketRequest("ETH-USD", "ethereum"), MarketRequest("SPX")), 100
    )
    assert str(selection) == "BTC-USD,ETH-USD=ethereum,SPX,top:100"


def test_a_market_named_twice_counts_once() -> None:
    selection = parse_markets("SPX,BTC-USD=x,spx,btc-usd=x")
    assert [request.symbol for request in selection.requests] == ["SPX", "BTC-USD"]


def test_top_alone_is_a_selection() -> None:
    assert parse_markets("TOP:1") == MarketSelection((), 1)
    assert parse_markets("top:10000").top == 10_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it names no market"),
        (" , ,", "it names no market"),
        ("BTC USD", "'BTC USD' is not a market symbol"),
        ("-USD", "is not a market symbol"),
        ("BTC-", "is not a market symbol"),
        ("ＢＴＣ-USD", "is not a market symbol"),
        ("BTC-USD;x", "is not a market symbol"),
        ("A" * 81, "is not a market symbol"),
        ('["BTC-USD"]', "is not a market symbol"),
        ("=bitcoin", "is not a market symbol"),
        ("BTC-USD=", "pins no id"),
        ("BTC-USD=bit\x00coin", "pins no id"),
        ("BTC-USD=bit\u202ecoin", "pins no id"),
        ("BTC-USD=" + "x" * 101, "pins no id"),
        ("BTC-USD,BTC-USD=bitcoin", "BTC-USD is there twice with different ids"),
        ("top:5,top:6", "top:N may stand there once"),
        ("top:0", "needs a number from 1 to 10000"),
        ("top:10001", "needs a number from 1 to 10000"),
        ("top:-1", "needs a number from 1 to 10000"),
        ("top:", "needs a number from 1 to 10000"),
        ("top:５", "needs a number from 1 to 10000"),
        ("top:" + "9" * 5000, "needs a number from 1 to 10000"),
    ],
)
def test_a_bad_list_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_markets(text)
    assert len(str(caught.value)) < 120


@given(st.dictionaries(SYMBOLS, st.none() | IDS, max_size=8), st.integers(0, 10_000))
def test_a_written_selection_reads_back_the_same(markets: dict[str, str | None], top: int) -> None:
    requests = tuple(MarketRequest(symbol, pinned) for symbol, pinned in markets.items())
    if not requests and not top:
        return
    selection = MarketSelection(requests, top)
    assert parse_markets(str(selection)) == selection


@given(st.text(max_size=60))
def test_any_text_is_either_a_selection_or_a_value_error(text: str) -> None:
    try:
        selection = parse_markets(text)
    except ValueError:
        return
    assert selection.requests or selection.top
    assert all(parse_symbol(request.symbol) == request.symbol for request in selection.requests)


def test_pairs_are_read_in_order_and_once() -> None:
    pairs = parse_pairs("eth-usd/BTC-USD, SPX / BTC-USD,ETH-USD/BTC-USD,")
    assert pairs == (("ETH-USD", "BTC-USD"), ("SPX", "BTC-USD"))
    assert parse_pairs("") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("BTC-USD", "'BTC-USD' is not a pair"),
        ("BTC-USD/btc-usd", "compares a market with itself"),
        ("BTC-USD/", "'' is not a market symbol"),
        ("A/B/C", "'B/C' is not a market symbol"),
    ],
)
def test_a_bad_pair_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_pairs(text)


def test_the_parts_of_a_symbol_are_told_apart() -> None:
    assert (MarketRequest("BTC-USD").base, MarketRequest("BTC-USD").quote) == ("BTC", "USD")
    assert MarketRequest("WBTC-E-EUR").quote == "EUR"
    assert MarketRequest("SPX").is_bare
    assert MarketRequest("SPX").quote == "USD"

"""Markets and listings: identity, renaming, pins, and names that the world sends."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain import Listing
from app.ingestion.listings import clean_name, pick_symbol
from tests.ingestion.making import NOW, Script, Tape, build_listing, build_snapshot

LISTED = """
    SELECT m.symbol, l.provider_id, l.chosen_by FROM listing l JOIN market m ON m.id = l.market_id
    ORDER BY m.symbol
"""
NAMES = "SELECT symbol, name, former_symbols FROM market ORDER BY id"
HOUR = timedelta(hours=1)


def coin(provider_id: str, symbol: str, **values: object) -> Listing:
    """A coin of a ranking."""
    return build_listing(f"{symbol}-USD", provider_id, chosen_by="discovered", **values)


def ranking(*coins: Listing, price: str = "5", hours: int = 0) -> Script:
    """A ranking with a snapshot of each."""
    at = NOW + hours * HOUR
    return Script([build_snapshot(price, at=at, listing=each) for each in coins], ranked=coins)


def test_a_renamed_coin_keeps_its_market_and_history(tape: Tape) -> None:
    tape.run(ranking(coin("render-token", "RNDR", name="Render")), markets="top:1")
    later = ranking(coin("render-token", "RENDER", name="Render Network"), hours=1)
    tape.run(later, now=NOW + HOUR, markets="top:1")
    assert tape.rows(NAMES) == [("RENDER-USD", "Render Network", ["RNDR-USD"])]
    assert tape.rows("SELECT DISTINCT market_id FROM market_snapshot") == [1]
    assert tape.count("market_snapshot") == 2


def test_a_coin_that_takes_its_old_symbol_back_has_no_alias_of_its_own_name(tape: Tape) -> None:
    for hours, symbol in enumerate(("RNDR", "RENDER", "RNDR")):
        script = ranking(coin("render-token", symbol), hours=hours)
        tape.run(script, now=NOW + hours * HOUR, markets="top:1")
    assert tape.rows("SELECT symbol, former_symbols FROM market") == [("RNDR-USD", ["RENDER-USD"])]


def test_coins_that_swap_their_symbols_stay_apart(tape: Tape) -> None:
    tape.run(ranking(coin("one", "AAA"), coin("two", "BBB")), markets="top:2")
    swapped = ranking(coin("one", "BBB"), coin("two", "AAA"), hours=1)
    for hours in (1, 2):
        tape.run(swapped, now=NOW + hours * HOUR, markets="top:2")
    listed = {provider_id: symbol for symbol, provider_id, _ in tape.rows(LISTED)}
    assert listed == {"one": "BBB.ONE-USD", "two": "AAA.TWO-USD"}
    assert tape.rows("SELECT count(DISTINCT market_id) FROM market_snapshot") == [2]


def test_two_coins_with_one_symbol_are_two_markets(tape: Tape) -> None:
    script = ranking(coin("solana", "SOL", rank=1), coin("wrapped-solana", "SOL", rank=2))
    report = tape.run(script, markets="top:2")
    assert [row[:2] for row in tape.rows(LISTED)] == [
        ("SOL-USD", "solana"),
        ("SOL.WRAPPED-SOLANA-USD", "wrapped-solana"),
    ]
    assert (report.markets_ingested, report.ingested["snapshots"]) == (2, 2)


def test_each_of_two_coins_with_one_symbol_is_compared_with_the_first_market(tape: Tape) -> None:
    coins = [coin("bitcoin", "BTC"), coin("solana", "SOL"), coin("wrapped-solana", "SOL")]
    tape.run(ranking(*coins), markets="top:3")
    pairs = "SELECT market_id, against_market_id FROM market_comparison ORDER BY 1"
    assert tape.rows(pairs) == [(2, 1), (3, 1)]


def test_a_pinned_id_wins_over_the_symbol(tape: Tape) -> None:
    tape.run([build_snapshot(listing=build_listing(provider_id="wrapped-bitcoin"))],
             markets="BTC-USD=wrapped-bitcoin")  # fmt: skip
    assert tape.rows(LISTED) == [("BTC-USD", "wrapped-bitcoin", "pinned")]


def test_a_resolved_listing_never_changes_by_itself(tape: Tape) -> None:
    tape.run([build_snapshot(listing=build_listing(provider_id="bitcoin-one"))],
             markets="BTC-USD=bitcoin-one")  # fmt: skip
    # Left to itself, the provider would choose btc-usd now.
    tape.run([build_snapshot(listing=build_listing(provider_id="bitcoin-one"))])
    assert tape.rows(LISTED) == [("BTC-USD", "bitcoin-one", "pinned")]


def test_changing_the_pin_changes_the_listing_and_asks_for_its_history(tape: Tape) -> None:
    tape.run([build_snapshot()], lookback_days=2)
    assert tape.rows("SELECT history_from IS NULL FROM listing") == [False]
    other = build_listing(provider_id="other-bitcoin")
    tape.run([build_snapshot(listing=other)], markets="BTC-USD=other-bitcoin")
    assert tape.rows(LISTED) == [("BTC-USD", "other-bitcoin", "pinned")]
    assert tape.rows("SELECT history_from IS NULL FROM listing") == [True]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_pin_takes_its_symbol_from_a_coin_of_the_ranking(tape: Tape, is_known: bool) -> None:
    bitcoin, script = coin("bitcoin", "BTC", rank=1), Script()
    if is_known:
        tape.run(ranking(bitcoin), markets="top:1")
    pinned = build_snapshot("4", listing=build_listing(provider_id="obscure"))
    script = Script([build_snapshot(listing=bitcoin), pinned], ranked=[bitcoin])
    report = tape.run(script, markets="top:1,BTC-USD=obscure")
    assert report.markets_ingested == 2
    assert tape.rows(LISTED) == [
        ("BTC-USD", "obscure", "pinned"),
        ("BTC.BITCOIN-USD", "bitcoin", "discovered"),
    ]


def test_a_pin_on_a_coin_of_the_ranking_names_its_market(tape: Tape) -> None:
    bitcoin = coin("bitcoin", "BTC", rank=1)
    for markets in ("top:1", "top:1,XBT-USD=bitcoin", "top:1,XBT-USD=bitcoin"):
        tape.run(ranking(bitcoin), markets=markets)
        assert tape.rows("SELECT count(*) FROM market") == [1]
    assert tape.rows(LISTED) == [("XBT-USD", "bitcoin", "pinned")]
    assert tape.rows("SELECT former_symbols FROM market") == [["BTC-USD"]]


def test_a_pin_on_a_coin_that_another_market_follows_moves_the_listing(tape: Tape) -> None:
    tape.run(ranking(coin("bitcoin", "BTC"), coin("wrapped", "WBTC")), markets="top:2")
    row = build_snapshot("9", listing=build_listing(provider_id="wrapped"))
    tape.run([row], markets="BTC-USD=wrapped")
    assert tape.rows(LISTED) == [("BTC-USD", "wrapped", "pinned")]
    assert tape.rows("SELECT symbol FROM market ORDER BY id") == ["BTC-USD", "WBTC-USD"]


def test_two_symbols_of_one_coin_are_told_and_the_pinned_one_stays(tape: Tape) -> None:
    row = build_snapshot(listing=build_listing("XBT-USD", "btc-usd"))
    report = tape.run([row], markets="BTC-USD,XBT-USD=btc-usd")
    assert [problem.symbol for problem in report.problems] == ["BTC-USD"]
    assert "followed as XBT-USD already" in report.problems[0].message
    assert tape.rows(LISTED) == [("XBT-USD", "btc-usd", "pinned")]


def test_a_listing_is_seen_in_every_run_that_names_it(tape: Tape) -> None:
    for hours in (0, 2, 1):
        tape.run([build_snapshot()], now=NOW + hours * HOUR)
    assert tape.rows("SELECT seen_at FROM listing") == [NOW + 2 * HOUR]


def test_a_market_of_another_provider_gains_a_listing(tape: Tape) -> None:
    tape.run([build_snapshot()])
    with tape.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE listing SET provider = 'other'")
    tape.run([build_snapshot()])
    assert tape.rows("SELECT provider, market_id FROM listing ORDER BY 1") == [
        ("other", 1),
        ("scripted", 1),
    ]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\u200b\u200bStable", "Stable"),
        ("A\0B", "AB"),
        ("bad\ud800name", "bad\ufffdname"),
        ("\u202eevil", "evil"),
        ("币安人生", "币安人生"),
        ("x" * 10_000, "x" * 100),
        (" two\n words ", "two words"),
    ],
)
def test_a_name_is_shown_clean_and_kept_as_far_as_possible(
    tape: Tape, raw: str, shown: str
) -> None:
    tape.run(ranking(coin("odd", "ODD", name=raw, provider_symbol=raw)), markets="top:1")
    assert clean_name(shown) == shown
    assert tape.rows("SELECT name FROM market") == [shown]
    assert len(tape.rows("SELECT name FROM listing")[0]) == min(len(raw.replace("\0", "")), 200)


def test_tiny_prices_and_huge_amounts_are_stored_exactly(tape: Tape) -> None:
    volume, cap = Decimal("1e18"), Decimal("1.56e+17")
    tape.run([build_snapshot("2.8e-09", volume=volume, market_cap=cap)])
    stored = tape.rows("SELECT price, volume, market_cap FROM market_snapshot")
    assert stored == [(Decimal("2.8e-09"), volume, cap)]


def test_a_free_symbol_is_found_for_every_id() -> None:
    taken = {"SOL-USD", "SOL.A-B-USD", "SOL.OTHER-USD", "SOL.OTHER.2-USD"}
    assert pick_symbol(coin("free", "ADA"), taken) == "ADA-USD"
    assert pick_symbol(coin("a b", "SOL"), taken) == "SOL.A-B.2-USD"
    assert pick_symbol(coin("币", "SOL"), taken) == "SOL.OTHER.3-USD"
    assert len(pick_symbol(coin("x" * 200, "SOL"), taken)) <= 80


def test_a_run_over_a_known_listing_leaves_its_choice_alone(tape: Tape) -> None:
    listing = replace(build_listing(), name="Bitcoin", rank=1)
    tape.run([build_snapshot(listing=listing)])
    before = tape.rows(LISTED)
    tape.run([build_snapshot(listing=replace(listing, rank=2))])
    assert tape.rows(LISTED) == before

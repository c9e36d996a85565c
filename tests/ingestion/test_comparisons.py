"""Which markets are compared, and with what."""

from decimal import Decimal

from tests.ingestion.making import MINUTE, NOW, Tape, build_listing, build_snapshot

THREE = "BTC-USD,ETH-USD,SOL-USD"
PAIRS = """
    SELECT a.symbol, b.symbol, c.price_ratio FROM market_comparison c
    JOIN market a ON a.id = c.market_id JOIN market b ON b.id = c.against_market_id ORDER BY 1, 2
"""
D = Decimal


def rows(*symbols: str, at: object = NOW) -> list[object]:
    """A snapshot of each market, priced 100, 200, 300."""
    return [
        build_snapshot(str(100 * n), at=at, listing=build_listing(symbol))
        for n, symbol in enumerate(symbols, start=1)
    ]


def test_every_market_is_compared_with_the_first(tape: Tape) -> None:
    tape.run(rows("BTC-USD", "ETH-USD", "SOL-USD"), markets=THREE)
    assert tape.rows(PAIRS) == [("ETH-USD", "BTC-USD", D(2)), ("SOL-USD", "BTC-USD", D(3))]


def test_the_configured_pairs_are_compared_instead(tape: Tape) -> None:
    wanted = (("SOL-USD", "ETH-USD"), ("ETH-USD", "SOL-USD"), ("ETH-USD", "XRP-USD"))
    tape.run(rows("BTC-USD", "ETH-USD", "SOL-USD"), markets=THREE, comparisons=wanted)
    assert [row[:2] for row in tape.rows(PAIRS)] == [
        ("ETH-USD", "SOL-USD"),
        ("SOL-USD", "ETH-USD"),
    ]


def test_a_market_without_snapshot_is_not_compared(tape: Tape) -> None:
    tape.run(rows("ETH-USD", "SOL-USD"), markets=THREE)
    assert [row[:2] for row in tape.rows(PAIRS)] == [("SOL-USD", "ETH-USD")]


def test_one_market_alone_is_compared_with_nothing(tape: Tape) -> None:
    report = tape.run(rows("BTC-USD"))
    assert report.ingested["comparisons"] == 0
    assert tape.count("market_comparison") == 0


def test_the_newest_of_several_observations_is_compared(tape: Tape) -> None:
    first = rows("BTC-USD", "ETH-USD")
    older = rows("BTC-USD", at=NOW - 5 * MINUTE)
    tape.run([*first, *older], markets="BTC-USD,ETH-USD")
    assert tape.rows(PAIRS) == [("ETH-USD", "BTC-USD", D(2))]


def test_a_repeated_run_stores_no_second_comparison(tape: Tape) -> None:
    tape.run(rows("BTC-USD", "ETH-USD"), markets="BTC-USD,ETH-USD")
    report = tape.run(rows("BTC-USD", "ETH-USD"), markets="BTC-USD,ETH-USD")
    assert report.ingested["comparisons"] == 0
    assert tape.count("market_comparison") == 1

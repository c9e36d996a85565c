"""Bad inputs 1 to 24: prices, and the amounts beside them."""

import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain import RunStatus
from tests.faults.inputs.table import Check, Desk, bad_input, rejections, snapshots
from tests.ingestion.exchange import Deck, page, row, with_price
from tests.ingestion.making import NOW, Script, build_candle, build_snapshot, tape_on

SET_ASIDE = "set aside alone, with its reason"
EXACT = "stored exactly"
# Number, what it is, the price as JSON, and the reason or (in `STORED`) the number stored.
REFUSED = (
    (1, "NaN", '"NaN"', "not_a_number"),
    (2, "Infinity", '"Infinity"', "not_a_number"),
    (2, "Infinity", '"-Infinity"', "not_a_number"),
    (3, "0", "0", "price_not_positive"),
    (3, "0", "0.000", "price_not_positive"),
    (4, "a negative price", "-1.5", "price_not_positive"),
    (5, "-0.0", "-0.0", "price_not_positive"),
    (6, "null", "null", "price_missing"),
    (7, 'an empty text ("")', '""', "not_a_number"),
    (9, '"1,234.5"', '"1,234.5"', "not_a_number"),
    (10, '"0x1F"', '"0x1F"', "not_a_number"),
    (11, '" 1.5 "', '" 1.5 "', "not_a_number"),
    (12, "true", "true", "not_a_number"),
    (13, "1e400", "1e400", "price_out_of_range"),
    (13, "1e400", "1e99999", "number_out_of_range"),
    (16, "an integer of 40 digits", "1" * 40, "price_out_of_range"),
    (18, "an integer of 5,000 digits", "1" * 5000, "number_too_long"),
    (19, "a list or an object as price", "[1]", "not_a_number"),
    (19, "a list or an object as price", '{"usd": 1}', "not_a_number"),
    (20, "digits of other scripts", '"١٢٣"', "not_a_number"),
    (20, "digits of other scripts", '"１２３"', "not_a_number"),
)
THIRTY_PLACES = "0.123456789012345678901234567890"
STORED = (
    (8, 'a number inside quotes ("123.45")', '"123.45"', "123.45"),
    (14, "1E-400", "1E-400", "1E-400"),
    (15, "1e-19", "1e-19", "1e-19"),
    (17, "30 decimal places", THIRTY_PLACES, THIRTY_PLACES),
)


@dataclass(frozen=True, slots=True)
class Prices:
    """What became of all these prices, which came in one answer."""

    reasons: dict[str, str]
    stored: dict[str, Decimal]


def _try_prices(deck: Deck) -> Prices:
    rows = [with_price(text, _id(number, text)) for number, _, text, _ in (*REFUSED, *STORED)]
    detail = deck.ingest(page(*rows))
    assert detail.run.status is RunStatus.PARTIAL
    return Prices(rejections(deck, detail.run.id), snapshots(deck, "s.price"))


def _id(number: int, text: str) -> str:
    return f"input-{number}-{zlib.crc32(text.encode())}"


def _check_refused(number: int) -> Check:
    def check(desk: Desk) -> None:
        prices: Prices = desk.once("prices", _try_prices)
        for text, reason in [each[2:] for each in REFUSED if each[0] == number]:
            assert prices.reasons[_id(number, text)] == reason
            assert _id(number, text) not in prices.stored

    return check


def _check_stored(number: int) -> Check:
    def check(desk: Desk) -> None:
        prices: Prices = desk.once("prices", _try_prices)
        for text, stored in [each[2:] for each in STORED if each[0] == number]:
            assert prices.stored[_id(number, text)] == Decimal(stored)
            assert _id(number, text) not in prices.reasons

    return check


for _number, _what in {each[0]: each[1] for each in REFUSED}.items():
    if _number > 2:
        bad_input(_number, _what, SET_ASIDE)(_check_refused(_number))
for _number, _what in {each[0]: each[1] for each in STORED}.items():
    bad_input(_number, _what, EXACT)(_check_stored(_number))


@bad_input(1, "NaN", "in quotes set aside alone, bare it is no JSON and fails the answer")
def _nan(desk: Desk) -> None:
    _check_refused(1)(desk)
    _check_no_json(desk, "NaN")


@bad_input(2, "Infinity and -Infinity", "as NaN")
def _infinity(desk: Desk) -> None:
    _check_refused(2)(desk)
    for text in ("Infinity", "-Infinity"):
        _check_no_json(desk, text)


def _check_no_json(desk: Desk, text: str) -> None:
    """The answer is refused, or no row of that price is stored: never a number."""
    deck = desk.fresh()
    detail = deck.ingest(page(row("good"), with_price(text, "bad")))
    assert detail.run.status in (RunStatus.FAILED, RunStatus.PARTIAL)
    assert "bad" not in snapshots(deck, "s.price")


@bad_input(21, "a jump to the thousandfold", "stored, and flagged as suspect")
def _jump(desk: Desk) -> None:
    deck = desk.fresh()
    deck.ingest(page(row(current_price=65, last_updated="2026-03-04T10:18:00Z")))
    deck.ingest(page(row(current_price=65_000, last_updated="2026-03-04T10:19:00Z")))
    found = deck.rows("SELECT price, flags FROM market_snapshot ORDER BY observed_at")
    assert found == [(Decimal(65), []), (Decimal(65_000), ["suspect"])]


@bad_input(22, "a negative volume", "no volume, the price stays")
def _negative_volume(desk: Desk) -> None:
    assert _stored_beside(desk, total_volume=-1) == (Decimal("65000.5"), None, Decimal(10))


@bad_input(23, "a market capitalisation of 1e30", "none from 1e30 on, exact below")
def _large_cap(desk: Desk) -> None:
    assert _stored_beside(desk, market_cap=10**30)[2] is None
    assert _stored_beside(desk, market_cap=10**30 - 1)[2] == Decimal(10**30 - 1)


def _stored_beside(desk: Desk, **values: Any) -> tuple[Any, ...]:
    """Price, volume and market capitalisation of a row with these values."""
    deck = desk.fresh()
    deck.ingest(page(row(**({"market_cap": 10} | values))))
    (found,) = deck.rows("SELECT price, volume, market_cap FROM market_snapshot")
    return tuple(found)


@bad_input(24, "high below low, open or close outside of them", SET_ASIDE)
def _bent_candle(desk: Desk) -> None:
    hour = NOW.replace(hour=8, minute=0)
    bent = {
        "high_below_low": {"high": Decimal(90), "low": Decimal(110)},
        "outside_extremes": {"close": Decimal(111), "high": Decimal(110), "low": Decimal(90)},
    }
    for reason, values in bent.items():
        desk.fresh()
        with tape_on(desk.database_url) as tape:
            candles = [build_candle(hour, **values), build_candle(hour.replace(hour=9))]
            report = tape.run(Script([build_snapshot()], candles=candles), lookback_days=1)
            assert [each.reason for each in report.rejected] == [reason]
            opened = tape.rows("SELECT opened_at FROM market_aggregate WHERE basis = 'provider'")
        assert opened == [hour.replace(hour=9)]

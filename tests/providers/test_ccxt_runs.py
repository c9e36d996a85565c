"""`flask ingest` over an exchange at a local server, into a real database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from tests.apps import bare_app
from tests.ingestion.exchange import Clock
from tests.ingestion.making import empty
from tests.providers.ccxt_setup import NOW, SERVERS, forget_markets, price_at
from tests.servers import Answer, ScriptedServer

__all__ = ["forget_markets"]
DAYS = 3
# Two hours more than the look-back are asked for: the close before a window is its base.
HOURS = DAYS * 24 + 3
TICKERS = {
    "binance": "/api/v3/ticker/24hr",
    "bitstamp": "/api/v2/ticker/",
    "coinbaseexchange": "/products/ETH-USD/ticker",
    "kraken": "/0/public/Ticker",
}


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `flask ingest`, each time as a new process would: with an application of its own."""

    database_url: str
    clock: Clock
    ccxt: Mapping[str, Any]

    @contextmanager
    def app(self) -> Iterator[Flask]:
        """One such application, within its context."""
        with bare_app(
            self.database_url,
            providers={"ccxt": self.ccxt},
            clock=self.clock,
            ingestion_provider="ccxt",
            ingestion_markets="BTC-USD,ETH-USD",
            ingestion_lookback_days=DAYS,
        ) as app:
            yield app

    def ingest(self) -> Result:
        """What was printed, and the exit status."""
        with self.app() as app:
            return app.test_cli_runner().invoke(args=["ingest"])


@contextmanager
def shell(
    database_url: str, server: ScriptedServer, exchange: str, clock: Clock
) -> Iterator[Shell]:
    """Over empty tables, every run asking that exchange at the server."""
    SERVERS[exchange](server)
    settings = {
        "exchange": exchange,
        "base_url": server.url,
        "usd_stablecoins": "USDT",
        "requests_per_minute": 100_000,
        "wait_out_rate_limits": False,
    }
    opened = Shell(database_url, clock, settings)
    with opened.app():
        empty(db.engine)
        yield opened


def rows(query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def count(table: str) -> int:
    """The rows of a table."""
    return int(rows(f"SELECT count(*) FROM {table}")[0][0])


@pytest.mark.parametrize("exchange", SERVERS)
def test_a_run_stores_snapshots_candles_and_comparisons(
    database_url: str, http_server: ScriptedServer, exchange: str
) -> None:
    with shell(database_url, http_server, exchange, Clock(NOW)) as deck:
        result = deck.ingest()
        assert result.exit_code == 0, result.output
        assert "Markets 2 of 2, snapshots 2" in result.stdout
        assert count("market_snapshot") == 2
        assert count("market_comparison") == 1
        hourly = "FROM market_aggregate WHERE granularity = 'hourly' AND basis = 'provider'"
        assert rows(f"SELECT count(*), count(*) FILTER (WHERE NOT is_final) {hourly}") == [
            (2 * HOURS, 2)
        ]
        opened, opening = rows(f"SELECT opened_at, open {hourly} ORDER BY opened_at LIMIT 1")[0]
        assert opening == price_at(int(opened.timestamp()))
        ids = rows("SELECT provider_id FROM listing ORDER BY 1")
        assert all(provider_id.startswith(f"{exchange}:") for (provider_id,) in ids)


@pytest.mark.parametrize("exchange", SERVERS)
def test_a_second_run_over_the_same_answers_changes_nothing(
    database_url: str, http_server: ScriptedServer, exchange: str
) -> None:
    everything = (
        "SELECT to_jsonb(t) FROM market_snapshot t UNION ALL "
        "SELECT to_jsonb(t) FROM market_aggregate t UNION ALL "
        "SELECT to_jsonb(t) FROM market_comparison t UNION ALL "
        "SELECT to_jsonb(t) FROM market_roi_statistic t ORDER BY 1"
    )
    with shell(database_url, http_server, exchange, Clock(NOW)) as deck:
        deck.ingest()
        stored = rows(everything)
        http_server.requests.clear()
        result = deck.ingest()
        assert result.exit_code == 0, result.output
        assert rows(everything) == stored
        # What is over and stored is not asked for again.
        assert len(http_server.requests) <= 4


def test_a_later_run_goes_on_where_the_history_ends(
    database_url: str, http_server: ScriptedServer
) -> None:
    clock = Clock(NOW)
    finished = (
        "SELECT count(*), max(opened_at) FROM market_aggregate "
        "WHERE granularity = 'hourly' AND basis = 'provider' AND is_final"
    )
    with shell(database_url, http_server, "binance", clock) as deck:
        deck.ingest()
        ((before, newest),) = rows(finished)
        clock.now = NOW + timedelta(hours=4)
        SERVERS["binance"](http_server, clock.now)
        http_server.requests.clear()
        result = deck.ingest()
        assert result.exit_code == 0, result.output
        assert rows(finished) == [(before + 2 * 4, newest + timedelta(hours=4))]
        asked = [each for each in http_server.requests if each.path.endswith("klines")]
        first = int((newest + timedelta(hours=1)).timestamp()) * 1000
        assert [int(each.query["startTime"]) for each in asked] == [first] * 2


def test_values_are_stored_to_the_last_place(
    database_url: str, http_server: ScriptedServer
) -> None:
    with shell(database_url, http_server, "kraken", Clock(NOW)) as deck:
        ticker = {"c": ["0.1234567890123456789", "1"], "v": ["1", "2"], "p": ["1", "0.5"]}
        result = {"XXBTZUSD": ticker, "XETHZUSD": ticker}
        http_server.script(TICKERS["kraken"], Answer(body={"error": [], "result": result}))
        result = deck.ingest()
        assert result.exit_code == 0, result.output
        assert rows("SELECT DISTINCT price, volume FROM market_snapshot") == [
            (Decimal("0.1234567890123456789"), Decimal("1.0"))
        ]


@pytest.mark.parametrize(
    ("answer", "error_class", "said"),
    [
        (
            Answer(status=429, headers={"Retry-After": "30"}, body={}),
            "TransientProviderError",
            "Kraken answered 429 (too many requests) and asks to wait 30 s",
        ),
        (
            Answer(status=503, body={}),
            "TransientProviderError",
            "Kraken answered 503 (service unavailable)",
        ),
        (
            Answer(body="<html>Maintenance</html>", headers={"Content-Type": "text/html"}),
            "TransientProviderError",
            "Kraken sent HTML instead of JSON (HTTP 200)",
        ),
        (
            Answer(body={"error": ["EGeneral:Permission denied"]}),
            "PermanentProviderError",
            "EGeneral:Permission denied",
        ),
        (
            Answer(body={"error": ["EQuery:Unknown asset pair"]}),
            "PermanentProviderError",
            "ccxt delivered no usable snapshot",
        ),
    ],
)
def test_a_run_that_fails_says_why_in_its_class(
    database_url: str, http_server: ScriptedServer, answer: Answer, error_class: str, said: str
) -> None:
    with shell(database_url, http_server, "kraken", Clock(NOW)) as deck:
        http_server.script(TICKERS["kraken"], answer)
        result = deck.ingest()
        assert result.exit_code == 1
        assert said in result.stderr
        (found,) = rows("SELECT status, error_class FROM ingestion_run")
        assert found == ("failed", error_class)
        assert count("market_snapshot") == 0


def test_one_market_that_the_exchange_took_away_leaves_the_run_partial(
    database_url: str, http_server: ScriptedServer
) -> None:
    with shell(database_url, http_server, "coinbaseexchange", Clock(NOW)) as deck:
        http_server.script(
            TICKERS["coinbaseexchange"], Answer(status=404, body={"message": "NotFound"})
        )
        result = deck.ingest()
        assert result.exit_code == 3
        assert "ETH-USD" in result.stderr
        assert rows("SELECT DISTINCT m.symbol FROM market_snapshot s JOIN market m "
                    "ON m.id = s.market_id") == [("BTC-USD",)]  # fmt: skip


def test_another_exchange_does_not_go_on_with_the_first_ones_listings(
    database_url: str, http_server: ScriptedServer
) -> None:
    with shell(database_url, http_server, "kraken", Clock(NOW)) as deck:
        deck.ingest()
        stored = rows("SELECT to_jsonb(t) FROM market_snapshot t")
        SERVERS["bitstamp"](http_server)
        other = replace(deck, ccxt={"exchange": "bitstamp", "base_url": http_server.url})
        result = other.ingest()
        assert result.exit_code == 1
        assert "Pin its id there with BTC-USD=bitstamp:btcusd" in result.stderr
        assert rows("SELECT to_jsonb(t) FROM market_snapshot t") == stored

"""Bad inputs 42 to 50: rows that come twice, shuffled, too many, too few or under other names."""

import os
import random
from typing import Any

from app.domain import RunStatus
from tests.faults.inputs.table import Desk, bad_input, snapshots
from tests.ingestion.exchange import Deck, page, row
from tests.servers import Answer

SENT_AGAIN = 100 if os.environ.get("TAPEDECK_FAULTS") == "full" else 10
TABLES = """
    SELECT 'snapshot', l.provider_id, s.observed_at::text, s.price::text
    FROM market_snapshot s JOIN listing l ON l.market_id = s.market_id
    UNION ALL
    SELECT 'candle', l.provider_id || a.granularity, a.opened_at::text,
           concat_ws(' ', a.open, a.high, a.low, a.close, a.sample_count)
    FROM market_aggregate a JOIN listing l ON l.market_id = a.market_id
    ORDER BY 1, 2, 3
"""


def _coins(count: int) -> list[dict[str, Any]]:
    """So many coins, each at two instants."""
    return [
        row(f"coin-{n}", symbol=f"c{n}", current_price=n + 1.5, last_updated=f"2026-03-04T{at}:00Z")
        for n in range(count)
        for at in ("10:10", "10:15")
    ]


@bad_input(42, "the same row twice", "one row")
def _twice_the_same(desk: Desk) -> None:
    deck = desk.fresh()
    assert deck.ingest(page(row(), row())).run.snapshots_ingested == 1
    assert deck.rows("SELECT flags FROM market_snapshot") == [[]]


@bad_input(43, "two different rows of one market and instant", "the last one, flagged")
def _twice_different(desk: Desk) -> None:
    deck = desk.fresh()
    deck.ingest(page(row(current_price=1), row(current_price=2)))
    assert deck.rows("SELECT price::int, flags FROM market_snapshot") == [(2, ["repeated"])]


@bad_input(44, "rows in another order", "the same tables")
def _shuffled(desk: Desk) -> None:
    found = []
    for seed in (0, 1, 2):
        deck, rows = desk.fresh(), _coins(20)
        if seed:
            random.Random(seed).shuffle(rows)
        deck.ingest(page(*rows))
        found.append(deck.rows(TABLES))
    assert found[0]
    assert found == [found[0]] * 3


@bad_input(45, f"the same answer {SENT_AGAIN} times more", "no new row")
def _sent_again(desk: Desk) -> None:
    deck, answer = desk.fresh(), page(*_coins(10))
    deck.ingest(answer)
    before = deck.data()
    for _ in range(SENT_AGAIN):
        assert deck.ingest(answer).run.counts.inserted == 0
    assert deck.data() == before


@bad_input(46, "10 of 50 markets", "stored, and the run is partial")
def _short_page(desk: Desk) -> None:
    with desk.follow(",".join(f"C{n}-USD=coin-{n}" for n in range(50))) as deck:
        detail = deck.ingest(page(*(row(f"coin-{n}", symbol=f"c{n}") for n in range(10))))
        assert (detail.run.status, detail.run.snapshots_ingested) == (RunStatus.PARTIAL, 10)
        assert detail.run.markets_requested == 50
        missing = {problem.error_class for problem in detail.run.problems}
        assert (missing, len(detail.run.problems)) == ({"NotFound"}, 40)


@bad_input(47, "an empty list", "the run fails and says so")
def _empty(desk: Desk) -> None:
    for markets in ("BTC-USD=bitcoin", "top:5"):
        with desk.follow(markets) as deck:
            run = deck.ingest(page()).run
            assert run.status is RunStatus.FAILED
            assert (
                "no usable snapshot" in f"{run.error_message}" or "empty" in f"{run.error_message}"
            )
            assert deck.rows("SELECT count(*) FROM market_snapshot") == [0]


@bad_input(48, "ids nobody asked for", "ignored")
def _unknown_ids(desk: Desk) -> None:
    with desk.follow("BTC-USD=bitcoin") as deck:
        run = deck.ingest(page(row("stranger"), row(), row("another"))).run
        assert (run.status, run.snapshots_ingested) == (RunStatus.SUCCEEDED, 1)
        assert list(snapshots(deck, "s.price")) == ["bitcoin"]


@bad_input(49, "two ids of one symbol", "two markets; the symbol alone is refused")
def _one_symbol(desk: Desk) -> None:
    deck = desk.fresh()
    deck.ingest(page(row("solana", symbol="sol"), row("wrapped-solana", symbol="sol")))
    shown = deck.client.get("/api/snapshots/latest").get_json()["snapshots"]
    assert {each["symbol"] for each in shown} == {"SOL-USD", "SOL.WRAPPED-SOLANA-USD"}
    with desk.follow("SOL-USD") as deck:
        coins = [{"id": name, "symbol": "sol", "name": name} for name in ("solana", "wrapped")]
        deck.server.script("/coins/list", Answer(body=coins))
        rows = [row(name, symbol="sol", market_cap=10) for name in ("solana", "wrapped")]
        run = deck.ingest(page(*rows)).run
        assert run.status is RunStatus.FAILED
        assert "may mean 2 coins" in _told(deck, run.id)
        assert deck.client.post("/api/ingest", json={"symbols": ["SOL"]}).status_code == 422


def _told(deck: Deck, run_id: str) -> str:
    """Everything the run's own address says."""
    return deck.client.get(f"/api/runs/{run_id}").text


@bad_input(50, "another symbol for a known id", "the market keeps its history, both names find it")
def _renamed(desk: Desk) -> None:
    deck = desk.fresh()
    first, second = "2026-03-04T10:18:00Z", "2026-03-04T10:19:00Z"
    deck.ingest(page(row("render-token", symbol="rndr", last_updated=first)))
    deck.ingest(page(row("render-token", symbol="render", last_updated=second)))
    assert deck.rows("SELECT symbol FROM market") == ["RENDER-USD"]
    assert deck.rows("SELECT count(*) FROM market_snapshot") == [2]
    found = deck.client.get("/api/markets/RNDR-USD").get_json()
    assert found["market"]["symbol"] == "RENDER-USD"

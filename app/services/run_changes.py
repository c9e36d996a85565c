"""What a run changed: the outcome of every market, against the run before it, and its relatives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.services.runs import NEWEST_FIRST, RUN_COLUMNS, build_run
from app.services.views import RunView

# The largest by rank; more would make the page slow, and nobody would read them.
MARKETS_COMPARED = 1_000
RETRIES_SHOWN = 20
# How many runs back one of the same markets is looked for: there may never have been one.
PREVIOUS_AMONG = 1_000
# A run notes what it saw with the instant it began to write its order, in whole seconds.
_BEFORE_START = timedelta(seconds=2)
_OUTCOMES = ("problem", "lost", "new", "stored", "unchanged", "missing")
_RELATIVES = f"""
    ({RUN_COLUMNS}, 'previous' AS relation FROM (
         SELECT * FROM ingestion_run WHERE (started_at, id) < (:started_at, :id)
         {NEWEST_FIRST} LIMIT :among
     ) before
     WHERE provider = :provider AND status IN ('succeeded', 'partial')
       AND symbols = CAST(:symbols AS text[])
     {NEWEST_FIRST} LIMIT 1)
    UNION ALL
    ({RUN_COLUMNS}, 'parent' FROM ingestion_run WHERE id = :parent_run_id)
    UNION ALL
    ({RUN_COLUMNS}, 'retry' FROM ingestion_run WHERE parent_run_id = :id
     ORDER BY started_at, id LIMIT {RETRIES_SHOWN})
"""  # noqa: S608 - made of the constants above
# The price of a market as it was known at some instant: observed and stored by then.
_KNOWN = """
    LEFT JOIN LATERAL (
        SELECT price, run_id FROM market_snapshot s
        WHERE s.market_id = f.id AND s.provider = :provider
          AND s.observed_at <= :{at} AND s.stored_at <= :{at}
        ORDER BY s.observed_at DESC LIMIT 1
    ) {name} ON true
"""
_MARKETS = f"""
    SELECT f.symbol, n.price, n.run_id = :id AS is_stored, o.price AS price_before,
           f.seen_at >= :seen_from AND f.seen_at < :seen_until AS is_lost
    FROM (
        SELECT m.id, m.symbol, l.seen_at
        FROM market m JOIN listing l ON l.market_id = m.id AND l.provider = :provider
        WHERE m.created_at <= :finished_at
          AND (CAST(:symbols AS text[]) = '{{}}' OR m.symbol = ANY(CAST(:symbols AS text[])))
        ORDER BY coalesce(l.rank, 1000000 + m.id) LIMIT {MARKETS_COMPARED}
    ) f
    {_KNOWN.format(at="finished_at", name="n")}
    {_KNOWN.format(at="before", name="o")}
"""  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class RunRelatives:
    """The last good run of the same markets, the run that this one repeats, and its repetitions."""

    previous: RunView | None = None
    parent: RunView | None = None
    retries: tuple[RunView, ...] = ()


@dataclass(frozen=True, slots=True)
class MarketOutcome:
    """What a run did for one market.

    `outcome` is problem (not served), lost (no longer sent by the provider), new (first price),
    stored (a newer snapshot), unchanged (nothing newer) or missing (no price at all). `move_pct` is
    the change of the price since the run before, in per cent.
    """

    symbol: str
    outcome: str
    price: Decimal | None
    price_before: Decimal | None
    move_pct: Decimal | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunChanges:
    """The outcomes of all markets, the worst and the largest moves first; at most 1,000."""

    markets: tuple[MarketOutcome, ...]
    counts: Mapping[str, int]

    @property
    def is_capped(self) -> bool:
        """True when there may be more markets than were compared."""
        return len(self.markets) >= MARKETS_COMPARED

    def moved(self, at_least_pct: Decimal) -> tuple[MarketOutcome, ...]:
        """The markets whose price went up or down by that much or more."""
        return tuple(
            market
            for market in self.markets
            if market.move_pct is not None and abs(market.move_pct) >= at_least_pct
        )


def load_run_relatives(session: AnySession, run: RunView) -> RunRelatives:
    """The runs that this one is read beside, in one query."""
    values = {
        "id": run.id,
        "provider": run.provider,
        "symbols": list(run.symbols),
        "started_at": run.started_at,
        "parent_run_id": run.parent_run_id,
        "among": PREVIOUS_AMONG,
    }
    statement = _RELATIVES.replace("problem_count\n", "problem_count, '[]'::jsonb AS problems\n")
    found: dict[str, list[RunView]] = {"previous": [], "parent": [], "retry": []}
    for row in session.execute(text(statement), values).mappings():
        found[row["relation"]].append(build_run(row))
    return RunRelatives(
        previous=next(iter(found["previous"]), None),
        parent=next(iter(found["parent"]), None),
        retries=tuple(found["retry"]),
    )


def load_run_changes(session: AnySession, run: RunView, previous: RunView | None) -> RunChanges:
    """What a finished run did for each market, in one query; prices as they were known then."""
    before = previous.finished_at if previous and previous.finished_at else run.started_at
    seen_from = previous.started_at if previous else run.started_at
    values: dict[str, Any] = {
        "id": run.id,
        "provider": run.provider,
        "symbols": list(run.symbols),
        "finished_at": run.finished_at,
        "before": before,
        "seen_from": seen_from - _BEFORE_START,
        "seen_until": run.started_at - _BEFORE_START,
    }
    problems = {problem.symbol: problem.message for problem in run.problems}
    rows = session.execute(text(_MARKETS), values).mappings()
    markets = [_outcome(row, problems) for row in rows]
    known = {market.symbol for market in markets}
    markets += [
        MarketOutcome(symbol, "problem", None, None, None, message)
        for symbol, message in problems.items()
        if symbol and symbol not in known
    ]
    markets.sort(key=_order)
    return RunChanges(markets=tuple(markets), counts=_count(markets))


def change_pct(price: Decimal | None, before: Decimal | None) -> Decimal | None:
    """The change in per cent, None where one of both prices is missing."""
    if price is None or not before:
        return None
    with localcontext(prec=12):
        return (price - before) / before * 100


def _outcome(row: RowMapping, problems: Mapping[str, str]) -> MarketOutcome:
    symbol = row["symbol"]
    return MarketOutcome(
        symbol=symbol,
        outcome=_name_outcome(row, symbol in problems),
        price=row["price"],
        price_before=row["price_before"],
        move_pct=change_pct(row["price"], row["price_before"]),
        message=problems.get(symbol, ""),
    )


def _name_outcome(row: RowMapping, has_problem: bool) -> str:
    if has_problem:
        return "problem"
    if row["is_lost"]:
        return "lost"
    if row["price"] is None:
        return "missing"
    if row["is_stored"]:
        return "new" if row["price_before"] is None else "stored"
    return "unchanged"


def _order(market: MarketOutcome) -> tuple[int, Decimal, str]:
    urgency = _OUTCOMES.index(market.outcome)
    move = abs(market.move_pct) if market.move_pct is not None else Decimal(0)
    return (min(urgency, _OUTCOMES.index("stored")), -move, market.symbol)


def _count(markets: Sequence[MarketOutcome]) -> dict[str, int]:
    counts = dict.fromkeys(_OUTCOMES, 0)
    for market in markets:
        counts[market.outcome] += 1
    return counts

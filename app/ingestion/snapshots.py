"""Storing snapshots: what the provider does not give is derived and marked, jumps are flagged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from app.analytics.comparisons import MarketState
from app.analytics.quality import is_suspect_jump
from app.analytics.snapshots import DerivedFields, derive_snapshot_fields
from app.database.bulk import merge_rows
from app.domain import Snapshot, Window
from app.ingestion.close_spans import read_closes
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.targets import SNAPSHOTS
from app.ingestion.validation import GoodSnapshot

DERIVABLE = ("volatility", "roi_1h_pct", "roi_24h_pct", "roi_7d_pct", "roi_30d_pct")
_LAST_PRICES = """
    SELECT n.market_id, s.price
    FROM unnest(CAST(:market_ids AS int[]), CAST(:observed AS timestamptz[]))
         AS n(market_id, observed_at)
    CROSS JOIN LATERAL (
        SELECT price FROM market_snapshot s
        WHERE s.market_id = n.market_id AND s.provider = :provider
          AND s.observed_at < n.observed_at
        ORDER BY s.observed_at DESC LIMIT 1
    ) s
"""
# What is stored may be newer than what came; it is looked up where it is not known.
_NOTE_INSTANTS = """
    UPDATE listing l SET observed_at = greatest(n.observed_at, coalesce(l.observed_at, (
        SELECT s.observed_at FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1)))
    FROM unnest(CAST(:market_ids AS int[]), CAST(:observed AS timestamptz[]))
         AS n(market_id, observed_at)
    WHERE l.market_id = n.market_id AND l.provider = :provider
      AND (l.observed_at IS NULL OR l.observed_at < n.observed_at)
"""


def store_snapshots(context: RunContext, connection: Connection) -> StageCounts:
    """Merge the validated snapshots, and note with each listing how new its newest one is."""
    haul = context.haul
    counts = StageCounts(fetched=len(haul.snapshots))
    if not haul.snapshots:
        return counts
    placed = [(haul.market_ids[row.snapshot.listing.key], row) for row in haul.snapshots]
    for part in _rounds(placed):
        rows = _rows(context, connection, part)
        counts.add(merge_rows(connection, SNAPSHOTS, rows, run_id=context.order.run_id))
    _note_instants(connection, context.provider.name, placed)
    return counts


def _note_instants(
    connection: Connection, provider: str, placed: Sequence[tuple[int, GoodSnapshot]]
) -> None:
    newest: dict[int, datetime] = {}
    for market_id, row in placed:
        newest[market_id] = max(row.observed_at, newest.get(market_id, row.observed_at))
    values = {"provider": provider, "market_ids": list(newest), "observed": list(newest.values())}
    connection.execute(text(_NOTE_INSTANTS), values)


def _rounds(placed: Sequence[tuple[int, GoodSnapshot]]) -> Iterable[list[tuple[int, GoodSnapshot]]]:
    """Rows with every market once, the oldest first: each builds on the one before."""
    rounds: dict[int, list[tuple[int, GoodSnapshot]]] = defaultdict(list)
    seen: Counter[int] = Counter()
    for market_id, row in sorted(placed, key=lambda item: item[1].observed_at):
        rounds[seen[market_id]].append((market_id, row))
        seen[market_id] += 1
    return rounds.values()


def _rows(
    context: RunContext, connection: Connection, placed: Sequence[tuple[int, GoodSnapshot]]
) -> Iterator[tuple[Any, ...]]:
    provider = context.provider.name
    last_prices = _load_last_prices(connection, provider, placed)
    derived = _derive(context, connection, placed)
    for market_id, row in placed:
        fields, marks = _fill(row.snapshot, derived.get(market_id))
        flags = list(row.flags)
        if is_suspect_jump(last_prices.get(market_id), row.price):
            flags.append("suspect")
        given = row.snapshot
        context.haul.states[market_id] = _state(market_id, row, fields)
        yield (
            market_id,
            provider,
            row.observed_at,
            row.price,
            given.volume,
            given.market_cap,
            *fields,
            marks,
            flags,
        )


def _state(market_id: int, row: GoodSnapshot, fields: list[Decimal | None]) -> MarketState:
    return MarketState(
        market_id=market_id,
        observed_at=row.observed_at,
        price=row.price,
        volume=row.snapshot.volume,
        roi_pct=dict(zip(Window, fields[1:], strict=True)),
    )


def _fill(
    snapshot: Snapshot, derived: DerivedFields | None
) -> tuple[list[Decimal | None], list[str]]:
    """The provider's own figures, the derived ones in their gaps, and the names of the latter."""
    fields: list[Decimal | None] = []
    marks: list[str] = []
    for name in DERIVABLE:
        value = getattr(snapshot, name)
        if value is None and derived is not None:
            value = getattr(derived, name)
            if value is not None:
                marks.append(name)
        fields.append(value)
    return fields, marks


def _derive(
    context: RunContext, connection: Connection, placed: Sequence[tuple[int, GoodSnapshot]]
) -> dict[int, DerivedFields]:
    needing = {
        market_id: (row.observed_at, row.price)
        for market_id, row in placed
        if any(getattr(row.snapshot, name) is None for name in DERIVABLE)
    }
    if not needing:
        return {}
    return derive_snapshot_fields(read_closes(context, connection, needing), needing)


def _load_last_prices(
    connection: Connection, provider: str, placed: Sequence[tuple[int, GoodSnapshot]]
) -> dict[int, Decimal]:
    values = {
        "provider": provider,
        "market_ids": [market_id for market_id, _ in placed],
        "observed": [row.observed_at for _, row in placed],
    }
    return {row.market_id: row.price for row in connection.execute(text(_LAST_PRICES), values)}

"""The columns, filters and order of every export, as SQL that yields texts."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file: `sql` yields its cell as text; only of `is_text` could one be code."""

    name: str
    sql: str
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from; `conditions` are the filters that this kind has."""

    columns: tuple[Column, ...]
    tables: str
    conditions: Mapping[str, str]
    order: str


def _texts(*names: str, of: str = "t") -> tuple[Column, ...]:
    return tuple(Column(name, f'{of}."{name}"', is_text=True) for name in names)


def _plain(*names: str) -> tuple[Column, ...]:
    """Numbers, flags and ids: PostgreSQL writes a numeric digit by digit, as it was stored."""
    return tuple(Column(name, f't."{name}"::text') for name in names)


def _instants(*names: str) -> tuple[Column, ...]:
    form = 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US"Z"'
    return tuple(
        Column(name, f"to_char(t.\"{name}\" AT TIME ZONE 'UTC', '{form}')") for name in names
    )


def _lists(*names: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, f"array_to_string(t.\"{name}\", ' ')", is_text=True) for name in names
    )


def _documents(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, f't."{name}"::text', is_text=True) for name in names)


def _interval(column: str) -> dict[str, str]:
    return {"start": f"t.{column} >= :start", "end": f"t.{column} < :end"}


_SYMBOL = (Column("symbol", "m.symbol", is_text=True),)
_MARKET = """
    (SELECT id FROM market
     WHERE symbol = :market OR former_symbols @> ARRAY[CAST(:market AS text)])
"""
_OF_MARKET = {"market": f"t.market_id IN {_MARKET}"}
_PROVENANCE = (*_plain("run_id"), *_instants("stored_at"))

SOURCES: Mapping[str, Source] = {
    "snapshots": Source(
        columns=(
            *_SYMBOL,
            *_texts("provider"),
            *_instants("observed_at"),
            *_plain("price", "volume", "market_cap", "volatility"),
            *_plain("roi_1h_pct", "roi_24h_pct", "roi_7d_pct", "roi_30d_pct"),
            *_lists("derived", "flags"),
            *_PROVENANCE,
        ),
        tables="market_snapshot t JOIN market m ON m.id = t.market_id",
        conditions=_OF_MARKET | _interval("observed_at"),
        order="t.market_id, t.provider, t.observed_at",
    ),
    "candles": Source(
        columns=(
            *_SYMBOL,
            *_texts("provider", "granularity"),
            *_instants("opened_at"),
            *_plain("open", "high", "low", "close", "volume", "average", "volatility"),
            *_plain("change_pct", "sample_count"),
            *_instants("first_observed_at", "last_observed_at"),
            *_plain("is_final"),
            *_texts("basis"),
            *_PROVENANCE,
        ),
        tables="market_aggregate t JOIN market m ON m.id = t.market_id",
        conditions=_OF_MARKET
        | _interval("opened_at")
        | {"granularity": "t.granularity = :granularity"},
        order="t.market_id, t.provider, t.granularity, t.opened_at",
    ),
    "roi-statistics": Source(
        columns=(
            *_SYMBOL,
            *_texts("provider", "window"),
            *_instants("last_at", "first_at"),
            *_texts("grid"),
            *_plain("sample_count", "expected_count", "periods_per_year"),
            *_plain("risk_free_rate", "minimum_acceptable_return"),
            *_plain("roi_pct", "sharpe", "sortino", "max_drawdown", "volatility", "calmar"),
            *_plain("win_rate", "sharpe_annualised", "sortino_annualised"),
            *_plain("volatility_annualised"),
            *_documents("null_reasons"),
            *_PROVENANCE,
        ),
        tables="market_roi_statistic t JOIN market m ON m.id = t.market_id",
        conditions=_OF_MARKET | _interval("last_at"),
        order='t.market_id, t.provider, t."window", t.last_at',
    ),
    "comparisons": Source(
        columns=(
            *_SYMBOL,
            Column("against_symbol", "a.symbol", is_text=True),
            *_texts("provider"),
            *_instants("observed_at"),
            *_plain("price_ratio", "volume_ratio"),
            *_plain("roi_spread_1h", "roi_spread_24h", "roi_spread_7d", "roi_spread_30d"),
            *_plain("correlation_30d", "beta_30d", "sample_count"),
            *_documents("null_reasons"),
            *_PROVENANCE,
        ),
        tables=(
            "market_comparison t JOIN market m ON m.id = t.market_id "
            "JOIN market a ON a.id = t.against_market_id"
        ),
        conditions=_interval("observed_at")
        | {"market": f"(t.market_id IN {_MARKET} OR t.against_market_id IN {_MARKET})"},
        order="t.market_id, t.against_market_id, t.provider, t.observed_at",
    ),
    "runs": Source(
        columns=(
            *_plain("id"),
            *_texts("status", "trigger", "provider"),
            *_lists("symbols"),
            *_texts("requested_by"),
            *_instants("due_at"),
            *_plain("parent_run_id", "attempt"),
            *_instants("started_at", "finished_at"),
            *_plain("duration_ms"),
            *_texts("stage"),
            *_plain("markets_requested", "markets_ingested", "snapshots_ingested"),
            *_plain("aggregates_ingested", "comparisons_ingested", "roi_stats_ingested"),
            *_plain("fetched", "inserted", "updated", "unchanged", "rejected"),
            *_texts("error_class", "error_message"),
            *_plain("problem_count"),
            *_texts("config_fingerprint"),
        ),
        tables="ingestion_run t",
        conditions=_interval("started_at"),
        order="t.started_at, t.id",
    ),
    "rejected-rows": Source(
        columns=(
            *_plain("id", "run_id"),
            *_texts("provider", "kind", "symbol", "provider_id", "reason", "detail", "raw"),
            *_instants("observed_at", "stored_at"),
        ),
        tables="rejected_row t",
        conditions=_interval("stored_at")
        | {"market": "t.symbol = :market", "run": "t.run_id = :run"},
        order="t.id",
    ),
}

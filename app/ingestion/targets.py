"""Which table each kind of row is merged into, and how a row becomes its columns."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from sqlalchemy import Table

from app.analytics.candles import DerivedCandle
from app.database.base import Base
from app.database.bulk import PROVENANCE, MergeTarget
from app.domain import Comparison, RoiStatistic
from app.models import MarketAggregate, MarketComparison, MarketRoiStatistic, MarketSnapshot


def target_of(model: type[Base], *, guard: str = "true") -> MergeTarget:
    """The merge target of a model: all its columns but the provenance that a merge adds itself."""
    table = cast(Table, model.__table__)
    names = tuple(column.name for column in table.columns if column.name not in PROVENANCE)
    return MergeTarget(table, names, guard)


def _rank(side: str) -> str:
    return f"CASE {side}.basis WHEN 'provider' THEN 1 WHEN 'finer' THEN 2 ELSE 3 END"


SNAPSHOTS = target_of(MarketSnapshot)
# A worse source never replaces a better one, but a finished candle may replace an unfinished one.
CANDLES = target_of(
    MarketAggregate,
    guard=f"{_rank('s')} <= {_rank('t')} OR (s.is_final AND NOT t.is_final)",
)
COMPARISONS = target_of(MarketComparison)
ROI_STATISTICS = target_of(MarketRoiStatistic)


def candle_rows(candles: Iterable[DerivedCandle], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `CANDLES`."""
    names = CANDLES.columns
    for candle in candles:
        yield tuple(provider if name == "provider" else getattr(candle, name) for name in names)


def comparison_rows(items: Iterable[Comparison], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `COMPARISONS`."""
    names = COMPARISONS.columns
    for item in items:
        yield tuple(provider if name == "provider" else getattr(item, name) for name in names)


def roi_rows(items: Iterable[RoiStatistic], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `ROI_STATISTICS`."""
    names = ROI_STATISTICS.columns
    for item in items:
        yield tuple(provider if name == "provider" else getattr(item, name) for name in names)

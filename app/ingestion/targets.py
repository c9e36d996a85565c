"""Which table each kind of row is merged into, and how a row becomes its columns."""

from collections.abc import Iterable, Iterator
from operator import attrgetter
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
# A finished candle replaces any unfinished one and is never replaced by one; among equals in that
# a worse source never replaces a better one.
CANDLES = target_of(
    MarketAggregate,
    guard=f"s.is_final > t.is_final OR (s.is_final = t.is_final AND {_rank('s')} <= {_rank('t')})",
)
COMPARISONS = target_of(MarketComparison)
ROI_STATISTICS = target_of(MarketRoiStatistic)


def candle_rows(candles: Iterable[DerivedCandle], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `CANDLES`."""
    return _rows(CANDLES, candles, provider)


def comparison_rows(items: Iterable[Comparison], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `COMPARISONS`."""
    return _rows(COMPARISONS, items, provider)


def roi_rows(items: Iterable[RoiStatistic], provider: str) -> Iterator[tuple[Any, ...]]:
    """Rows for `ROI_STATISTICS`."""
    return _rows(ROI_STATISTICS, items, provider)


def _rows(target: MergeTarget, items: Iterable[Any], provider: str) -> Iterator[tuple[Any, ...]]:
    """The fields of each item in the order of the columns, with the provider in its place."""
    place = target.columns.index("provider")
    fields = attrgetter(*(name for name in target.columns if name != "provider"))
    for values in map(fields, items):
        yield (*values[:place], provider, *values[place:])

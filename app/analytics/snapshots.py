"""The fields of a snapshot that follow from its past: volatility and ROI over four windows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from app.analytics.closes import CloseMatrix, CloseSeries, as_blocks, lay_out
from app.analytics.instants import from_micros
from app.analytics.ratios import chain_returns, measure_returns
from app.analytics.returns import exact_roi_pct, minimum_samples
from app.analytics.rounding import to_ratio
from app.analytics.windows import COLUMNS_BEFORE, find_bases, steps_in
from app.domain import Window


@dataclass(frozen=True, slots=True)
class DerivedFields:
    """What the closes before a snapshot say of it; ROI in per cent, volatility a fraction.

    `volatility` is the sample standard deviation (n - 1) of the simple returns per grid step over
    the 24 hours before: the same number as the ROI statistic's over that window.
    """

    market_id: int
    observed_at: datetime
    volatility: Decimal | None
    roi_1h_pct: Decimal | None
    roi_24h_pct: Decimal | None
    roi_7d_pct: Decimal | None
    roi_30d_pct: Decimal | None


def derive_snapshot_fields(
    closes: CloseSeries | Iterable[CloseSeries],
    present: Mapping[int, tuple[datetime, Decimal]],
) -> dict[int, DerivedFields]:
    """The fields of present (instant, price) by market id, by the rules of `returns`.

    Closes at or after a market's present instant are not looked at. A market without earlier closes
    is not in the answer. A field is None where its window has no base or is shorter than a step of
    the grid, and volatility below 24 returns.
    """
    derived: dict[int, DerivedFields] = {}
    for block in as_blocks(closes):
        market_ids = np.unique(block.market_ids).tolist()
        here = {market: present[market] for market in market_ids if market in present}
        if here:
            fields = _fields_of_block(block.with_present(here))
            derived |= {row.market_id: row for row in fields if row.market_id in here}
    return derived


def _fields_of_block(block: CloseSeries) -> Iterable[DerivedFields]:
    steps = [
        steps_in(window.length, block.grid) if window.length >= block.grid.step else None
        for window in Window
    ]
    latest = from_micros(block.instants.max())
    matrix = lay_out(block, as_of=latest, slots=max(filter(None, steps)) + COLUMNS_BEFORE)
    nothing = [None] * len(matrix.market_ids)
    return map(
        DerivedFields,
        matrix.market_ids.tolist(),
        map(from_micros, matrix.last_at.tolist()),
        _volatilities(matrix),
        *(
            exact_roi_pct(matrix, find_bases(matrix, count)) if count else nothing
            for count in steps
        ),
    )


def _volatilities(matrix: CloseMatrix) -> list[Decimal | None]:
    steps = steps_in(Window.H24.length, matrix.series.grid)
    figures = measure_returns(
        chain_returns(matrix.prices[:, -1 - steps :]), risk_free=0.0, acceptable=0.0
    )
    needed = minimum_samples(Window.H24, steps) or 0
    shown = np.where(figures.count >= needed, figures.deviation, np.nan)
    return [to_ratio(value) for value in shown.tolist()]

"""Builders of small series and candles, and readers of the recorded ones."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.analytics.candles import DerivedCandle
from app.analytics.closes import CloseSeries
from app.domain import CandleBasis, Granularity

START = datetime(2025, 3, 3, tzinfo=UTC)  # a Monday
LATER = START + timedelta(days=400)
HOUR = timedelta(hours=1)


def hours(count: float) -> datetime:
    """So many hours after the start."""
    return START + count * HOUR


def series(
    closes: Sequence[object], *, market_id: int = 1, grid: Granularity = Granularity.HOURLY
) -> CloseSeries:
    """One market's closes, one a grid step from the start; None is a missing one."""
    rows = [
        (market_id, START + position * grid.step, None if close is None else Decimal(str(close)))
        for position, close in enumerate(closes)
    ]
    return CloseSeries.from_rows(rows, grid=grid)


def candle(opened_at: datetime, prices: str, **changes: Any) -> DerivedCandle:
    """An hourly candle of market 1; `prices` are open, high, low and close."""
    opening, high, low, close = map(Decimal, prices.split())
    values: dict[str, Any] = {
        "market_id": 1,
        "granularity": Granularity.HOURLY,
        "volume": None,
        "average": None,
        "volatility": None,
        "change_pct": None,
        "sample_count": 1,
        "first_observed_at": None,
        "last_observed_at": None,
        "is_final": True,
        "basis": CandleBasis.PROVIDER,
    }
    return DerivedCandle(
        opened_at=opened_at, open=opening, high=high, low=low, close=close, **(values | changes)
    )


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a recorded CSV file, gzipped or not; a lone first line is passed over."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        lines = file.read().splitlines()
    header = 0 if "," in lines[0] else 1
    return list(csv.DictReader(lines[header:]))


def daily_closes(path: Path) -> list[Decimal | None]:
    """The closes of a recorded daily file as exact decimals; None where the day has none."""
    rows: Sequence[Mapping[str, str]] = read_rows(path)
    column = "price_usd" if "price_usd" in rows[0] else "Close"
    return [Decimal(row[column]) if row[column] not in ("null", "") else None for row in rows]

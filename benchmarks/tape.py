"""Candles to load: random walks of many markets as the domain's values, made without a network."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, text

from app.analytics.candles import DerivedCandle
from app.database.copy_text import format_blocks
from app.domain import HOUR, CandleBasis, Granularity
from app.ingestion.targets import CANDLES, candle_rows

START = datetime(2025, 1, 6, tzinfo=UTC)
HOURS = 1000
_CENT = Decimal("1e-8")


def make_candles(count: int, *, seed: int = 7) -> Iterator[DerivedCandle]:
    """Hourly candles of `count / HOURS` markets, market by market."""
    chance = random.Random(seed)
    for market_id in range(1, count // HOURS + 1):
        price = chance.uniform(0.01, 60_000)
        for hour in range(HOURS):
            after = price * (1 + chance.gauss(0, 0.01))
            yield make_candle(market_id, START + hour * HOUR, price, after, chance)
            price = after


def make_candle(
    market_id: int, opened_at: datetime, before: float, after: float, chance: random.Random
) -> DerivedCandle:
    """A complete candle between two prices."""
    opened, closed = Decimal(f"{before:.8f}") + _CENT, Decimal(f"{after:.8f}") + _CENT
    high, low = max(opened, closed), min(opened, closed)
    return DerivedCandle(
        market_id=market_id,
        granularity=Granularity.HOURLY,
        opened_at=opened_at,
        open=opened,
        high=high + high.scaleb(-3).quantize(_CENT),
        low=low - low.scaleb(-3).quantize(_CENT),
        close=closed,
        volume=Decimal(f"{chance.uniform(1e3, 1e9):.2f}"),
        average=(opened + closed) / 2,
        volatility=Decimal(f"{chance.uniform(0, 0.1):.14f}"),
        change_pct=(closed - opened) / opened * 100,
        sample_count=60,
        first_observed_at=opened_at,
        last_observed_at=opened_at + timedelta(minutes=59),
        is_final=True,
        basis=CandleBasis.PROVIDER,
    )


def copy_text(candles: Sequence[DerivedCandle]) -> str:
    """The candles ready for COPY with all columns: what the raw COPY is given for nothing."""
    kinds = [CANDLES.table.c[name].type for name in CANDLES.columns]
    lines = "".join(format_blocks(kinds, candle_rows(candles, "mock")))
    return lines.replace("\n", f"\t{uuid4()}\t{START.isoformat()}\n")


def as_dicts(candles: Sequence[DerivedCandle]) -> list[dict[str, Any]]:
    """The candles as other libraries take them: one dictionary of plain values a row."""
    names = CANDLES.columns
    rows = [dict(zip(names, row, strict=True)) for row in candle_rows(candles, "mock")]
    for row in rows:
        row["granularity"], row["basis"] = str(row["granularity"]), str(row["basis"])
        row["run_id"], row["stored_at"] = str(uuid4()), START
    return rows


def empty_candles(engine: Engine) -> None:
    """No candle stored, and nothing left to tidy up."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE market_aggregate"))

"""The derived fields of snapshots, by hand and against CoinGecko's own percentages."""

import gzip
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from app.analytics.closes import CloseSeries
from app.analytics.returns import build_roi_statistics
from app.analytics.rounding import change_pct
from app.analytics.snapshots import derive_snapshot_fields
from app.domain import Window
from tests.analytics.making import hours, series


def test_fields_are_those_of_the_roi_statistics_at_the_present_price() -> None:
    rows = [(m, hours(h), Decimal(50 + (3 * h + m) % 17)) for m in (1, 2) for h in range(725)]
    closes = CloseSeries.from_rows(rows)
    present = {1: (hours(724.5), Decimal(60)), 2: (hours(724.75), Decimal(70))}
    fields = derive_snapshot_fields(closes, present)
    statistics = build_roi_statistics(closes.with_present(present), as_of=hours(725))
    by_key = {(row.market_id, row.window): row for row in statistics}
    assert sorted(fields) == [1, 2]
    for market_id, row in fields.items():
        assert row.observed_at == present[market_id][0]
        assert row.volatility == by_key[market_id, Window.H24].volatility
        for window in Window:
            roi = getattr(row, f"roi_{window.value}_pct")
            assert roi == by_key[market_id, window].roi_pct


def test_roi_is_taken_from_the_close_at_the_windows_start() -> None:
    fields = derive_snapshot_fields(series([100] * 25), {1: (hours(24.5), Decimal(125))})[1]
    assert (fields.roi_1h_pct, fields.roi_24h_pct) == (25, 25)
    assert (fields.roi_7d_pct, fields.roi_30d_pct) == (None, None)
    assert fields.volatility == 0


def test_short_past_gives_no_volatility() -> None:
    fields = derive_snapshot_fields(series([100] * 24), {1: (hours(23.5), Decimal(125))})[1]
    assert fields.volatility is None
    assert fields.roi_24h_pct is None


def test_closes_after_the_snapshot_are_not_looked_at() -> None:
    closes = series([1, 2, 3, 4, 5, 6])
    fields = derive_snapshot_fields(closes, {1: (hours(2.5), Decimal(30))})[1]
    assert (fields.roi_1h_pct, fields.observed_at) == (1400, hours(2.5))


def test_markets_without_past_or_without_present_have_no_fields() -> None:
    assert derive_snapshot_fields(series([1, 2]), {2: (hours(1), Decimal(5))}) == {}
    assert derive_snapshot_fields([], {2: (hours(1), Decimal(5))}) == {}
    assert derive_snapshot_fields(series([1, 2]), {}) == {}


def day_to_day_differences(folder: Path) -> list[Decimal]:
    """|our 24 h ROI - CoinGecko's own| for each pair of a coin's snapshots about a day apart."""
    coins: dict[str, dict[datetime, tuple[Decimal, Decimal | None]]] = {}
    for path in sorted(folder.glob("2*Z.json.gz")):
        text = gzip.decompress(path.read_bytes())
        for row in json.loads(text, parse_float=Decimal, parse_int=Decimal):
            observed_at = datetime.fromisoformat(row["last_updated"])
            own = row["price_change_percentage_24h"]
            coins.setdefault(row["id"], {})[observed_at] = (row["current_price"], own)
    return [
        abs(change_pct(before, after) - own)
        for rows in coins.values()
        for start, (before, _) in rows.items()
        for end, (after, own) in rows.items()
        if own is not None and 23.8 <= (end - start).total_seconds() / 3600 <= 24.2
    ]


def test_roi_of_a_day_agrees_with_the_providers_own_over_recorded_days(recordings: Path) -> None:
    differences = day_to_day_differences(recordings / "coingecko-daily-top100")
    median, p99 = np.percentile([float(value) for value in differences], [50, 99])
    assert len(differences) > 7000
    assert median <= 0.07
    assert p99 <= 1.0

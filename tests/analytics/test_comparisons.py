"""Two markets at one moment and over time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from app.analytics.closes import CloseSeries
from app.analytics.comparisons import MarketState, build_comparison_series, build_comparisons
from app.analytics.correlations import ReturnTable, build_return_table, join_return_tables
from app.domain import Comparison, Window
from tests.analytics.making import START, hours

MINUTE = timedelta(minutes=1)
NO_RETURNS = join_return_tables([])


def state(market_id: int, price: str, *, at: datetime = START, **changes: object) -> MarketState:
    """A market's latest observation."""
    return MarketState(market_id, at, Decimal(price), **changes)  # type: ignore[arg-type]


def compare(
    first: MarketState, second: MarketState, returns: ReturnTable = NO_RETURNS
) -> Comparison:
    """The comparison of two states."""
    states = {first.market_id: first, second.market_id: second}
    [only] = build_comparisons([(first.market_id, second.market_id)], states, returns=returns)
    return only


def roi(*values: str | None) -> Mapping[Window, Decimal | None]:
    return {
        window: None if value is None else Decimal(value)
        for window, value in zip(Window, values, strict=True)
    }


def test_ratios_are_first_over_second_to_28_digits() -> None:
    first = state(1, "100502", volume=Decimal("29348698299"))
    second = state(2, "1824.15", volume=Decimal("3"))
    row = compare(first, second)
    assert row.price_ratio == Decimal("55.09524984239234712057670696")
    assert row.volume_ratio == Decimal("9782899433")
    assert (row.market_id, row.against_market_id) == (1, 2)
    back = compare(second, first)
    assert back.price_ratio is not None
    assert back.price_ratio * row.price_ratio == pytest.approx(Decimal(1), abs=Decimal("1E-26"))


def test_spreads_are_exact_differences_of_roi() -> None:
    first = state(1, "1", roi_pct=roi("1.5", "-2.000000000001", None, "1E+2"))
    second = state(2, "1", roi_pct=roi("0.25", "3", "4", "0.5"))
    row = compare(first, second)
    assert row.roi_spread_1h == Decimal("1.25")
    assert row.roi_spread_24h == Decimal("-5.000000000001")
    assert str(row.roi_spread_30d) == "99.5"
    assert row.roi_spread_7d is None
    assert row.null_reasons["roi_spread_7d"] == "insufficient_samples"


def test_observations_of_two_moments_are_not_compared() -> None:
    first = state(1, "1", volume=Decimal(1), roi_pct=roi("1", "1", "1", "1"))
    near = state(2, "2", at=START + 15 * MINUTE, volume=Decimal(1), roi_pct=roi("1", "1", "1", "1"))
    far = state(2, "2", at=START + 15 * MINUTE + timedelta(seconds=1))
    assert compare(first, near).price_ratio == Decimal("0.5")
    assert compare(first, near).observed_at == near.observed_at
    row = compare(first, far)
    reasons = dict(row.null_reasons)
    assert {reasons.pop(name) for name in ("correlation_30d", "beta_30d")} == {
        "insufficient_samples"
    }
    assert set(reasons.values()) == {"not_simultaneous"}
    assert set(reasons) == {
        "price_ratio",
        "volume_ratio",
        "roi_spread_1h",
        "roi_spread_24h",
        "roi_spread_7d",
        "roi_spread_30d",
    }
    assert (row.price_ratio, row.volume_ratio, row.roi_spread_1h) == (None, None, None)


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [(None, "1", None), ("1", None, None), ("1", "0", None), ("0", "4", "0"), ("1", "4", "0.25")],
)
def test_volume_that_is_missing_or_zero_below_gives_no_ratio(
    first: str | None, second: str | None, ratio: str | None
) -> None:
    over, under = (None if text is None else Decimal(text) for text in (first, second))
    row = compare(state(1, "1", volume=over), state(2, "1", volume=under))
    assert row.volume_ratio == (None if ratio is None else Decimal(ratio))
    assert row.null_reasons.get("volume_ratio") == ("no_volume" if ratio is None else None)


def test_forty_digit_and_zero_prices_do_no_harm() -> None:
    long = "1234567890123456789012345678901234567890"
    assert str(compare(state(1, long), state(2, "1E-12")).price_ratio) == (
        "1234567890123456789012345679000000000000000000000000"
    )
    assert compare(state(1, "1"), state(2, "0")).price_ratio is None
    assert (
        compare(state(1, "0"), state(2, "0")).null_reasons["price_ratio"] == "insufficient_samples"
    )


def test_correlation_and_beta_rest_on_thirty_days_of_hours() -> None:
    rows = [(1, hours(h), Decimal(100 + h % 7)) for h in range(721)]
    rows += [(2, hours(h), Decimal(200 + 2 * (h % 7))) for h in range(721)]
    rows += [(3, hours(h), Decimal(5)) for h in range(721)]
    returns = build_return_table(CloseSeries.from_rows(rows), as_of=hours(720))
    row = compare(state(1, "1"), state(2, "1", at=START + HOUR_AND_MORE), returns)
    assert (row.correlation_30d, row.beta_30d, row.sample_count) == (1, 1, 720)
    flat = compare(state(1, "1"), state(3, "1"), returns)
    assert flat.null_reasons["beta_30d"] == flat.null_reasons["correlation_30d"] == "zero_variance"
    unknown = compare(state(1, "1"), state(4, "1"), returns)
    assert (unknown.sample_count, unknown.null_reasons["beta_30d"]) == (0, "insufficient_samples")


HOUR_AND_MORE = timedelta(hours=1, minutes=1)


def test_pairs_keep_their_order_and_unknown_markets_are_passed_over() -> None:
    states = {market: state(market, str(market)) for market in (1, 2, 3)}
    rows = build_comparisons([(3, 1), (1, 9), (2, 3)], states, returns=NO_RETURNS)
    assert [(row.market_id, row.against_market_id) for row in rows] == [(3, 1), (2, 3)]
    with pytest.raises(ValueError, match="itself"):
        build_comparisons([(1, 1)], states, returns=NO_RETURNS)


def points(*pairs: tuple[float, str]) -> list[tuple[datetime, Decimal]]:
    """Prices at minutes after the start."""
    return [(START + minute * MINUTE, Decimal(price)) for minute, price in pairs]


def test_series_joins_the_nearest_points_within_the_tolerance() -> None:
    first = points((0, "10"), (60, "20"), (120, "30"), (180, "40"))
    second = points((125, "3"), (1, "5"), (50, "4"), (65, "2"), (200, "1"))
    series = build_comparison_series(first, second)
    assert [point.price_ratio for point in series] == [2, 10, 10]
    assert [point.observed_at for point in series] == [START + m * MINUTE for m in (1, 65, 125)]
    # 100 % against -60 %, then 200 % against -40 %.
    assert [point.roi_spread for point in series] == [0, 160, 240]


def test_series_over_a_window_looks_back_from_each_point() -> None:
    first = points(*((60 * h, str(10 + h)) for h in range(5)))
    second = points(*((60 * h, "10") for h in range(5)))
    spreads = [p.roi_spread for p in build_comparison_series(first, second, window=Window.H1)]
    assert spreads[:3] == [None, 10, Decimal("9.090909090909091")]
    gap = build_comparison_series(first[:1] + first[4:], second, window=Window.H1)
    assert [point.roi_spread for point in gap] == [None, None]


def test_series_leaves_out_what_cannot_be_divided() -> None:
    first = points((0, "0"), (60, "1"), (120, "NaN"))
    assert len(build_comparison_series(first, points((0, "1"), (60, "2"), (120, "3")))) == 1
    assert build_comparison_series(first, []) == []
    assert build_comparison_series([], first) == []

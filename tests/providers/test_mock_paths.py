"""The paths: what statistics say of them, and that nothing but seed and instant decides them.

The bounds stand several standard errors away from what the seeds used here give.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.providers.mock_paths import (
    HOURS_PER_CELL,
    LEAVES_PER_HOUR,
    Keys,
    hashed_fraction,
    series_key,
    uniform,
    unit_paths,
)

HOURS_PER_YEAR = 8766
YEARS_OF_CELLS = 20 * HOURS_PER_CELL


def keys_of(count: int) -> Keys:
    return np.array([series_key("test", number) for number in range(count)], dtype=np.uint64)


def autocorrelation(rows: NDArray[np.float64], lag: int) -> float:
    centred = rows - rows.mean(axis=1, keepdims=True)
    products = (centred[:, lag:] * centred[:, :-lag]).mean(axis=1)
    return float((products / centred.var(axis=1)).mean())


@pytest.fixture(scope="module")
def hourly_returns() -> NDArray[np.float64]:
    """Hourly log returns of 40 series over 2.3 years."""
    values = unit_paths(keys_of(40), 400_000, YEARS_OF_CELLS).values
    return np.diff(values[:, ::LEAVES_PER_HOUR], axis=1)


def test_returns_are_uncorrelated(hourly_returns: NDArray[np.float64]) -> None:
    for lag in (1, 2, 5, 24):
        assert abs(autocorrelation(hourly_returns, lag)) < 0.01


def test_sizes_of_returns_cluster_and_the_more_so_the_nearer(
    hourly_returns: NDArray[np.float64],
) -> None:
    near, day, week = (autocorrelation(abs(hourly_returns), lag) for lag in (1, 24, 168))
    assert near > day > week > 0.01
    assert near > 0.1


def test_extreme_returns_are_more_frequent_than_in_a_normal_distribution(
    hourly_returns: NDArray[np.float64],
) -> None:
    standardised = hourly_returns / hourly_returns.std()
    assert 4.5 < float((standardised**4).mean()) < 9


@pytest.mark.parametrize("minutes", [3.75, 15, 60, 24 * 60, 7 * 24 * 60, 28 * 24 * 60])
def test_variance_grows_in_proportion_to_time(minutes: float) -> None:
    values = unit_paths(keys_of(60), 400_000, YEARS_OF_CELLS).values
    leaves = round(minutes / 3.75)
    moves = values[:, leaves:] - values[:, :-leaves]
    years = leaves * 3.75 / 60 / HOURS_PER_YEAR
    assert float(moves.var()) / years == pytest.approx(1, abs=0.15)


def test_paths_stay_about_their_level_over_decades() -> None:
    daily = [unit_paths(keys_of(30), cell * HOURS_PER_CELL, 24).values[:, 0] for cell in range(720)]
    values = np.array(daily)
    assert 0.4 < values.std() < 0.7
    assert np.abs(values).max() < 3
    assert abs(values.mean()) < 0.1


def test_two_series_are_independent(hourly_returns: NDArray[np.float64]) -> None:
    correlations = np.corrcoef(hourly_returns)[np.triu_indices(40, 1)]
    assert abs(correlations.mean()) < 0.002
    assert np.abs(correlations).max() < 0.06


def test_trading_time_is_one_hour_an_hour_on_average() -> None:
    activity = unit_paths(keys_of(60), 400_000, YEARS_OF_CELLS).activity
    assert float(activity.mean()) == pytest.approx(1, abs=0.03)
    assert activity.min() > 0


@given(
    first=st.integers(-600_000, 1_200_000),
    before=st.integers(0, 1500),
    hours=st.integers(1, 40),
    after=st.integers(0, 1500),
)
def test_any_stretch_is_the_same_to_the_last_bit_within_a_longer_one(
    first: int, before: int, hours: int, after: int
) -> None:
    keys = keys_of(3)
    longer = unit_paths(keys, first - before, before + hours + after)
    alone = unit_paths(keys[1:2], first, hours)
    start = before * LEAVES_PER_HOUR
    stretch = longer.values[1:2, start : start + hours * LEAVES_PER_HOUR + 1]
    assert np.array_equal(alone.values, stretch)
    assert np.array_equal(alone.activity, longer.activity[1:2, before : before + hours])


def test_values_are_frozen_for_ever() -> None:
    path = unit_paths(np.array([series_key("frozen")], dtype=np.uint64), 490_000, 1)
    assert series_key("frozen") == 10599663050713558652
    assert path.values[0, ::8].tolist() == [
        0.056699088470035915,
        0.05794364353337026,
        0.05764300140526035,
    ]
    assert path.activity.tolist() == [[0.3620622320413197]]


def test_hashed_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniform(keys_of(20), np.arange(5000)).ravel()
    counts = np.histogram(numbers, bins=10, range=(0, 1))[0] / numbers.size
    assert np.abs(counts - 0.1).max() < 0.005
    named = [hashed_fraction("name", number) for number in range(5000)]
    assert 0 <= min(named) < max(named) < 1
    assert sum(named) / len(named) == pytest.approx(0.5, abs=0.02)

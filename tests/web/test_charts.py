"""The small charts: valid SVG within its frame, coloured by class only."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.candle_chart import ChartCandle
from app.services.market_quality import MarketQuality, QualityGap
from app.services.views import StageView
from app.web.charts import (
    candle_line,
    drawdown_line,
    duration_bar,
    elapsed_words,
    quality_strip,
    sparkline,
    stage_bar,
)

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def bar_of(svg: str) -> tuple[float, float]:
    """Offset and width of the filled part, in per cent."""
    rect = ElementTree.fromstring(svg).findall("rect")[1]
    return float(rect.get("x", "")), float(rect.get("width", ""))


def candle(close: str, hours: int = 0) -> ChartCandle:
    """A candle that matters by its close only."""
    price = Decimal(close)
    return ChartCandle(
        opened_at=START + timedelta(hours=hours), open=price, high=price, low=price, close=price,
        volume=None, is_final=True, candle_count=1, sample_count=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "direction", "label"),
    [
        ((1.0, 2.0), "up", "up 100.0 %"),
        ((2.0, 1.0), "down", "down 50.0 %"),
        ((3.0, 3.0), "flat", "unchanged"),
    ],
)
def test_a_sparkline_says_its_direction(
    values: tuple[float, ...], direction: str, label: str
) -> None:
    svg = sparkline(values)
    assert f'class="spark {direction}"' in svg
    assert f'aria-label="{label}"' in svg


@pytest.mark.parametrize("values", [(), (1.0,), (float("nan"), 1.0)])
def test_too_little_history_is_a_dash(values: tuple[float, ...]) -> None:
    assert "too little history" in sparkline(values)


@given(st.lists(st.floats(allow_nan=False, min_value=1e-12, max_value=1e15), min_size=2))
def test_a_sparkline_stays_within_its_frame(values: list[float]) -> None:
    points = re.search(r'points="([^"]+)"', sparkline(values))
    assert points
    pairs = [point.split(",") for point in points.group(1).split()]
    assert all(0 <= int(x) <= 2 * 88 and 0 <= int(y) <= 2 * 26 for x, y in pairs)


def test_a_duration_bar_is_a_share_of_the_longest() -> None:
    assert bar_of(duration_bar(2500, 10_000, "failed")) == (0, 25)
    assert "bar-failed" in duration_bar(2500, 10_000, "failed")


@pytest.mark.parametrize(
    ("duration", "longest", "width"), [(0, 100, 0), (1, 1e6, 0.8), (200, 100, 100), (5, 0, 0)]
)
def test_a_duration_bar_keeps_its_bounds(duration: float, longest: float, width: float) -> None:
    assert bar_of(duration_bar(duration, longest, "succeeded")) == (0, width)


def test_a_duration_bar_marks_what_was_expected() -> None:
    assert 'class="bar-mark" x="50.0"' in duration_bar(10, 100, "running", expected_ms=50)
    assert "bar-mark" not in duration_bar(10, 100, "running", expected_ms=500)


def test_a_stage_lies_where_it_ran() -> None:
    stage = StageView("a", "A", "succeeded", START + timedelta(seconds=2), 3000)
    assert bar_of(stage_bar(stage, START, 10_000)) == (20, 30)


def test_a_stage_at_work_reaches_to_the_present() -> None:
    stage = StageView("a", "A", "running", START + timedelta(seconds=4), None)
    assert bar_of(stage_bar(stage, START, 10_000)) == (40, 60)


def test_a_stage_that_overtakes_the_run_keeps_its_start() -> None:
    stage = StageView("a", "A", "failed", START + timedelta(seconds=8), 5000)
    assert bar_of(stage_bar(stage, START, 10_000)) == (80, 20)


def test_a_stage_that_has_not_begun_has_no_bar() -> None:
    assert bar_of(stage_bar(StageView("a", "A", "pending"), START, 10_000)) == (0, 0)


@given(st.integers(-5000, 50_000), st.integers(0, 90_000), st.integers(0, 20_000))
def test_a_stage_never_leaves_its_frame(offset: int, duration: int, total: int) -> None:
    started = START + timedelta(milliseconds=offset)
    x, width = bar_of(stage_bar(StageView("a", "A", "failed", started, duration), START, total))
    assert 0 <= x <= x + width <= 100.01


def test_a_price_line_names_lowest_and_highest() -> None:
    html = candle_line([candle("0.0000000000042", 0), candle("3", 1), candle("2", 2)])
    assert "high 3.00000" in html
    assert "low 0.0₁₁42" in html
    assert 'class="line-chart up"' in html


def test_one_candle_makes_no_line() -> None:
    assert candle_line([candle("1", 0)]) == ""


@pytest.mark.parametrize(
    ("elapsed", "expected", "words"),
    [
        (1000, 5000, "about 4.0 s left (median 5.0 s)"),
        (6000, 5000, "longer than usual (median 5.0 s)"),
        (6000, None, "no past run to estimate the end from"),
    ],
)
def test_the_end_is_estimated_from_the_median(
    elapsed: float, expected: float | None, words: str
) -> None:
    assert elapsed_words(elapsed, expected) == words


def test_no_chart_needs_a_style_attribute() -> None:
    stage = StageView("a", "A", "failed", START, 5)
    charts = [
        sparkline((1.0, 2.0)), duration_bar(1, 2, "failed", expected_ms=1),
        stage_bar(stage, START, 10), candle_line([candle("1", 0), candle("2", 1)]),
    ]  # fmt: skip
    assert not any("style=" in chart for chart in charts)


def test_a_slow_run_has_a_mark_of_its_own() -> None:
    bar = duration_bar(10, 100, "succeeded", expected_ms=20, slow_ms=80)
    assert 'class="bar-mark" x="20.0"' in bar
    assert 'class="bar-mark slow" x="80.0"' in bar


def test_the_bar_of_a_run_at_work_grows_until_the_longest() -> None:
    bar = duration_bar(4_000, 10_000, "running", grows=True)
    assert 'from="40.0" to="100" dur="6000ms"' in bar
    assert "animate" not in duration_bar(10_000, 10_000, "running", grows=True)


def test_a_drawdown_is_measured_from_the_highest_close_before() -> None:
    drawn = drawdown_line([candle(close) for close in ("100", "80", "120", "90")])
    assert "Drawdown: deepest −25.0 %, now −25.0 %" in drawn
    assert 'd="M-9 -9V0h9l640 192 640-192 640 240h9V-9z"' in drawn
    assert drawdown_line([candle("1")]) == ""


def test_a_series_that_never_fell_lies_at_nought() -> None:
    assert "deepest 0 %" in drawdown_line([candle("1"), candle("2")])


def test_gaps_lie_where_they_are_in_the_strip() -> None:
    end = datetime(2026, 3, 4, tzinfo=UTC)
    start = end - timedelta(hours=10)
    gap = QualityGap(start + timedelta(hours=5), start + timedelta(hours=7), 2, "no_run")
    strip = quality_strip(MarketQuality(start, end, 10, 8, (gap,)))
    assert 'class="cause-no_run" x="360.0" width="144.0"' in strip
    assert "2 of 10 hourly candles missing" in strip

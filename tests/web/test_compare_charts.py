"""The drawings of the Compare page: scales, labels, holes and strange values."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.web.compare_charts import (
    HEIGHT,
    MOST_DRAWN,
    WIDTH,
    ChartLine,
    LineChart,
    draw_lines,
    swatch,
)
from tests.web.deck import Markup

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def draw(*series: list[float], hours: list[int] | None = None, **options: object) -> LineChart:
    lines = [
        ChartLine(
            f"M{tone}", tone, [(START + h * HOUR, v) for h, v in zip(at, values, strict=True)]
        )
        for tone, values in enumerate(series, start=1)
        for at in [hours or list(range(len(values)))]
    ]
    span = max(hours or [len(series[0]) - 1])
    end = START + span * HOUR
    chart = draw_lines(lines, title="Test", start=START, end=end, step=HOUR, **options)
    assert chart is not None
    return chart


def paths(chart: LineChart) -> list[str]:
    return re.findall(r'class="line-\d" d="([^"]*)"', str(chart.svg))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([90.0, 135.0], ("140", "130", "120", "110", "100", "90")),
        ([0.0755, 0.0782], ("0.079", "0.078", "0.077", "0.076", "0.075")),
        ([-28.0, 38.0], ("40", "20", "0", "−20", "−40")),
        ([5.0, 5.0], ("5.06", "5.04", "5.02", "5.00", "4.98", "4.96", "4.94")),
        ([0.0, 0.0], ("1.0", "0.5", "0.0", "−0.5", "−1.0")),
        ([1e9, 4e9], ("4.00 B", "3.00 B", "2.00 B", "1.00 B")),
        ([2e-12, 6e-12], ("0.0₁₁6", "0.0₁₁5", "0.0₁₁4", "0.0₁₁3", "0.0₁₁2")),
    ],
)
def test_labels_are_round_and_span_the_values(values: list[float], labels: tuple[str, ...]) -> None:
    assert draw(values).values == labels


@pytest.mark.parametrize("scale", [1e-70, 1e-9, 1e-3, 1.0, 12345.678, 1e15, 1e70])
def test_no_two_labels_read_the_same(scale: float) -> None:
    labels = draw([scale, scale * 1.07, scale * 1.31]).values
    assert len(labels) == len(set(labels)) >= 3


def test_lines_lie_within_the_drawing_and_reach_its_ends() -> None:
    (path,) = paths(draw([1.0, 3.0, 2.0]))
    numbers = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    assert [x for x, _ in numbers] == [0, WIDTH / 2, WIDTH]
    assert all(0 <= y <= HEIGHT for _, y in numbers)
    assert numbers[1][1] < numbers[2][1] < numbers[0][1]


def test_a_hole_in_the_closes_is_a_hole_in_the_line() -> None:
    (path,) = paths(draw([1.0, 2.0, 3.0, 4.0], hours=[0, 1, 5, 6]))
    assert path.count("M") == 2


def test_a_lonely_point_is_a_dot() -> None:
    (path,) = paths(draw([1.0, 2.0, 3.0], hours=[0, 1, 9]))
    assert path.endswith("h0")


def test_values_that_are_no_numbers_are_left_out() -> None:
    chart = draw([1.0, float("inf"), float("nan"), 2.0])
    assert not re.search("nan|inf", str(chart.svg))
    nothing = ChartLine("M", 1, [(START, float("nan"))])
    frame = {"start": START, "end": START + HOUR, "step": HOUR}
    assert draw_lines([nothing], title="T", **frame) is None
    assert draw_lines([], title="T", **frame) is None


def test_long_lines_are_thinned_to_their_extremes() -> None:
    values = [float(n % 97) for n in range(5000)]
    values[3333] = 500.0
    (path,) = paths(draw(values))
    assert len(re.findall("[ML]", path)) <= MOST_DRAWN
    assert min(float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]) == 0


def test_a_reader_of_the_screen_is_told_the_course() -> None:
    markup = Markup(str(draw([100.0, 80.0, 134.5], [100.0, 101.0, 99.0]).svg))
    label = markup.all("svg")[0]["aria-label"]
    assert label is not None
    assert "M1 from 100 to 134.5, lowest 80, highest 134.5; M2 from 100 to 99" in label


def test_names_cannot_break_the_drawing() -> None:
    line = ChartLine('"><script>', 1, [(START, 1.0), (START + HOUR, 2.0)])
    chart = draw_lines([line], title="<b>", start=START, end=START + HOUR, step=HOUR)
    assert chart is not None
    assert "<script>" not in chart.svg
    assert "<b>" not in chart.svg


def test_instants_are_spaced_equally_from_start_to_end() -> None:
    instants = [instant for instant, _ in draw([1.0] * 25).instants]
    assert (instants[0], instants[-1]) == (START, START + 24 * HOUR)
    assert {after - before for before, after in pairwise(instants)} == {6 * HOUR}
    assert swatch(3).count("line-3") == 1

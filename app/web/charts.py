"""Small charts drawn on the server as SVG: sparklines, bars, lines, the strip of missing candles.

Colours come from classes and sizes from attributes, so that the page's policy needs no exception.
Floats are good enough here: nothing drawn is read back as a number.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from markupsafe import Markup

from app.services.candle_chart import ChartCandle
from app.services.market_quality import MarketQuality
from app.services.views import StageView
from app.web.formats import duration_text, instant_text, price_text
from app.web.html import Shape
from app.web.words import cause_words

_LEAST_WIDTH = 0.8
_SPARK_MARGIN = 6
_BEYOND = 9  # how far outside a drawing the hidden parts of its lines lie
_NOTHING = Markup("")
_SPARKLINE = Shape(
    '<svg class="spark {}" viewBox="0 0 {} {}" width="{}" height="{}" role="img"'
    ' aria-label="{}"><polyline points="{}"/><circle cx="{}" cy="{}" r="4"/></svg>'
)
_BAR = Shape(
    '<svg class="bar bar-{}" viewBox="0 0 100 8" preserveAspectRatio="none"'
    ' aria-hidden="true"><rect class="bar-track" width="100" height="8"/>'
    '<rect class="bar-fill" x="{}" width="{}" height="8"{}{}</svg>'
)
_MARK = Shape('<rect class="{}" x="{}" width="0.8" height="8"/>')


def sparkline(values: Sequence[float], *, width: int = 88, height: int = 26) -> Markup:
    """The course of a price as a line with a dot at its end; an em dash below two points."""
    points = [value for value in values if math.isfinite(value)]
    if len(points) < 2:
        return Markup('<span class="none" title="too little history">—</span>')
    # Drawn at double size in whole numbers: as sharp, and half as long in the page.
    columns = _columns(len(points), 2 * width)
    rows = _rows(points, 2 * height)
    line = " ".join([f"{x},{y}" for x, y in zip(columns, rows, strict=True)])
    return _SPARKLINE(
        _direction(points), 2 * width, 2 * height, width, height, _describe(points),
        line, columns[-1], rows[-1],
    )  # fmt: skip


@lru_cache(maxsize=256)
def _columns(count: int, width: int) -> tuple[int, ...]:
    step = (width - 2 * _SPARK_MARGIN) / (count - 1)
    return tuple(round(_SPARK_MARGIN + index * step) for index in range(count))


def _rows(values: Sequence[float], height: int, *, margin: int = _SPARK_MARGIN) -> list[int]:
    """The heights of a line's points; a constant series lies in the middle."""
    lowest, highest = min(values), max(values)
    span = highest - lowest
    if not span:
        return [height // 2] * len(values)
    scale = (height - 2 * margin) / span
    # Half a step more than the margin: cutting off rounds then.
    top = margin + 0.5
    return [int(top + scale * (highest - value)) for value in values]


def duration_bar(
    duration_ms: float | None,
    maximum_ms: float,
    status: str,
    *,
    expected_ms: float | None = None,
    slow_ms: float | None = None,
    grows: bool = False,
) -> Markup:
    """A bar of `duration_ms` against `maximum_ms`, marked at the expected and at a slow duration.

    The bar of a run that `grows` goes on by itself until the maximum is reached.
    """
    share = _share(duration_ms or 0, maximum_ms)
    marks = Markup("").join(
        _MARK(kind, round(min(99.2, _share(mark_ms, maximum_ms)), 2))
        for kind, mark_ms in (("bar-mark", expected_ms), ("bar-mark slow", slow_ms))
        if mark_ms and mark_ms <= maximum_ms
    )
    left_ms = maximum_ms - (duration_ms or 0)
    growth = _NOTHING
    if grows and left_ms > 0:
        growth = Markup(
            '<animate attributeName="width" from="{}" to="100" dur="{}ms" fill="freeze"/>'
        ).format(round(share, 2), round(left_ms))
    return _bar(offset=0, width=share, status=status, inside=growth, after=marks)


def stage_bar(stage: StageView, started_at: datetime, total_ms: float) -> Markup:
    """Where a stage lies within its run: offset and length against `total_ms`."""
    if stage.started_at is None:
        return _bar(offset=0, width=0, status=stage.status)
    offset = _share((stage.started_at - started_at).total_seconds() * 1000, total_ms)
    running_ms = total_ms * (100 - offset) / 100
    length = running_ms if stage.duration_ms is None else stage.duration_ms
    width = max(_LEAST_WIDTH, min(_share(length, total_ms), 100 - offset))
    return _bar(offset=min(offset, 100 - width), width=width, status=stage.status)


def candle_line(candles: Sequence[ChartCandle], *, width: int = 1920, height: int = 560) -> Markup:
    """The closes of candles, oldest first, as a filled line with lowest and highest price."""
    closes = [float(candle.close) for candle in candles]
    if len(closes) < 2:
        return Markup("")
    rows = _rows(closes, height, margin=36)
    lowest, highest = (pick(candles, key=lambda candle: candle.close).close for pick in (min, max))
    return Markup(
        '<svg class="line-chart {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}; lowest close {}, highest {}"><path d="{}"/></svg>'
        '<p class="line-chart-range"><span>high {}</span><span>low {}</span></p>'
    ).format(
        _direction(closes), width, height, _describe(closes),
        price_text(lowest), price_text(highest),
        _area(rows, width=width, edge=height + _BEYOND),
        price_text(highest), price_text(lowest),
    )  # fmt: skip


def drawdown_line(
    candles: Sequence[ChartCandle], *, width: int = 1920, height: int = 240
) -> Markup:
    """How far each close of candles, oldest first, lies under the highest close before it."""
    depths = _drawdowns([float(candle.close) for candle in candles])
    if len(depths) < 2:
        return Markup("")
    deepest = min(depths)
    # A scale of its own: the deepest point lies at the bottom.
    rows = [round(height * depth / deepest if deepest else 0) for depth in depths]
    return Markup(
        '<svg class="line-chart drawdown down" viewBox="0 0 {} {}" preserveAspectRatio="none"'
        ' role="img" aria-label="Drawdown: deepest {}, now {}"><path d="{}"/></svg>'
        '<p class="line-chart-range"><span>0 %</span><span>{}</span></p>'
    ).format(
        width, height, _depth_text(deepest), _depth_text(depths[-1]),
        _area(rows, width=width, edge=-_BEYOND), _depth_text(deepest),
    )  # fmt: skip


def quality_strip(quality: MarketQuality, *, width: int = 720, height: int = 24) -> Markup:
    """The hours of a look-back as a strip: gaps stand out by colour and height, causes by title."""
    span = (quality.end_at - quality.start_at).total_seconds()
    if span <= 0:
        return Markup("")
    gaps = Markup("").join(
        Markup(
            '<rect class="cause-{}" x="{}" width="{}" height="{}"><title>{}: {}</title></rect>'
        ).format(
            gap.cause,
            round(width * (gap.start_at - quality.start_at).total_seconds() / span, 2),
            round(max(1.5, width * (gap.end_at - gap.start_at).total_seconds() / span), 2),
            height,
            instant_text(gap.start_at),
            cause_words(gap.cause),
        )
        for gap in quality.gaps
    )
    missing = quality.expected_count - quality.present_count
    return Markup(
        '<svg class="quality-strip" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{} of {} hourly candles missing">'
        '<rect class="strip-whole" y="6" width="{}" height="{}"/>{}</svg>'
    ).format(width, height, missing, quality.expected_count, width, height - 12, gaps)


def elapsed_words(elapsed_ms: float, expected_ms: float | None) -> str:
    """How much of a run is left by the median of the past: `about 4.0 s left`."""
    if not expected_ms:
        return "no past run to estimate the end from"
    left = expected_ms - elapsed_ms
    if left <= 0:
        return f"longer than usual (median {duration_text(expected_ms)})"
    return f"about {duration_text(left)} left (median {duration_text(expected_ms)})"


def _bar(
    *,
    offset: float,
    width: float,
    status: str,
    inside: Markup = _NOTHING,
    after: Markup = _NOTHING,
) -> Markup:
    return _BAR(
        status,
        round(offset, 2),
        round(width, 2),
        Markup(">{}</rect>").format(inside) if inside else Markup("/>"),
        after,
    )


def _share(part: float, whole: float) -> float:
    """`part` of `whole` in per cent, between 0 and 100; anything at all stays visible."""
    if whole <= 0 or part <= 0:
        return 0.0
    return max(_LEAST_WIDTH, min(100.0, 100 * part / whole))


def _area(rows: Sequence[int], *, width: int, edge: int) -> str:
    """A path over the whole width through these heights, closed by `edge`.

    Its ends and `edge` lie outside the drawing, so that only the line itself is seen drawn. Steps
    in whole numbers are the shortest way to say a path.
    """
    columns = [round(width * place / (len(rows) - 1)) for place in range(len(rows))]
    steps = [
        f"{x - before_x}{y - before_y:+d}"
        for (before_x, before_y), (x, y) in pairwise(zip(columns, rows, strict=True))
    ]
    line = " ".join(steps).replace("+", " ")
    return f"M{-_BEYOND} {edge}V{rows[0]}h{_BEYOND}l{line}h{_BEYOND}V{edge}z"


def _drawdowns(closes: Sequence[float]) -> list[float]:
    """Each value against the highest before it, in per cent: 0 and less."""
    highest, depths = 0.0, []
    for close in closes:
        highest = max(highest, close)
        depths.append(100 * (close - highest) / highest if highest else 0.0)
    return depths


def _depth_text(depth: float) -> str:
    return f"−{-depth:.1f} %" if depth <= -0.05 else "0 %"


def _direction(values: Sequence[float]) -> str:
    if values[-1] == values[0]:
        return "flat"
    return "up" if values[-1] > values[0] else "down"


def _describe(values: Sequence[float]) -> str:
    first, last = values[0], values[-1]
    if last == first or first == 0:
        return "unchanged"
    change = 100 * (last - first) / abs(first)
    return f"{'up' if change > 0 else 'down'} {abs(change):.1f} %"

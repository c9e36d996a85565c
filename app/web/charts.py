"""Small charts drawn on the server as SVG: sparklines, duration bars, stage bars, a price line.

Colours come from classes and sizes from attributes, so that the page's policy needs no exception.
Floats are good enough here: nothing drawn is read back as a number.
"""

import math
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from app.services.views import CandleView, StageView
from app.web.formats import duration_text, price_text

_LEAST_WIDTH = 0.8


def sparkline(values: Sequence[float], *, width: int = 88, height: int = 26) -> Markup:
    """The course of a price as a line with a dot at its end; an em dash below two points."""
    points = [value for value in values if math.isfinite(value)]
    if len(points) < 2:
        return Markup('<span class="none" title="too little history">—</span>')
    # Drawn at double size in whole numbers: as sharp, and half as long in the page.
    placed = _place(points, width=2 * width, height=2 * height, margin=6, digits=None)
    return Markup(
        '<svg class="spark {}" viewBox="0 0 {} {}" width="{}" height="{}" role="img"'
        ' aria-label="{}"><polyline points="{}"/><circle cx="{}" cy="{}" r="4"/></svg>'
    ).format(
        _direction(points), 2 * width, 2 * height, width, height, _describe(points),
        _join(placed), *placed[-1],
    )  # fmt: skip


def duration_bar(
    duration_ms: float | None, maximum_ms: float, status: str, *, expected_ms: float | None = None
) -> Markup:
    """A bar of `duration_ms` against `maximum_ms`, with a mark at the expected duration."""
    share = _share(duration_ms or 0, maximum_ms)
    mark = Markup("")
    if expected_ms and expected_ms <= maximum_ms:
        mark = Markup('<rect class="bar-mark" x="{}" width="0.8" height="8"/>').format(
            min(99.2, _share(expected_ms, maximum_ms))
        )
    return _bar(offset=0, width=share, status=status, after=mark)


def stage_bar(stage: StageView, started_at: datetime, total_ms: float) -> Markup:
    """Where a stage lies within its run: offset and length against `total_ms`."""
    if stage.started_at is None:
        return _bar(offset=0, width=0, status=stage.status)
    offset = _share((stage.started_at - started_at).total_seconds() * 1000, total_ms)
    running_ms = total_ms * (100 - offset) / 100
    length = running_ms if stage.duration_ms is None else stage.duration_ms
    width = max(_LEAST_WIDTH, min(_share(length, total_ms), 100 - offset))
    return _bar(offset=min(offset, 100 - width), width=width, status=stage.status)


def candle_line(candles: Sequence[CandleView], *, width: int = 960, height: int = 280) -> Markup:
    """The closes of candles, oldest first, as a filled line with lowest and highest price."""
    closes = [float(candle.close) for candle in candles]
    if len(closes) < 2:
        return Markup("")
    placed = _place(closes, width=width, height=height, margin=18)
    area = f"{placed[0][0]},{height} {_join(placed)} {placed[-1][0]},{height}"
    lowest, highest = (pick(candles, key=lambda candle: candle.close).close for pick in (min, max))
    return Markup(
        '<svg class="line-chart {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}; lowest close {}, highest {}"><polygon points="{}"/>'
        '<polyline points="{}"/></svg>'
        '<p class="line-chart-range"><span>high {}</span><span>low {}</span></p>'
    ).format(
        _direction(closes), width, height, _describe(closes),
        price_text(lowest), price_text(highest), area, _join(placed),
        price_text(highest), price_text(lowest),
    )  # fmt: skip


def elapsed_words(elapsed_ms: float, expected_ms: float | None) -> str:
    """How much of a run is left by the median of the past: `about 4.0 s left`."""
    if not expected_ms:
        return "no past run to estimate the end from"
    left = expected_ms - elapsed_ms
    if left <= 0:
        return f"longer than usual (median {duration_text(expected_ms)})"
    return f"about {duration_text(left)} left (median {duration_text(expected_ms)})"


def _bar(*, offset: float, width: float, status: str, after: Markup | None = None) -> Markup:
    return Markup(
        '<svg class="bar bar-{}" viewBox="0 0 100 8" preserveAspectRatio="none"'
        ' aria-hidden="true"><rect class="bar-track" width="100" height="8"/>'
        '<rect class="bar-fill" x="{}" width="{}" height="8"/>{}</svg>'
    ).format(status, round(offset, 2), round(width, 2), after or Markup(""))


def _share(part: float, whole: float) -> float:
    """`part` of `whole` in per cent, between 0 and 100; anything at all stays visible."""
    if whole <= 0 or part <= 0:
        return 0.0
    return max(_LEAST_WIDTH, min(100.0, 100 * part / whole))


def _place(
    values: Sequence[float], *, width: int, height: int, margin: int, digits: int | None = 1
) -> list[tuple[float, float]]:
    """Spread the values over the drawing; a constant series lies in the middle."""
    lowest, highest = min(values), max(values)
    span = highest - lowest
    step = (width - 2 * margin) / (len(values) - 1)
    room = height - 2 * margin
    return [
        (
            round(margin + index * step, digits),
            round(margin + (room * (highest - value) / span if span else room / 2), digits),
        )
        for index, value in enumerate(values)
    ]


def _join(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


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

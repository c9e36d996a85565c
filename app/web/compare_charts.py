"""The Compare page's charts: several lines on one scale as SVG, their labels as text beside it.

The drawing is stretched to the room it gets, so the labels stand outside of it, where they keep
their size. Lines differ in colour and in the pattern of their dashes. Floats are good enough here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from markupsafe import Markup

from app.analytics.courses import thin
from app.web.formats import compact_text, ratio_text

WIDTH, HEIGHT = 1000, 400
MOST_DRAWN = 420
_TIME_LABELS = 5
# About so many lines across the chart; the steps between them are 1, 2, 2.5 or 5 times a power.
_VALUE_LABELS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# A hole of more than one and a half steps is shown as a hole.
_HOLE = 1.5

ChartPoint = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line; `tone` (1 to 5) chooses colour and dashes, `label` names it to a screen reader."""

    label: str
    tone: int
    points: Sequence[ChartPoint]


@dataclass(frozen=True, slots=True)
class LineChart:
    """A drawing and the labels beside it: values from top to bottom, instants left to right."""

    svg: Markup
    values: tuple[str, ...]
    instants: tuple[tuple[datetime, str], ...]


def draw_lines(
    lines: Sequence[ChartLine],
    *,
    title: str,
    start: datetime,
    end: datetime,
    step: timedelta,
    mark: float | None = None,
) -> LineChart | None:
    """Lines over `[start, end]` on one scale, with a stronger line at `mark`; None without points.

    `step` is the distance of neighbouring points; a line is broken where one is missing.
    """
    sound = [(line, _sound(line.points)) for line in lines]
    values = [value for _, points in sound for _, value in points]
    if not values:
        return None
    scale = _scale(values if mark is None else [*values, mark])
    frame = _Frame(start, end, scale[0], scale[-1], step)
    described = "; ".join(_describe(line.label, points) for line, points in sound if points)
    svg = Markup(
        '<svg class="plot-lines" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}: {}">{}{}{}</svg>'
    ).format(
        WIDTH,
        HEIGHT,
        title,
        described,
        _join(_rule(frame, value, "grid") for value in scale[1:-1]),
        Markup("") if mark is None else _rule(frame, mark, "mark"),
        _join(_path(frame, line.tone, points) for line, points in sound if points),
    )
    return LineChart(
        svg=svg,
        values=tuple(_label(value, scale[1] - scale[0]) for value in reversed(scale)),
        instants=_instants(start, end),
    )


def swatch(tone: int) -> Markup:
    """A short piece of the line, for a legend."""
    return Markup(
        '<svg class="line-swatch" viewBox="0 0 28 10" width="28" height="10" aria-hidden="true">'
        '<path class="line-{}" d="M0 5H28"/></svg>'
    ).format(tone)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where instants and values lie in the drawing."""

    start: datetime
    end: datetime
    low: float
    high: float
    step: timedelta

    def x(self, instant: datetime) -> float:
        length = self.end - self.start
        return round(WIDTH * ((instant - self.start) / length), 1) if length else WIDTH / 2

    def y(self, value: float) -> float:
        return round(HEIGHT * (self.high - value) / (self.high - self.low), 1)


def _sound(points: Sequence[ChartPoint]) -> list[ChartPoint]:
    return [point for point in points if math.isfinite(point[1])]


def _scale(values: Sequence[float]) -> list[float]:
    """Round values at equal steps that span the given ones, lowest first; at least two."""
    low, high = min(values), max(values)
    if high - low <= abs(high) * 1e-9:
        room = abs(high) * 0.01 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / _VALUE_LABELS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _label(value: float, step: float) -> str:
    """A value with as many decimals as the step has, so that no two labels read the same."""
    exact_value = Decimal(f"{value:.12g}") if abs(value) > step / 2 else Decimal(0)
    if step >= 1e6:
        return compact_text(exact_value).replace("-", "−")
    if step < 1e-6:
        return ratio_text(exact_value)
    power = math.floor(math.log10(step) + 1e-9)
    is_quarter = abs(step / 10.0**power - 2.5) < 1e-9
    return f"{exact_value:,.{max(0, is_quarter - power)}f}".replace("-", "−")


def _path(frame: _Frame, tone: int, points: Sequence[ChartPoint]) -> Markup:
    holes = [0]
    for (before, _), (after, _) in pairwise(points):
        holes.append(holes[-1] + (after - before > frame.step * _HOLE))
    parts = []
    drawn = None
    for place in thin([[value for _, value in points]], MOST_DRAWN):
        letter = "L" if drawn is not None and holes[place] == holes[drawn] else "M"
        instant, value = points[place]
        parts.append(f"{letter}{frame.x(instant):g} {frame.y(value):g}")
        drawn = place
    # A point without neighbours is a line of no length; its round ends make it a dot.
    return Markup('<path class="line-{}" d="{}"/>').format(tone, _with_dots(parts))


def _with_dots(parts: Sequence[str]) -> str:
    alone = [
        part[0] == "M" and (place + 1 == len(parts) or parts[place + 1][0] == "M")
        for place, part in enumerate(parts)
    ]
    return "".join(part + ("h0" if lone else "") for part, lone in zip(parts, alone, strict=True))


def _rule(frame: _Frame, value: float, kind: str) -> Markup:
    return Markup('<path class="plot-{}" d="M0 {}H{}"/>').format(kind, f"{frame.y(value):g}", WIDTH)


def _describe(label: str, points: Sequence[ChartPoint]) -> str:
    values = [value for _, value in points]
    first, last, low, high = (
        ratio_text(Decimal(f"{value:.5g}"))
        for value in (values[0], values[-1], min(values), max(values))
    )
    return f"{label} from {first} to {last}, lowest {low}, highest {high}"


def _instants(start: datetime, end: datetime) -> tuple[tuple[datetime, str], ...]:
    """Equally spaced instants with their texts, the longer the range the coarser."""
    length = end - start
    form = "%d %b %Y" if length > timedelta(days=120) else "%d %b"
    form = "%d %b %H:%M" if length <= timedelta(days=10) else form
    places = (start + length * number / (_TIME_LABELS - 1) for number in range(_TIME_LABELS))
    return tuple((place, place.strftime(form)) for place in places)


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)

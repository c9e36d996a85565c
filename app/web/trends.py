"""How the charts of the page of metrics are drawn: as SVG, with their labels beside it.

The drawing is stretched to the room it gets, so the labels stand outside of it. The page's script
draws the same lines from the table that belongs to each chart, on the same scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from markupsafe import Markup

from app.services.operation_views import Bucket, LookBack
from app.web.formats import compact_text, duration_text
from app.web.ops_words import size_words

WIDTH, HEIGHT = 1000, 300
_INSTANTS = 5
_RULES = 4
_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
# Steps that people count time in, in milliseconds.
_TIME_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(_SECOND * n for n in (1, 2, 5, 10, 20, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 5, 10, 20, 50, 100)),
)
_COUNT_STEPS = tuple(factor * 10**power for power in range(16) for factor in (1, 2, 5))


@dataclass(frozen=True, slots=True)
class TrendLine:
    """One line, a value a bucket (None: a hole); `tone` (1 to 5) chooses colour and dashes."""

    label: str
    tone: int
    values: tuple[int | None, ...]

    @property
    def newest(self) -> int | None:
        """The last value there is."""
        return next((value for value in reversed(self.values) if value is not None), None)


@dataclass(frozen=True, slots=True)
class Trend:
    """A chart: `unit` is `ms`, `count` or `bytes`; `scale` holds the values of its rules, from 0.

    `nothing` says why there is nothing to draw, and is empty where there is.
    """

    name: str
    title: str
    about: str
    unit: str
    lines: tuple[TrendLine, ...]
    scale: tuple[int, ...]
    labels: tuple[str, ...]
    svg: Markup
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeBars:
    """Runs by outcome as bars: those that brought data upwards, the others downwards."""

    svg: Markup
    labels: tuple[str, ...]


def build_trend(
    name: str, title: str, about: str, unit: str, lines: Sequence[TrendLine], *, nothing: str = ""
) -> Trend:
    """The chart of these lines; where `nothing` is said it stands in the chart's place."""
    values = [value for line in lines for value in line.values if value is not None]
    step = _step(max(values, default=0), _TIME_STEPS if unit == "ms" else _COUNT_STEPS)
    top = step * max(1, -(-max(values, default=0) // step))
    scale = tuple(step * place for place in range(round(top / step) + 1))
    label = _LABELS[unit]
    return Trend(
        name=name,
        title=title,
        about=about,
        unit=unit,
        lines=tuple(lines),
        scale=scale,
        labels=tuple(label(value) for value in scale),
        svg=_draw(title, lines, scale, label),
        nothing=nothing,
    )


def draw_outcomes(buckets: Sequence[Bucket]) -> OutcomeBars:
    """The runs of each bucket; up and down share one scale."""
    good = [bucket.succeeded + bucket.partial for bucket in buckets]
    bad = [bucket.runs - count for bucket, count in zip(buckets, good, strict=True)]
    step = _step(max([*good, *bad, 1]), _COUNT_STEPS)
    top, bottom = (step * -(-max(values, default=0) // step) for values in (good, bad))
    top = top or step
    height = HEIGHT / (top + bottom)
    bars = Markup("").join(
        _bar(bucket, place / len(buckets), 1 / len(buckets), zero=top, height=height)
        for place, bucket in enumerate(buckets)
    )
    rule = Markup('<path class="plot-mark" d="M0 {}H{}"/>').format(f"{top * height:g}", WIDTH)
    svg = Markup(
        '<svg class="plot-lines outcome-bars" viewBox="0 0 {} {}" preserveAspectRatio="none"'
        ' role="img" aria-label="{} runs brought data, {} did not">{}{}</svg>'
    ).format(WIDTH, HEIGHT, sum(good), sum(bad), bars, rule)
    marks = range(int(top), -int(bottom) - 1, -int(step))
    return OutcomeBars(svg, tuple(count_label(abs(value)) for value in marks))


def instants(buckets: Sequence[Bucket], look_back: LookBack) -> tuple[str, ...]:
    """Labels below a chart, left to right, in UTC."""
    if not buckets:
        return ()
    start, end = buckets[0].began_at, buckets[-1].ended_at
    pattern = "%H:%M" if look_back is LookBack.DAY else "%d %b"
    return tuple(
        format(start + (end - start) * place / (_INSTANTS - 1), pattern)
        for place in range(_INSTANTS)
    )


def bucket_words(began_at: datetime, look_back: LookBack) -> str:
    """When a bucket begins, as short as its length allows."""
    return format(began_at, "%Y-%m-%d" if look_back.step >= timedelta(days=1) else "%Y-%m-%d %H:%M")


def count_label(value: float) -> str:
    """A whole number short enough for an axis."""
    return f"{int(value):,}" if value < 100_000 else compact_text(Decimal(int(value)))


def time_label(value: float) -> str:
    """A length of time on an axis: `2 s`, not `2.0 s`."""
    return "0" if not value else duration_text(value).replace(".0 s", " s")


_LABELS: dict[str, Callable[[float], str]] = {
    "ms": time_label,
    "count": count_label,
    "bytes": lambda value: size_words(int(value)),
}


def _step(highest: float, steps: Sequence[int]) -> int:
    """The smallest step that needs no more than a few rules up to the highest value."""
    return next((step for step in steps if step * _RULES >= highest), steps[-1])


def _draw(
    title: str, lines: Sequence[TrendLine], scale: Sequence[float], label: Callable[[float], str]
) -> Markup:
    top = scale[-1]
    rules = Markup("").join(
        Markup('<path class="plot-grid" d="M0 {}H{}"/>').format(f"{_y(value, top):g}", WIDTH)
        for value in scale[1:-1]
    )
    drawn = Markup("").join(_path(line, top) for line in lines)
    newest = "; ".join(
        f"{line.label} {label(line.newest)}" for line in lines if line.newest is not None
    )
    return Markup(
        '<svg class="plot-lines" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}, newest: {}">{}{}</svg>'
    ).format(WIDTH, HEIGHT, title, newest or "nothing", rules, drawn)


def _path(line: TrendLine, top: float) -> Markup:
    parts, is_open = [], False
    for place, value in enumerate(line.values):
        if value is None:
            is_open = False
            continue
        x = WIDTH * (place + 0.5) / len(line.values)
        # A line of no length is drawn as a dot, so that a lonely value is seen, too.
        parts.append(f"{'L' if is_open else 'M'}{x:g} {_y(value, top):g}{'' if is_open else 'h0'}")
        is_open = True
    return Markup('<path class="line-{}" d="{}"/>').format(line.tone, "".join(parts))


def _y(value: float, top: float) -> float:
    return round(HEIGHT * (1 - value / top), 1)


def _bar(bucket: Bucket, left: float, width: float, *, zero: float, height: float) -> Markup:
    """The rectangles of one bucket: up from `zero` what brought data, down what did not."""
    up, down, parts = zero, zero, []
    for status in ("succeeded", "partial"):
        count = getattr(bucket, status)
        up -= count
        parts.append((status, up, count))
    for status in ("failed", "abandoned", "cancelled"):
        count = getattr(bucket, status)
        parts.append((status, down, count))
        down += count
    return Markup("").join(
        Markup(
            '<rect class="outcome-{}" x="{}" width="{}" y="{}" height="{}">'
            "<title>{:%Y-%m-%d %H:%M}: {} {}</title></rect>"
        ).format(
            status,
            round(WIDTH * (left + width * 0.12), 1),
            round(WIDTH * width * 0.76, 1),
            round(height * y, 1),
            round(height * count, 1),
            bucket.began_at,
            count,
            status,
        )
        for status, y, count in parts
        if count
    )

"""Price courses made comparable and fit to draw: rebased to 100, thinned to their extremes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.analytics.rounding import change_pct, divide, is_usable

PricePoint = tuple[datetime, Decimal]
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Course:
    """One market's closes from the common base on, and what became of 100 put in there.

    `points` are (instant, price) in order, `rebased` the value of 100 at each of them (28 digits);
    both reach back before the base where the market does. `change_pct` is that from the base to the
    last point; None, as the base itself, where the market has no point.
    """

    points: tuple[PricePoint, ...]
    rebased: tuple[PricePoint, ...] = ()
    base: PricePoint | None = None
    change_pct: Decimal | None = None


def build_courses(closes: Mapping[int, Sequence[PricePoint]]) -> dict[int, Course]:
    """The course of every market on one common base.

    The base is the first instant by which every market with closes has one, so that all lines stand
    at 100 (or had their last close before it) at the same moment. Prices not above zero are left
    out; points come in any order.
    """
    usable = {market: _ordered(points) for market, points in closes.items()}
    starts = [points[0][0] for points in usable.values() if points]
    base_at = max(starts, default=None)
    return {market: _course(points, base_at) for market, points in usable.items()}


def thin(columns: Sequence[Sequence[float | None]], limit: int) -> list[int]:
    """Positions to keep of parallel columns, at most `limit` of them, in order.

    The first and the last stay. Between them the rows are cut into equal stretches, and of each
    stretch those with the lowest and the highest value of every column stay: nothing that stands
    out is lost. Raises `ValueError` when `limit` leaves no stretch.
    """
    length = len(columns[0]) if columns else 0
    if length <= limit:
        return list(range(length))
    stretches = (limit - 2) // (2 * len(columns))
    if stretches < 1:
        raise ValueError(f"{limit} points are too few for {len(columns)} columns")
    kept = {0, length - 1}
    inner = length - 2
    for number in range(stretches):
        rows = range(1 + inner * number // stretches, 1 + inner * (number + 1) // stretches)
        for column in columns:
            kept |= _extremes(column, rows)
    return sorted(kept)


def _ordered(points: Sequence[PricePoint]) -> tuple[PricePoint, ...]:
    return tuple(sorted((point for point in points if is_usable(point[1])), key=_instant))


def _instant(point: PricePoint) -> datetime:
    return point[0]


def _course(points: tuple[PricePoint, ...], base_at: datetime | None) -> Course:
    if not points or base_at is None:
        return Course(())
    base = next(point for point in reversed(points) if point[0] <= base_at)
    return Course(
        points=points,
        rebased=tuple((instant, divide(price * _HUNDRED, base[1])) for instant, price in points),
        base=base,
        change_pct=change_pct(base[1], points[-1][1]),
    )


def _extremes(column: Sequence[float | None], rows: range) -> set[int]:
    """The positions of the lowest and highest value among `rows`; none where all are missing."""
    known = [(value, row) for row in rows if (value := column[row]) is not None]
    return {min(known)[1], max(known)[1]} if known else set()

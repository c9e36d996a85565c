"""Instants as integers: microseconds since 1970, so that numpy can sort and cut them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from app.domain import EPOCH_MONDAY, Granularity

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MONDAY = (EPOCH_MONDAY - EPOCH) // _MICROSECOND


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant."""
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC instant of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=int(micros))


def micros_of(instants: Iterable[datetime], count: int) -> IntArray:
    """`count` aware instants as microseconds, shape (count,); a naive one raises `TypeError`."""
    elapsed = [instant - EPOCH for instant in instants]
    days = np.fromiter((gap.days for gap in elapsed), np.int64, count)
    seconds = np.fromiter((gap.seconds for gap in elapsed), np.int64, count)
    micros = np.fromiter((gap.microseconds for gap in elapsed), np.int64, count)
    return (days * 86_400 + seconds) * 1_000_000 + micros


def step_micros(granularity: Granularity) -> int:
    """The length of one interval in microseconds."""
    return granularity.step // _MICROSECOND


def slots_of(instants: IntArray, granularity: Granularity) -> IntArray:
    """The number of the interval each instant lies in; slot n opens at `slot_opening(n)`."""
    return (instants - _MONDAY) // step_micros(granularity)


def slot_openings(slots: IntArray, granularity: Granularity) -> IntArray:
    """The instants at which the numbered intervals open, in microseconds."""
    return slots * step_micros(granularity) + _MONDAY

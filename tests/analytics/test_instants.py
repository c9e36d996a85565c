"""Instants as integers and back."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from app.analytics.instants import from_micros, micros_of, slot_openings, slots_of, to_micros
from app.domain import Granularity

INSTANTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2025, 3, 30, 1, 59, 59, 123456, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def test_microseconds_lead_back_to_the_same_instant() -> None:
    micros = micros_of(INSTANTS, len(INSTANTS))
    assert micros.tolist() == [to_micros(instant) for instant in INSTANTS]
    assert [from_micros(value) for value in micros.tolist()] == INSTANTS


def test_offset_of_an_instant_does_not_matter() -> None:
    moved = INSTANTS[2].astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert to_micros(moved) == to_micros(INSTANTS[2])


def test_instant_without_time_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        micros_of([datetime(2025, 1, 1)], 1)  # noqa: DTZ001


@pytest.mark.parametrize("granularity", list(Granularity))
def test_slots_open_where_the_granularity_does(granularity: Granularity) -> None:
    micros = micros_of(INSTANTS, len(INSTANTS))
    openings = slot_openings(slots_of(micros, granularity), granularity)
    assert [from_micros(value) for value in np.asarray(openings).tolist()] == [
        granularity.floor(instant) for instant in INSTANTS
    ]

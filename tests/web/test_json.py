"""How values become JSON."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app.web.json import ExactJSON, format_decimal

JSON = ExactJSON(Flask("json"))


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("2.8E-9"), '"0.0000000028"'),
        (Decimal("1E+18"), '"1000000000000000000"'),
        (Decimal("1.10"), '"1.10"'),
        (Colour.RED, '"red"'),
        (frozenset({"b", "a"}), '["a","b"]'),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), '"2026-01-02T03:04:05Z"'),
    ],
)
def test_values_are_written_plainly(value: object, text: str) -> None:
    assert JSON.dumps(value) == text


def test_an_instant_of_another_zone_is_written_in_utc() -> None:
    instant = datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert JSON.dumps([instant]) == '["2026-01-01T00:00:00Z"]'


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), datetime(2026, 1, 1)],  # noqa: DTZ001
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|time zone"):
        JSON.dumps({"value": value})


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        JSON.dumps(object())


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "[" * 100_000, '{"a":', ""])
def test_nonsense_is_refused_in_reading(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        JSON.loads(text)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_survives_its_text_without_an_exponent(value: Decimal) -> None:
    text = format_decimal(value)
    assert "E" not in text.upper()
    assert Decimal(text) == value

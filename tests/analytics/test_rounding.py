"""Significant digits, and numbers that read the same everywhere."""

from decimal import Decimal

import pytest

from app.analytics.rounding import change_pct, divide, plain, round_significant, to_ratio


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (1e15, "1000000000000000"),
        (-1.5e-9, "-1.5E-9"),
        (-0.0, "0"),
        (2 / 3, "0.666666666667"),
    ],
)
def test_float_becomes_twelve_significant_digits(value: float, text: str) -> None:
    assert str(to_ratio(value)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_float_that_is_no_number_becomes_none(value: float) -> None:
    assert to_ratio(value) is None


def test_no_positive_exponent_and_no_negative_zero() -> None:
    assert str(plain(Decimal("1.5E+3"))) == "1500"
    assert str(plain(Decimal("-0.00"))) == "0"
    assert str(round_significant(Decimal("123456789012345678"), 12)) == "123456789012000000"
    assert str(round_significant(Decimal("0.50"), 12)) == "0.5"


def test_quotient_is_what_the_default_context_gives() -> None:
    assert divide(Decimal(2), Decimal(3)) == Decimal(2) / Decimal(3)
    assert str(divide(Decimal("1E+9"), Decimal(4))) == "250000000"


def test_change_is_exact_to_sixteen_digits() -> None:
    assert change_pct(Decimal(100), Decimal(130)) == 30
    assert change_pct(Decimal(3), Decimal(4)) == Decimal("33.33333333333333")
    assert change_pct(Decimal("1E-40"), Decimal("1E-40")) == 0
    one_in_a_trillion = change_pct(Decimal("48460.07857593376"), Decimal("48460.07857593377"))
    assert one_in_a_trillion == Decimal("2.063554227286416E-14")

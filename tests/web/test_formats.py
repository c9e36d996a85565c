"""How numbers, durations, ages and names read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.formats import (
    age_text,
    clean_name,
    compact_text,
    countdown_text,
    duration_text,
    exact,
    price_text,
    ratio_text,
    signed_text,
)

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NUMBERS = st.decimals(
    min_value=Decimal("1e-30"), max_value=Decimal("1e30"), allow_nan=False, allow_infinity=False
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("0", "0"),
        ("1E-12", "0.0₁₁1"),
        ("0.00000000000042", "0.0₁₂42"),
        ("2.8e-09", "0.0₈28"),
        ("0.000099999", "0.0₄99999"),
        ("0.0000999999", "0.0001"),
        ("0.0001", "0.0001"),
        ("0.523451234", "0.52345"),
        ("1", "1.00000"),
        ("96.01234567", "96.0123"),
        ("523.4512", "523.451"),
        ("67187.3364", "67,187.34"),
        ("999999999.99", "999,999,999.99"),
        ("1e9", "1.0000 B"),
        ("1e15", "1,000.0 T"),
        ("1e18", "1,000,000 T"),
    ],
)
def test_prices_are_readable_at_every_size(given: str, shown: str) -> None:
    assert price_text(Decimal(given)) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [("950", "950"), ("999999", "1.00 M"), ("845123", "845 K"), ("1.234e9", "1.23 B"),
     ("1e13", "10.0 T"), ("1e15", "1,000 T"), ("0.5", "0.5"), ("-2500000", "-2.50 M"),
     ("0.0000000000009876", "0.0₁₂988"), ("0", "0")],
)  # fmt: skip
def test_amounts_are_short(given: str, shown: str) -> None:
    assert compact_text(Decimal(given)) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [("2.336", "+2.34"), ("-0.5", "−0.50"), ("0", "0.00"), ("0.004", "0.00"), ("-0.004", "0.00"),
     ("1234.5", "+1,234"), ("123456.7", "+123 K"), ("-1e9", "−1.00 B")],
)  # fmt: skip
def test_changes_carry_the_sign_of_what_is_shown(given: str, shown: str) -> None:
    assert signed_text(Decimal(given)) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [("1.20000", "1.2"), ("-0.0234567", "−0.023457"), ("123.456789", "123.46"), ("0", "0")],
)
def test_ratios_drop_trailing_zeros(given: str, shown: str) -> None:
    assert ratio_text(Decimal(given)) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [(0, "0 ms"), (840, "840 ms"), (999.6, "1.0 s"), (4200, "4.2 s"), (59_960, "1 min"),
     (65_000, "1 min 5 s"), (7_380_000, "2 h 3 min"), (172_800_000, "2 d")],
)  # fmt: skip
def test_durations_have_at_most_two_units(given: float, shown: str) -> None:
    assert duration_text(given) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "just now"), (42, "42 s ago"), (95, "1 min ago"), (3600, "1 h ago"),
     (11_520, "3 h 12 min ago"), (90_000, "1 d 1 h ago"), (-30, "in 30 s"),
     (-245, "in 4 min 5 s")],
)  # fmt: skip
def test_ages_count_back_and_ahead(seconds: int, shown: str) -> None:
    assert age_text(NOW - timedelta(seconds=seconds), NOW) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\u200b\u200bStable", "Stable"),
        ("evil\u202emoc.", "evilmoc."),
        ("a\x00b\x1b[31mc\r\nd", "ab[31mc d"),
        ("\u3164\u2800", ""),
        ("Z" + "\u0335" * 9 + "x", "Z\u0335\u0335x"),
        ("比特币", "比特币"),
        ("  two \u2003 spaces ", "two spaces"),
        ("x" * 60, "x" * 47 + "…"),
    ],
)
def test_names_lose_what_can_not_be_seen(given: str, shown: str) -> None:
    assert clean_name(given) == shown


@given(NUMBERS)
def test_no_number_is_ever_shown_with_an_exponent(value: Decimal) -> None:
    texts = [show(value) for show in (price_text, compact_text, ratio_text, signed_text, exact)]
    assert not any("E" in text.upper() for text in texts)


@given(NUMBERS)
def test_the_exact_text_is_the_number(value: Decimal) -> None:
    assert Decimal(exact(value)) == value


@given(st.text(max_size=200))
def test_a_cleaned_name_is_printable_short_and_stays_as_it_is(text: str) -> None:
    name = clean_name(text)
    assert len(name) <= 48
    assert name.isprintable()
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("seconds", "words"), [(42, "in 42 s"), (0.4, "due now"), (0, "due now"), (-90, "due now")]
)
def test_what_was_counted_down_to_is_due_and_not_past(seconds: float, words: str) -> None:
    assert countdown_text(NOW + timedelta(seconds=seconds), NOW) == words

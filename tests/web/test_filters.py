"""The filters: small pieces of HTML that carry their exact value and never break out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, render_template_string

from app.domain import NullReason, RunStatus, Trigger
from app.web import filters, words

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def show() -> Iterator[Any]:
    """Render an expression with `value` in it at a fixed present."""
    app = Flask("filters")
    app.extensions["tapedeck"] = SimpleNamespace(clock=lambda: NOW)
    filters.init_app(app)
    with app.test_request_context():
        yield lambda expression, value=None: render_template_string(
            "{{" + expression + "}}", value=value
        )


@pytest.mark.parametrize(
    "expression",
    ["value|price", "value|amount", "value|percent", "value|points", "value|ratio", "value|ago",
     "value|fraction_percent", "value|count", "value|duration", "value|instant", "value|name"],
)  # fmt: skip
def test_no_value_is_a_dash_with_a_word_for_those_who_do_not_see_it(
    show: Any, expression: str
) -> None:
    html = show(expression)
    assert '<span aria-hidden="true">—</span>' in html
    assert ">no value<" in html or ">no name<" in html


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_number_is_shown_as_no_value(show: Any, value: Decimal) -> None:
    assert "—" in show("value|price", value)


def test_a_price_keeps_every_digit_beside_it(show: Any) -> None:
    value = Decimal("0.1234567890123456789012345678901234567890")
    html = show("value|price", value)
    assert html == f'<span title="{value}">0.12346</span>'


def test_a_counted_zero_is_read_aloud_in_full(show: Any) -> None:
    html = show("value|price", Decimal("4.2E-12"))
    assert '<span aria-hidden="true">0.0₁₁42</span>' in html
    assert '<span class="visually-hidden">0.0000000000042</span>' in html


@pytest.mark.parametrize(
    ("value", "direction", "text"),
    [("2.5", "up", "+2.50 %"), ("-2.5", "down", "−2.50 %"), ("0.001", "flat", "0.00 %")],
)
def test_a_change_says_its_direction_by_class_and_sign(
    show: Any, value: str, direction: str, text: str
) -> None:
    html = show("value|percent", Decimal(value))
    assert f'class="delta {direction}" title="{value} %"' in html
    assert text in html


def test_a_fraction_is_shown_in_per_cent(show: Any) -> None:
    assert "−12.34 %" in show("value|fraction_percent", Decimal("-0.1234"))


def test_a_difference_of_percentages_is_in_points(show: Any) -> None:
    assert "+1.20 pp" in show("value|points", Decimal("1.2"))


def test_an_age_carries_its_instant(show: Any) -> None:
    html = show("value|ago", NOW - timedelta(minutes=42))
    assert 'datetime="2026-03-04T11:18:00Z"' in html
    assert 'title="2026-03-04 11:18:00 UTC"' in html
    assert ">42 min ago</time>" in html


def test_an_instant_of_another_zone_is_shown_in_utc(show: Any) -> None:
    zone = datetime.fromisoformat("2026-03-04T13:00:00+02:00")
    assert "2026-03-04 11:00:00 UTC" in show("value|instant", zone)


def test_a_name_is_escaped_isolated_and_whole_in_its_title(show: Any) -> None:
    html = show("value|name(10)", '<b onclick="x">' + "y" * 20)
    assert html.startswith("<bdi title=")
    assert "<b onclick" not in html
    assert "y" * 20 in html


def test_a_duration_is_machine_readable(show: Any) -> None:
    assert show("value|duration", 4200) == '<time datetime="PT4.200S" title="4,200 ms">4.2 s</time>'


def test_a_run_at_work_counts_up_to_now(show: Any) -> None:
    run = SimpleNamespace(duration_ms=None, started_at=NOW - timedelta(seconds=3))
    assert show("value|elapsed_ms", run) == "3000"


def test_every_code_of_the_domain_has_words() -> None:
    assert set(words.TRIGGER_WORDS) == set(Trigger)
    assert set(words.STATUS_MEANINGS) == set(RunStatus)
    assert set(words.NULL_REASON_WORDS) == set(NullReason)
    assert words.null_reason_words("brand_new_reason") == "brand new reason"
    assert words.null_reason_words(None) == "no value"

"""The Jinja filters: values as small, safe pieces of HTML with their exact form beside them."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TypeGuard

from flask import Flask
from markupsafe import Markup

from app.services.views import RunView
from app.web.charts import (
    candle_line,
    drawdown_line,
    duration_bar,
    quality_strip,
    sparkline,
    stage_bar,
)
from app.web.formats import (
    age_text,
    clean_name,
    compact_text,
    countdown_text,
    duration_text,
    exact,
    instant_text,
    price_text,
    ratio_text,
    sign_of,
    signed_text,
)
from app.web.house import house
from app.web.html import Shape
from app.web.progress import run_elapsed_ms
from app.web.words import (
    COUNT_MEANINGS,
    STATUS_MEANINGS,
    cause_words,
    choice_words,
    length_words,
    level_words,
    null_reason_words,
    outcome_words,
    status_words,
    trigger_words,
)

_NO_VALUE = Shape(
    '<span class="none"><span aria-hidden="true">—</span>'
    '<span class="visually-hidden">{}</span></span>'
)
_DURATION = Shape('<time datetime="PT{}S" title="{} ms">{}</time>')
_TIME = Shape('<time class="{}" datetime="{}" title="{}">{}</time>')
_MINUTE = Shape('<time datetime="{}">{}</time>')
_TITLE = Shape(' title="{}"')
_NAME = Shape("<bdi{}>{}</bdi>")
# The stylesheet puts the arrow in front; the sign says the same in the text.
_DELTA = Shape('<span class="delta {}" title="{} {}">{} {}</span>')
_NUMBER = Shape("<span>{}</span>")
_ROUNDED = Shape('<span title="{}">{}</span>')
# For zeros written as a small index, which nobody could hear.
_SPOKEN = Shape(
    '<span title="{}"><span aria-hidden="true">{}</span>'
    '<span class="visually-hidden">{}</span></span>'
)
_DIRECTIONS = {"+": "up", "−": "down", "": "flat"}


def init_app(app: Flask) -> None:
    """Register every filter, and the charts as globals; blocks leave no blank lines behind."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        price=price,
        amount=amount,
        percent=percent,
        points=points,
        ratio=ratio,
        fraction_percent=fraction_percent,
        share=share,
        count=count,
        exact=exact,
        duration=duration,
        elapsed_ms=elapsed_ms,
        ago=ago,
        countdown=countdown,
        instant=instant,
        clock=clock,
        minute=minute,
        name=name,
        level_words=level_words,
        status_words=status_words,
        trigger_words=trigger_words,
        reason_words=null_reason_words,
        outcome_words=outcome_words,
        cause_words=cause_words,
        choice_words=choice_words,
        length_words=length_words,
        plural=plural,
    )
    app.jinja_env.globals.update(
        sparkline=sparkline,
        duration_bar=duration_bar,
        stage_bar=stage_bar,
        candle_line=candle_line,
        drawdown_line=drawdown_line,
        quality_strip=quality_strip,
        no_value=no_value,
        now_iso=now_iso,
        count_meanings=COUNT_MEANINGS,
        status_meanings=STATUS_MEANINGS,
    )


def no_value(reason: str = "no value") -> Markup:
    """An em dash that says aloud why nothing stands there."""
    return _NO_VALUE(reason)


def price(value: Decimal | None) -> Markup:
    """A price in readable digits; the exact one is the element's title."""
    return _number(value, price_text(value)) if _is_number(value) else no_value()


def amount(value: Decimal | None) -> Markup:
    """A volume or capitalisation in short (`1.23 B`)."""
    return _number(value, compact_text(value)) if _is_number(value) else no_value()


def ratio(value: Decimal | None) -> Markup:
    """A ratio or statistic without unit."""
    return _number(value, ratio_text(value)) if _is_number(value) else no_value()


def percent(value: Decimal | None) -> Markup:
    """A change in per cent: sign, arrow and class say the direction, not the colour alone."""
    return _delta(value, unit="%") if _is_number(value) else no_value()


def points(value: Decimal | None) -> Markup:
    """A difference of percentages, in percentage points."""
    return _delta(value, unit="pp") if _is_number(value) else no_value()


def fraction_percent(value: Decimal | None) -> Markup:
    """A fraction (-0.25) shown as per cent (`▼ −25.00 %`)."""
    return percent(None if value is None else value.scaleb(2))


def share(value: Decimal | None) -> Markup:
    """A fraction (0.5882) as a share of all: `58.8 %`."""
    if not _is_number(value):
        return no_value()
    return _ROUNDED(exact(value), f"{value.scaleb(2):.1f} %")


def count(value: int | None) -> str | Markup:
    """A whole number in groups of three digits."""
    return no_value() if value is None else f"{value:,}"


def plural(number: int, noun: str) -> str:
    """A number with its noun: `1 market`, `2 markets`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(milliseconds: float | None) -> Markup:
    """A length of time from milliseconds, as `<time datetime="PT4.2S">`."""
    if milliseconds is None:
        return no_value()
    return _DURATION(
        f"{milliseconds / 1000:.3f}", f"{round(milliseconds):,}", duration_text(milliseconds)
    )


def elapsed_ms(run: RunView) -> int:
    """How long a run took, or has been at work until now."""
    return run_elapsed_ms(run, now=house().clock())


def now_iso() -> str:
    """The server's present, by which the page's script counts ages."""
    return house().clock().astimezone(UTC).isoformat(timespec="milliseconds")


def ago(value: datetime | None) -> Markup:
    """The age of an instant, kept current by the page; hover and focus show the instant itself."""
    if value is None:
        return no_value()
    return _time(value, age_text(value, house().clock()), "age")


def countdown(value: datetime) -> Markup:
    """How far ahead an instant is; once it is reached, the page says that it is due."""
    return _time(value, countdown_text(value, house().clock()), "age countdown")


def instant(value: datetime | None) -> Markup:
    """The exact instant in UTC."""
    return no_value() if value is None else _time(value, instant_text(value), "instant")


def clock(value: datetime) -> Markup:
    """The time of day of an instant near by: `14:05:09 UTC`."""
    return _time(value, f"{value.astimezone(UTC):%H:%M:%S} UTC", "instant")


def minute(value: datetime) -> Markup:
    """An instant to the minute, for a column that says UTC: `2026-11-01 14:05`."""
    utc = value.astimezone(UTC)
    return _MINUTE(f"{utc:%Y-%m-%dT%H:%M}Z", f"{utc:%Y-%m-%d %H:%M}")


def name(text: str | None, limit: int = 48) -> Markup:
    """A provider's text cleaned of what cannot be seen, cut, and isolated from its surroundings."""
    shown = clean_name(text or "", limit=limit)
    if not shown:
        return no_value("no name")
    whole = clean_name(text or "", limit=2000)
    title = _TITLE(whole) if whole != shown else Markup("")
    return _NAME(title, shown)


def _is_number(value: Decimal | None) -> TypeGuard[Decimal]:
    return value is not None and value.is_finite()


def _delta(value: Decimal, *, unit: str) -> Markup:
    return _DELTA(_DIRECTIONS[sign_of(value)], exact(value), unit, signed_text(value), unit)


def _number(value: Decimal, text: str) -> Markup:
    full = exact(value)
    if full == text.replace(",", ""):
        return _NUMBER(text)
    if not any("₀" <= char <= "₉" for char in text):
        return _ROUNDED(full, text)
    return _SPOKEN(full, text, full)


def _time(value: datetime, text: str, kind: str) -> Markup:
    machine, full = _instant_words(value)
    return _TIME(kind, machine, full, text)


@lru_cache(maxsize=4096)
def _instant_words(value: datetime) -> tuple[str, str]:
    """For machines and for people; the same few instants stand on a page many times."""
    utc = value.astimezone(UTC)
    return utc.isoformat(timespec="seconds").replace("+00:00", "Z"), instant_text(utc)

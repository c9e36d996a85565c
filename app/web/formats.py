"""How people read numbers, durations, ages and foreign names: plain text in, plain text out."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

MAX_NAME = 48
# As wide as a NUMERIC can be, so that rounding never fails.
_WIDE = Context(prec=150_000, rounding=ROUND_HALF_EVEN, Emax=999_999, Emin=-999_999)
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_COMPACT = (
    (Decimal("1e12"), "T"),
    (Decimal("1e9"), "B"),
    (Decimal("1e6"), "M"),
    (Decimal("1e3"), "K"),
)
# Letters that draw nothing: Hangul fillers and the empty Braille pattern.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_SECONDS_AFTER_MINUTES = re.compile(r"(min) \d+ s$")


def exact(value: Decimal) -> str:
    """Every digit of the number without an exponent: `0.0000000000042`."""
    return format(value, "f")


def price_text(value: Decimal) -> str:
    """About six significant digits without exponents: `67,187.34`, `0.5235`, `0.0₁₁42`, `1,230 T`.

    Four and more zeros behind the point are counted in a subscript.
    """
    size = abs(value)
    if size >= Decimal("1e9"):
        return compact_text(value, digits=5)
    if size >= 1:
        return f"{_rounded(value, places=2 if size >= 1000 else 5 - size.adjusted()):,f}"
    return _small_text(_significant(value, 5))


def compact_text(value: Decimal, *, digits: int = 3) -> str:
    """A large amount in short: `1.23 B`, `845 K`, `1,230 T`; small ones read as prices do."""
    for size, suffix in _COMPACT:
        # 999,999 rounds to 1,000 K: the larger unit takes it over.
        if abs(_significant(value, digits)) >= size:
            return f"{_at_most(value.scaleb(-size.adjusted(), _WIDE), digits):,f} {suffix}"
    return _small_text(_significant(value, digits))


def signed_text(value: Decimal) -> str:
    """A change with its sign and two decimals: `+2.34`, `−0.50`, `0.00`; large ones are compact."""
    if abs(value) >= 100_000:
        body = compact_text(abs(value))
    else:
        body = f"{abs(_rounded(value, places=2 if abs(value) < 1000 else 0)):,f}"
    return f"{sign_of(value)}{body}"


def sign_of(value: Decimal) -> str:
    """`+`, `−` or nothing, judged by what two decimals show."""
    shown = _rounded(value, places=2)
    return "" if not shown else ("+" if shown > 0 else "−")


def ratio_text(value: Decimal) -> str:
    """A ratio or plain statistic in five significant digits, with a true minus sign."""
    size = abs(value)
    text = _plain(_significant(size, 5)) if 1 <= size < 1000 else price_text(size)
    return f"−{text}" if value < 0 else text


def duration_text(milliseconds: float) -> str:
    """A length of time in at most two units: `840 ms`, `4.2 s`, `1 min 5 s`, `2 h 3 min`."""
    if milliseconds < 999.5:
        return f"{max(0, round(milliseconds))} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    return span_text(round(milliseconds / 1000))


def span_text(seconds: float) -> str:
    """A whole number of seconds in at most two units: `42 s`, `4 min 5 s`, `3 h 12 min`, `2 d`."""
    left = max(0, int(seconds))
    for size, unit, smaller, small_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if left >= size:
            whole, rest = divmod(left, size)
            small = rest // smaller
            return f"{whole} {unit}" + (f" {small} {small_unit}" if small else "")
    return f"{left} s"


def age_text(instant: datetime, now: datetime) -> str:
    """How long ago, or how far ahead: `4 min ago`, `in 12 s`; minutes only once past the first."""
    seconds = (now - instant).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    length = span_text(abs(seconds))
    coarse = _SECONDS_AFTER_MINUTES.sub(r"\1", length)
    return f"{coarse} ago" if seconds > 0 else f"in {length}"


def countdown_text(instant: datetime, now: datetime) -> str:
    """How far ahead something is due, `due now` from that instant on."""
    return age_text(instant, now) if instant - now >= timedelta(seconds=1) else "due now"


def instant_text(instant: datetime) -> str:
    """The exact instant for people: `2026-03-04 05:06:07 UTC`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@lru_cache(maxsize=8192)
def clean_name(text: str, *, limit: int = MAX_NAME) -> str:
    """A provider's text made safe to show; empty when nothing visible is left.

    Drops control, direction and zero-width characters and blank letters, allows at most two
    marks on a letter, folds white space, and cuts after `limit` characters.
    """
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char.isspace():
            kept.append(" ")
        elif category not in _INVISIBLE and char not in _BLANK_LETTERS and marks <= 2:
            kept.append(char)
    name = " ".join("".join(kept).split())
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


def _significant(value: Decimal, digits: int) -> Decimal:
    return Context(prec=digits, Emax=999_999, Emin=-999_999).plus(value)


def _rounded(value: Decimal, *, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), context=_WIDE)


def _plain(value: Decimal) -> str:
    """The digits without trailing zeros and without an exponent."""
    return exact(value.normalize(_WIDE)) if value else "0"


def _at_most(value: Decimal, digits: int) -> Decimal:
    """Rounded to `digits` significant digits, but never inside the whole part."""
    places = max(0, digits - 1 - max(0, value.adjusted()))
    return value.quantize(Decimal(1).scaleb(-places), context=_WIDE)


def _small_text(value: Decimal) -> str:
    return _subscript_zeros(value) if value and abs(value) < Decimal("0.0001") else _plain(value)


def _subscript_zeros(value: Decimal) -> str:
    """`0.0₁₁42` for 0.00000000000042: the subscript counts the zeros behind the point."""
    short = abs(value).normalize()
    zeros = -short.adjusted() - 1
    digits = "".join(str(digit) for digit in short.as_tuple().digits)
    return f"{'−' if value < 0 else ''}0.0{str(zeros).translate(_SUBSCRIPTS)}{digits}"

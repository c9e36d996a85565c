"""How derived numbers are rounded before they are kept: significant digits, never `1E+2`."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isfinite

# Ratios are computed in 53-bit floats, of which twelve digits are beyond doubt.
RATIO_DIGITS = 12
# Percentages come from exact decimals; sixteen digits are more than any page shows.
PERCENT_DIGITS = 16
# Quotients of two exact decimals (price ratio, average): what Python's default context gives too.
EXACT_DIGITS = 28

_HUNDRED = Decimal(100)
_ONE = Decimal(1)
# Wide enough that a sum or quotient is rounded once only, at the end.
WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN, Emax=999_999, Emin=-999_999)
_CONTEXTS = {
    digits: Context(prec=digits, rounding=ROUND_HALF_EVEN, Emax=999_999, Emin=-999_999)
    for digits in (RATIO_DIGITS, PERCENT_DIGITS, EXACT_DIGITS)
}


def is_usable(price: Decimal | None) -> bool:
    """True for a price one can calculate with: present, finite and above zero."""
    return price is not None and price.is_finite() and price > 0


def plain(value: Decimal) -> Decimal:
    """The same number without positive exponent (`1E+2` is `100`) and without a negative zero."""
    if not value:
        return Decimal(0)
    return Decimal(int(value)) if "E+" in str(value) else value


def round_significant(value: Decimal, digits: int) -> Decimal:
    """`value` to 12, 16 or 28 significant digits, half to even, trailing zeros removed."""
    return plain(_CONTEXTS[digits].normalize(value))


def divide(dividend: Decimal, divisor: Decimal) -> Decimal:
    """The quotient to 28 significant digits, half to even; `divisor` is not zero."""
    return plain(_CONTEXTS[EXACT_DIGITS].divide(dividend, divisor))


def change_pct(before: Decimal, after: Decimal) -> Decimal:
    """(after / before - 1) * 100 to 16 significant digits; `before` is above zero."""
    growth = WIDE.subtract(WIDE.divide(after, before), _ONE)
    return round_significant(WIDE.multiply(growth, _HUNDRED), PERCENT_DIGITS)


def to_ratio(value: float) -> Decimal | None:
    """A float as decimal of 12 significant digits; None for NaN and the infinities."""
    if not isfinite(value):
        return None
    return plain(Decimal(f"{value:.12g}"))

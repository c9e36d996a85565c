"""Row rules: what a snapshot or candle must satisfy to be kept, and the reason when it is not.

A bad row is set aside alone. What can be mended without inventing a number is mended and flagged:
a negative volume becomes no volume, a time a little ahead becomes the present.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from app.domain import Candle, RejectedRow, Snapshot

LARGEST = Decimal("1e30")
MOST_DIGITS = 200
AHEAD_TOLERANCE = timedelta(minutes=5)
OLDEST = timedelta(days=30)
STALE_AFTER = timedelta(hours=24)
RAW_LENGTH = 4000
_SURROGATES = dict.fromkeys(range(55296, 57344), "�") | {0: None}


@dataclass(frozen=True, slots=True)
class GoodSnapshot:
    """A snapshot that may be stored, with the flags it earned on the way."""

    snapshot: Snapshot
    observed_at: datetime
    price: Decimal
    flags: tuple[str, ...] = ()


def storable_text(text: str, length: int) -> str:
    """Text that PostgreSQL takes: without NUL and lone surrogates, at most `length` characters."""
    return text.translate(_SURROGATES)[:length]


def validate_snapshots(
    rows: Iterable[Snapshot], *, now: datetime
) -> tuple[list[GoodSnapshot], list[RejectedRow]]:
    """Split snapshots into those to keep and those set aside with a reason."""
    good: list[GoodSnapshot] = []
    bad: list[RejectedRow] = []
    for row in rows:
        reason = price_fault(row.price) or _time_fault(row.observed_at, now)
        if reason:
            bad.append(_set_aside(row, reason, row.raw or repr(row)))
        else:
            good.append(_mended(row, now))
    return good, bad


def validate_candles(
    rows: Iterable[Candle], *, now: datetime
) -> tuple[list[Candle], list[RejectedRow]]:
    """Split candles into those to keep and those set aside with a reason."""
    good: list[Candle] = []
    bad: list[RejectedRow] = []
    for row in rows:
        reason = _candle_fault(row, now)
        if reason:
            bad.append(_set_aside(row, reason, row.raw or repr(row)))
        else:
            good.append(_with_sound_volume(row))
    return good, bad


def price_fault(price: Decimal | None) -> tuple[str, str] | None:
    """The reason (code, sentence) why this is no price; None when it is one."""
    if price is None:
        return "price_missing", "The row has no price."
    if not price.is_finite():
        return "price_not_finite", f"The price is {price}, which is not a number."
    if price <= 0:
        return "price_not_positive", f"The price is {_short(price)}; it must be above zero."
    if price >= LARGEST:
        return "price_out_of_range", f"The price has {price.adjusted() + 1} digits; 30 is the most."
    if len(price.as_tuple().digits) > MOST_DIGITS:
        return "price_too_long", f"The price has more than {MOST_DIGITS} digits."
    return None


def is_sound_amount(value: Decimal | None) -> bool:
    """True for a volume or market capitalisation that can be stored as it is."""
    return value is not None and value.is_finite() and 0 <= value < LARGEST


def _time_fault(instant: datetime | None, now: datetime) -> tuple[str, str] | None:
    if instant is None:
        return None
    if instant > now + AHEAD_TOLERANCE:
        return "time_in_future", f"The time {instant.isoformat()} lies in the future."
    if instant < now - OLDEST:
        return (
            "time_too_old",
            f"The time {instant.isoformat()} is over {OLDEST.days} days old.",
        )
    return None


def _mended(row: Snapshot, now: datetime) -> GoodSnapshot:
    flags = []
    observed_at = row.observed_at or now
    if row.observed_at is None:
        flags.append("time_local")
    elif observed_at > now:
        observed_at = now
        flags.append("time_clamped")
    elif observed_at < now - STALE_AFTER:
        flags.append("stale")
    amounts: dict[str, Any] = {}
    for name in ("volume", "market_cap", "volatility"):
        if getattr(row, name) is not None and not is_sound_amount(getattr(row, name)):
            amounts[name] = None
            flags.append(f"{name}_dropped")
    for name in ("roi_1h_pct", "roi_24h_pct", "roi_7d_pct", "roi_30d_pct"):
        value = getattr(row, name)
        if value is not None and not value.is_finite():
            amounts[name] = None
            flags.append(f"{name}_dropped")
    kept = replace(row, **amounts) if amounts else row
    assert row.price is not None
    return GoodSnapshot(kept, observed_at, row.price, tuple(flags))


def _candle_fault(row: Candle, now: datetime) -> tuple[str, str] | None:
    for name in ("open", "high", "low", "close"):
        fault = price_fault(getattr(row, name))
        if fault:
            return fault[0].replace("price", name, 1), f"{name}: {fault[1]}"
    if row.high < row.low:
        return "high_below_low", f"High {_short(row.high)} is below low {_short(row.low)}."
    if not row.low <= row.open <= row.high or not row.low <= row.close <= row.high:
        return "outside_extremes", "Open or close lies outside low and high."
    if row.granularity.floor(row.opened_at) != row.opened_at:
        return "off_grid", f"{row.opened_at.isoformat()} opens no {row.granularity} candle."
    if row.opened_at > now + AHEAD_TOLERANCE:
        return "time_in_future", f"The candle opens at {row.opened_at.isoformat()}, in the future."
    if row.sample_count < 1:
        return "no_samples", "The candle rests on no sample."
    return None


def _with_sound_volume(row: Candle) -> Candle:
    if row.volume is None or is_sound_amount(row.volume):
        return row
    return replace(row, volume=None)


def _set_aside(row: Snapshot | Candle, reason: tuple[str, str], raw: str) -> RejectedRow:
    return RejectedRow(
        kind="candle" if isinstance(row, Candle) else "snapshot",
        reason=reason[0],
        detail=reason[1],
        raw=storable_text(raw, RAW_LENGTH),
        symbol=row.listing.symbol,
        provider_id=row.listing.provider_id,
    )


def _short(value: Decimal) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"

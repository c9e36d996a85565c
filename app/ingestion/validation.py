"""Row rules: what a snapshot or candle must satisfy to be kept, and the reason when it is not.

A bad row is set aside alone. What can be mended without inventing a number is mended and flagged:
a negative volume becomes no volume, a time a little ahead becomes the present.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.domain import Candle, Listing, MarketProblem, RejectedRow, Snapshot

# Far beyond any real figure on both sides, and well inside what a NUMERIC and a float can hold.
LARGEST = Decimal("1e30")
MOST_PLACES = 1000
MOST_DIGITS = 200
MOST_SAMPLES = 2**31 - 1
AHEAD_TOLERANCE = timedelta(minutes=5)
OLDEST = timedelta(days=30)
OLDEST_CANDLE = datetime(1900, 1, 1, tzinfo=UTC)
STALE_AFTER = timedelta(hours=24)
RAW_LENGTH = 4000
MESSAGE_LENGTH = 4000
LONGEST_ID = 200
_SURROGATES = dict.fromkeys(range(55296, 57344), "�") | {0: None}
_UNSTORABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_ROI_FIELDS = ("roi_1h_pct", "roi_24h_pct", "roi_7d_pct", "roi_30d_pct")

Fault = tuple[str, str]
"""Why a row is not kept: a short code and a sentence."""

Key = tuple[str, str, str]


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


def storable_rejection(row: RejectedRow) -> RejectedRow:
    """A row set aside by a provider, every text of it fit to be stored."""
    return replace(
        row,
        reason=storable_text(row.reason, MESSAGE_LENGTH),
        detail=storable_text(row.detail, MESSAGE_LENGTH),
        raw=storable_text(row.raw, RAW_LENGTH),
        symbol=None if row.symbol is None else storable_text(row.symbol, LONGEST_ID),
        provider_id=None if row.provider_id is None else storable_text(row.provider_id, LONGEST_ID),
    )


def storable_problem(problem: MarketProblem) -> MarketProblem:
    """A problem told by a provider, every text of it fit to be stored."""
    return MarketProblem(
        storable_text(problem.symbol, LONGEST_ID),
        storable_text(problem.error_class, LONGEST_ID),
        storable_text(problem.message, MESSAGE_LENGTH),
    )


def validate_snapshots(
    rows: Iterable[Snapshot],
    *,
    now: datetime,
    asked: Collection[Key] | None = None,
    is_recorded: bool = False,
) -> tuple[list[GoodSnapshot], list[RejectedRow]]:
    """Split snapshots into those to keep and those set aside with a reason.

    Of several of one listing at one instant the last is kept, flagged `repeated` where they
    differ. With `asked` (keys of listings), rows of other listings are set aside. A snapshot of a
    provider that `is_recorded` may be of any age since 1900, of any other of 30 days.
    """
    oldest = OLDEST_CANDLE if is_recorded else now - OLDEST
    good: dict[tuple[Key, datetime], GoodSnapshot] = {}
    bad: list[RejectedRow] = []
    fault_of = _ListingRule(asked)
    for row in rows:
        reason = fault_of(row.listing) or price_fault(row.price) or _time_fault(row, now, oldest)
        if reason:
            bad.append(_set_aside(row, reason))
            continue
        mended = _mended(row, now)
        place = (row.listing.key, mended.observed_at)
        earlier = good.pop(place, None)
        good[place] = mended if earlier is None else _after(earlier, mended)
    return list(good.values()), bad


def validate_candles(
    rows: Iterable[Candle], *, now: datetime, asked: Collection[Key] | None = None
) -> tuple[list[Candle], list[RejectedRow]]:
    """Split candles into those to keep and those set aside with a reason."""
    good: list[Candle] = []
    bad: list[RejectedRow] = []
    fault_of = _ListingRule(asked)
    for row in rows:
        reason = fault_of(row.listing) or _candle_fault(row, now)
        if reason:
            bad.append(_set_aside(row, reason))
        else:
            good.append(_mended_candle(row))
    return good, bad


def price_fault(price: Decimal | None) -> Fault | None:
    """The reason (code, sentence) why this is no price; None when it is one."""
    if price is None:
        return "price_missing", "The row has no price."
    if not price.is_finite():
        return "price_not_finite", f"The price is {price}, which is not a number."
    if price <= 0:
        return "price_not_positive", f"The price is {_short(price)}; it must be above zero."
    if price >= LARGEST:
        return "price_out_of_range", f"The price has {price.adjusted() + 1} digits; 30 is the most."
    digits, places = _size(price)
    if digits > MOST_DIGITS:
        return "price_too_long", f"The price has more than {MOST_DIGITS} digits."
    if places > MOST_PLACES:
        return "price_out_of_range", f"The price has more than {MOST_PLACES} decimal places."
    return None


def is_sound_amount(value: Decimal | None) -> bool:
    """True for a volume or market capitalisation that can be stored as it is."""
    return value is not None and _is_sound_number(value) and value >= 0


def _is_sound_number(value: Decimal) -> bool:
    if not value.is_finite() or not -LARGEST < value < LARGEST:
        return False
    digits, places = _size(value)
    return digits <= MOST_DIGITS and places <= MOST_PLACES


def _size(value: Decimal) -> tuple[int, int]:
    """How many digits a finite number has, and how many of them behind the point."""
    parts = value.as_tuple()
    return len(parts.digits), -int(parts.exponent)


def is_sound_id(text: str) -> bool:
    """True for a provider's id that can be a key: no control characters, short enough to index."""
    return bool(text.strip()) and len(text) <= LONGEST_ID and not _UNSTORABLE.search(text)


class _ListingRule:
    """Why rows of a listing are not kept; rows mostly come one listing after the other."""

    def __init__(self, asked: Collection[Key] | None) -> None:
        self._asked = asked
        self._last: Listing | None = None
        self._fault: Fault | None = None

    def __call__(self, listing: Listing) -> Fault | None:
        if listing is not self._last:
            self._last, self._fault = listing, self._judge(listing)
        return self._fault

    def _judge(self, listing: Listing) -> Fault | None:
        if not is_sound_id(listing.provider_id):
            return "bad_id", f"The id {listing.provider_id[:40]!r} can't be one."
        if self._asked is not None and listing.key not in self._asked:
            return "not_asked", f"Nobody asked for {listing.provider_id[:40]!r}."
        return None


def _time_fault(row: Snapshot, now: datetime, oldest: datetime) -> Fault | None:
    instant = row.observed_at
    if instant is None:
        return None
    if instant.utcoffset() is None:
        return "time_without_zone", f"The time {instant.isoformat()} has no time zone."
    if instant > now + AHEAD_TOLERANCE:
        return "time_in_future", f"The time {instant.isoformat()} lies in the future."
    if instant < oldest:
        old = f"over {OLDEST.days} days old" if oldest > OLDEST_CANDLE else "before 1900"
        return "time_too_old", f"The time {instant.isoformat()} is {old}."
    return None


def _mended(row: Snapshot, now: datetime) -> GoodSnapshot:
    flags = []
    observed_at = now if row.observed_at is None else row.observed_at.astimezone(UTC)
    if row.observed_at is None:
        flags.append("time_local")
    elif observed_at > now:
        observed_at = now
        flags.append("time_clamped")
    elif observed_at < now - STALE_AFTER:
        flags.append("stale")
    dropped: dict[str, Any] = {}
    for name in ("volume", "market_cap", "volatility"):
        value = getattr(row, name)
        if value is not None and not is_sound_amount(value):
            dropped[name] = None
    for name in _ROI_FIELDS:
        value = getattr(row, name)
        if value is not None and not _is_sound_number(value):
            dropped[name] = None
    flags += [f"{name}_dropped" for name in dropped]
    kept = replace(row, **dropped) if dropped else row
    assert row.price is not None
    return GoodSnapshot(kept, observed_at, row.price, tuple(flags))


def _after(earlier: GoodSnapshot, later: GoodSnapshot) -> GoodSnapshot:
    """The later of two rows of one listing and instant; marked when they do not say the same."""
    is_same = replace(earlier.snapshot, listing=later.snapshot.listing) == later.snapshot
    if is_same and "repeated" not in earlier.flags:
        return later
    return replace(later, flags=(*later.flags, "repeated"))


def _candle_fault(row: Candle, now: datetime) -> Fault | None:
    for name in ("open", "high", "low", "close"):
        fault = price_fault(getattr(row, name))
        if fault:
            return fault[0].replace("price", name, 1), f"{name}: {fault[1]}"
    if row.high < row.low:
        return "high_below_low", f"High {_short(row.high)} is below low {_short(row.low)}."
    if not row.low <= row.open <= row.high or not row.low <= row.close <= row.high:
        return "outside_extremes", "Open or close lies outside low and high."
    return _opening_fault(row, now)


def _opening_fault(row: Candle, now: datetime) -> Fault | None:
    opened_at = row.opened_at
    if opened_at.utcoffset() is None:
        return "time_without_zone", f"The time {opened_at.isoformat()} has no time zone."
    if opened_at > now + AHEAD_TOLERANCE:
        return "time_in_future", f"The candle opens at {opened_at.isoformat()}, in the future."
    if opened_at < OLDEST_CANDLE:
        return "time_too_old", f"The candle opens at {opened_at.isoformat()}."
    opened_at = opened_at.astimezone(UTC)
    if row.granularity.floor(opened_at) != opened_at:
        return "off_grid", f"{opened_at.isoformat()} opens no {row.granularity} candle."
    if not 1 <= row.sample_count <= MOST_SAMPLES:
        return "no_samples", f"The candle rests on {row.sample_count} samples."
    return None


def _mended_candle(row: Candle) -> Candle:
    """The candle in UTC, without the amounts and instants that can't be true."""
    changes: dict[str, Any] = {}
    for name in ("volume", "average", "volatility"):
        value = getattr(row, name)
        if value is not None and not is_sound_amount(value):
            changes[name] = None
    if row.opened_at.tzinfo is not UTC:
        changes["opened_at"] = row.opened_at.astimezone(UTC)
    for name in ("first_observed_at", "last_observed_at"):
        instant = getattr(row, name)
        if instant is not None and not _is_inside(instant, row):
            changes[name] = None
    return replace(row, **changes) if changes else row


def _is_inside(instant: datetime, candle: Candle) -> bool:
    """True for an instant of the candle's own interval, its end included."""
    return instant.utcoffset() is not None and candle.opened_at <= instant <= candle.closed_at


def _set_aside(row: Snapshot | Candle, reason: Fault) -> RejectedRow:
    rejected = RejectedRow(
        kind="candle" if isinstance(row, Candle) else "snapshot",
        reason=reason[0],
        detail=reason[1],
        raw=row.raw or repr(row),
        symbol=row.listing.symbol,
        provider_id=row.listing.provider_id,
    )
    return storable_rejection(rejected)


def _short(value: Decimal) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"

"""What settings must be to go together: each rule takes their values and names the conflict."""

import ipaddress
from collections.abc import Iterable, Sequence

from app.market_list import MarketSelection
from app.settings_fields import Conflict

# The longest window of a statistic, 30 days, and the hours before its first.
HOURLY_DAYS_NEEDED = 32


def lease_conflict(*, lease_seconds: float, heartbeat_seconds: float) -> Conflict | None:
    """A lease must outlast two heartbeats that failed."""
    if heartbeat_seconds * 3 <= lease_seconds:
        return None
    return Conflict(
        ("RUN_LEASE_SECONDS", "RUN_HEARTBEAT_SECONDS"),
        f"RUN_LEASE_SECONDS is {lease_seconds}, but must be at least three times "
        f"RUN_HEARTBEAT_SECONDS ({heartbeat_seconds:g}).",
    )


def doors_conflict(host: str, *, missing: Sequence[str]) -> Conflict | None:
    """An address that others can reach needs its keys; `missing` are the variables not set."""
    if not missing:
        return None
    # With one of them given but wrong, that problem is told already.
    concerned = missing if len(missing) == 1 else ()
    return Conflict(
        ("HOST", *concerned),
        f"HOST is {host}, which others can reach, so SECRET_KEY and OPERATOR_TOKEN must "
        "both be set.",
    )


def pairs_conflict(
    pairs: Iterable[tuple[str, str]], *, followed: MarketSelection
) -> Conflict | None:
    """Only markets that are followed can be compared; `top:N` may follow any."""
    known = {request.symbol for request in followed.requests}
    unknown = sorted({symbol for pair in pairs for symbol in pair} - known)
    if followed.top or not unknown:
        return None
    return Conflict(
        ("INGESTION_COMPARISONS", "INGESTION_MARKETS"),
        f"INGESTION_COMPARISONS names {', '.join(unknown[:10])}, but without top:N every "
        "compared market must be in INGESTION_MARKETS.",
    )


def retention_conflict(*, hourly_days: int, lookback_days: int) -> Conflict | None:
    """Hourly candles must last as long as runs and statistics look back; 0 days are for ever."""
    least = max(HOURLY_DAYS_NEEDED, lookback_days)
    if hourly_days == 0 or hourly_days >= least:
        return None
    return Conflict(
        ("RETENTION_HOURLY_DAYS", "INGESTION_LOOKBACK_DAYS"),
        f"RETENTION_HOURLY_DAYS is {hourly_days}, but must be 0 or at least {least}: runs keep "
        f"{lookback_days} days complete (INGESTION_LOOKBACK_DAYS) and statistics look back "
        f"{HOURLY_DAYS_NEEDED} days.",
    )


def is_loopback(host: str) -> bool:
    """True where only this machine can connect to `host`."""
    if host in ("localhost", "") or host.startswith("unix:"):
        return host != ""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

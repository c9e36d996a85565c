"""What the tests of CoinGecko and its HTTP room share: contexts, clients and payloads."""

import gzip
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.providers.base import ProviderContext
from app.providers.coingecko import CoinGecko, CoinGeckoSettings
from app.providers.http import CallLimits

PAYLOADS = Path(__file__).parent / "payloads"
QUICK = CallLimits(connect_seconds=2, read_seconds=3, total_seconds=4)


def payload(name: str) -> bytes:
    """One of the hand-written payloads."""
    return (PAYLOADS / name).read_bytes()


def build_context(
    *,
    now: datetime | None = None,
    seconds_left: float | None = None,
    stop: threading.Event | None = None,
    on_call: Callable[[str, float], None] = lambda outcome, seconds: None,
) -> ProviderContext:
    """A context at a fixed instant or, without `now`, at the real one."""
    clock = (lambda: now) if now else (lambda: datetime.now(UTC))
    deadline_at = None if seconds_left is None else clock() + timedelta(seconds=seconds_left)
    return ProviderContext(clock, deadline_at, stop or threading.Event(), on_call)


def build_provider(
    url: str,
    context: ProviderContext | None = None,
    *,
    limits: CallLimits = QUICK,
    **settings: Any,
) -> CoinGecko:
    """CoinGecko at a local server, with a budget that does not hinder."""
    chosen = CoinGeckoSettings(**{"base_url": url, "requests_per_minute": 100_000, **settings})
    return CoinGecko(chosen, context or build_context(), limits=limits)


def recordings(folder: str) -> Path:
    """A folder of recorded answers; the test is skipped where they are not on the machine."""
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if not root:
        pytest.skip("TAPEDECK_RECORDINGS is not set: no recorded data on this machine")
    return Path(root) / folder


def recorded(path: Path) -> bytes:
    """The recorded body."""
    return gzip.decompress(path.read_bytes())


def recorded_json(path: Path) -> Any:
    """A list of recorded calls."""
    return json.loads(path.read_bytes())

"""An installation whose alerts are watched from its tables to its receiver."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain import HOUR
from app.extensions import db
from app.services.alert_watch import watch_alerts
from app.services.house import House
from tests.alerts.making import KEY, ManualClock, add_run, run_statement, steady
from tests.alerts.verifier import verify
from tests.faults.tcp_proxy import TcpProxy
from tests.servers import ReceivedRequest, ScriptedServer

SECRET = "whsec_" + base64.b64encode(KEY).decode()
STEP = timedelta(seconds=30)
LONGEST_ROUNDS = 400


@dataclass(slots=True)
class Deck:
    """An installation, its receiver and its clock; time passes only in `await_message`."""

    house: House
    clock: ManualClock
    receiver: ScriptedServer
    cache_road: TcpProxy
    _read: int = 0

    def await_message(self, rule: str, kind: str) -> dict[str, Any]:
        """Let time pass, round by round, until the receiver gets that."""
        for _ in range(LONGEST_ROUNDS):
            watch_alerts(db.engine, self.house, policy=steady())
            for request in self._unread():
                body = self._verified(request)
                if (body["data"]["rule"], body["type"]) == (rule, kind):
                    return body
            self.clock.now += STEP
        told = [request.json()["type"] for request in self.receiver.requests]  # type: ignore[index]
        pytest.fail(f"no {kind} of {rule} came, but {told}")

    def watch(self, rounds: int) -> list[dict[str, Any]]:
        """Let so many rounds pass; what the receiver got in them."""
        for _ in range(rounds):
            watch_alerts(db.engine, self.house, policy=steady())
            self.clock.now += STEP
        return [self._verified(request) for request in self._unread()]

    def run(self, status: str, **values: Any) -> None:
        """A run that ends now."""
        self.clock.now += STEP
        add_run(db.engine, status, at=self.clock.now, **values)

    def _unread(self) -> list[ReceivedRequest]:
        found = self.receiver.requests[self._read :]
        self._read = len(self.receiver.requests)
        return found

    def _verified(self, request: ReceivedRequest) -> dict[str, Any]:
        headers = dict(request.headers.items())
        verify(SECRET, headers, request.body, now=self.clock.now.timestamp())
        body: dict[str, Any] = request.json()  # type: ignore[assignment]
        return body


def follow_a_market(now: datetime) -> None:
    """One market with a fresh snapshot and the candles of more than a day."""
    run_statement(
        db.engine,
        "INSERT INTO market (symbol, asset_type, quote) VALUES ('BTC-USD', 'crypto', 'USD');"
        "INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at)"
        " SELECT id, 'mock', 'bitcoin', 'USD', 'provider', clock_timestamp() FROM market",
    )
    observe_market(now)
    for hours in range(1, 31):
        add_candle(now.replace(minute=0) - hours * HOUR)


def observe_market(at: datetime) -> None:
    """A snapshot of it."""
    run_statement(
        db.engine,
        "INSERT INTO market_snapshot (market_id, provider, observed_at, price, run_id)"
        " SELECT id, 'mock', :at, 1, gen_random_uuid() FROM market",
        at=at,
    )


def add_candle(at: datetime) -> None:
    """The hourly candle of it that opened then."""
    run_statement(
        db.engine,
        "INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high,"
        " low, close, sample_count, is_final, basis, run_id)"
        " SELECT id, 'mock', 'hourly', :at, 1, 1, 1, 1, 1, true, 'provider', gen_random_uuid()"
        " FROM market",
        at=at,
    )

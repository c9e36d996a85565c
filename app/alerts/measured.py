"""What every rule measured when it was last judged, kept in the row of the watch.

Measuring takes as long as there are markets; whoever looks at the rules reads what was found last.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK, Finding
from app.database.base import AnySession

MARKET_RULES = ("market_stale", "data_gap")
SIGNAL_RULES = (CACHE_FALLBACK, BREAKER_OPEN)
_LOAD = """
    SELECT rule, entry ->> 'value' AS value, CAST(entry ->> 'at' AS timestamptz) AS measured_at
    FROM alert_watch, jsonb_each(measured) AS e (rule, entry)
    WHERE entry ->> 'provider' = :provider
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure in words ("3 ticks", "0 of 250 markets") and when it was found."""

    value: str
    measured_at: datetime


class Measurements:
    """The figures of one round of judging, the last one of each rule."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def note(self, finding: Finding) -> Finding:
        """Remember what a finding measured; the finding itself."""
        self._values[finding.rule] = finding.value
        return finding

    def note_signals(self, findings: Iterable[Finding]) -> list[Finding]:
        """Remember the trouble that processes see; none of a kind is a figure too."""
        self._values |= dict.fromkeys(SIGNAL_RULES, "none")
        return [self.note(finding) for finding in findings]

    def note_markets(self, findings: Iterable[Finding], *, market_count: int) -> list[Finding]:
        """Remember how many markets are in trouble."""
        troubles = list(findings)
        for rule in MARKET_RULES:
            count = sum(finding.rule == rule for finding in troubles)
            self._values[rule] = f"{count} of {market_count} markets"
        return troubles

    def stored(self, *, at: datetime, provider: str) -> str:
        """The figures as the JSON that is laid over what the row has."""
        shared = {"at": at.isoformat(), "provider": provider}
        return json.dumps({rule: {"value": value} | shared for rule, value in self._values.items()})


def load_measured(session: AnySession, provider: str) -> Mapping[str, Measured]:
    """What the rules measured last while this provider was chosen, by the rule's name."""
    rows: Sequence[tuple[str, str, datetime]] = [
        tuple(row) for row in session.execute(text(_LOAD), {"provider": provider})
    ]
    return {rule: Measured(value, measured_at) for rule, value, measured_at in rows}

"""What deserves an alert: every rule with its severity, its words and how long it waits.

A rule looks at a subject (a provider, a market, or nothing in particular) and says whether it is in
trouble: see `app/alerts/judging.py`. Who is told of it, and when, is decided in
`app/alerts/changes.py` from changes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from app.domain import HOUR

REMIND_AFTER = timedelta(hours=4)
TICKS_WITHOUT_SUCCESS = 3
REJECTED_SHARE = 0.2
SLOW_FACTOR = 3
PAUSED_TOO_LONG = timedelta(hours=24)
CACHE_FALLBACK = "cache_fallback"
BREAKER_OPEN = "breaker_open"


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info to 2 for critical."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched. `wait` is how long trouble must last before it is an alert.

    While it lasts it is told again every `remind_after`.
    `over` is the title of the notice that it is over; `{subject}` stands for the subject.
    `advice` is what to do about it, for somebody who was just woken; `page` is where the dashboard
    shows it when neither a run nor a market does.
    """

    name: str
    severity: Severity
    title: str
    about: str
    over: str
    advice: str
    page: str = "alerts"
    wait: timedelta = timedelta(0)
    remind_after: timedelta = REMIND_AFTER


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                "run_failed",
                Severity.CRITICAL,
                "Run failed",
                "The last run failed or its process died.",
                "Runs from {subject} bring data again",
                "Open the run: its log says where it ended. The next tick tries again by itself.",
            ),
            Rule(
                "run_partial",
                Severity.WARNING,
                "Run partial",
                "The last run that brought data could not serve some markets or rows.",
                "Runs from {subject} are complete again",
                "Open the run: it lists the markets that failed and the rows set aside.",
            ),
            Rule(
                "no_success",
                Severity.CRITICAL,
                "No successful run",
                f"No run brought data for {TICKS_WITHOUT_SUCCESS} due ticks.",
                "A run brought data again",
                "Look how the last runs ended, and on the schedule whether ticks come due.",
                "runs",
                timedelta(minutes=2),
            ),
            Rule(
                "market_stale",
                Severity.WARNING,
                "Market stale",
                "The newest observation of a followed market is older than two intervals.",
                "{subject} is fresh again",
                "See on its page whether the provider still lists it, and ingest it from there.",
                wait=timedelta(minutes=2),
            ),
            Rule(
                "data_gap",
                Severity.WARNING,
                "Data gap",
                "Hourly candles of a market that never closes are missing in the last day.",
                "{subject} has no gap any more",
                "Its page shows how much is missing, and why as far as that is known.",
                wait=timedelta(minutes=30),
            ),
            Rule(
                "rows_rejected",
                Severity.WARNING,
                "Many rows rejected",
                f"A run set aside more than {REJECTED_SHARE:.0%} of its rows.",
                "Few rows from {subject} are rejected again",
                "Open the run: each row stands there with its reason. Has the format changed?",
            ),
            Rule(
                "run_slow",
                Severity.INFO,
                "Run slow",
                f"A run took more than {SLOW_FACTOR} times the median of those before it.",
                "Runs from {subject} are as fast as before",
                "Open the run: its stages show which of them took the time.",
            ),
            Rule(
                CACHE_FALLBACK,
                Severity.WARNING,
                "Cache fell back to memory",
                "A process serves from its memory because Redis fails it.",
                "The cache is back on Redis",
                "No data is lost and pages go on. See whether Redis runs and has memory to spare, "
                "and whether REDIS_URL still holds.",
                wait=timedelta(minutes=1),
            ),
            Rule(
                BREAKER_OPEN,
                Severity.WARNING,
                "Provider left alone",
                "A process stopped asking a provider after repeated failures.",
                "{subject} is asked again",
                "A later run tries it again by itself. If it stays, see whether the provider is "
                "well, and whether key, plan and rate budget fit.",
            ),
            Rule(
                "schedule_paused",
                Severity.WARNING,
                "Schedule paused for long",
                f"The schedule has been paused for over {PAUSED_TOO_LONG // HOUR} hours.",
                "The schedule runs again",
                "Resume it if the reason for the pause is gone.",
                "schedule",
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a rule's subject is in trouble; `value` is the measured figure in words."""

    rule: str
    subject: str
    is_trouble: bool
    title: str = ""
    text: str = ""
    value: str = ""
    market: str | None = None
    run_id: UUID | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the trouble: (rule, subject)."""
        return (self.rule, self.subject)

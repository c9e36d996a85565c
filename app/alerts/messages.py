"""What a delivery tells, whatever its format: notices combined, in words of bounded length."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from app.alerts.changes import NoticeKind
from app.alerts.rules import RULES, Severity
from app.logs import redact

MOST_LISTED = 20
LONGEST_TITLE = 150
LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Told:
    """One subject's newest change in a delivery; `changes` counts those since the one before."""

    kind: NoticeKind
    rule: str
    subject: str
    severity: Severity
    title: str
    text: str
    noticed_at: datetime
    fired_at: datetime
    market: str | None = None
    run_id: UUID | None = None
    changes: int = 1

    @property
    def is_over(self) -> bool:
        """True when the trouble has ended."""
        return self.kind is NoticeKind.RESOLVED

    @property
    def state(self) -> str:
        """`firing` or `resolved`."""
        return "resolved" if self.is_over else "firing"

    @property
    def advice(self) -> str:
        """What to do about it; empty when it is over, and for what is no rule."""
        rule = RULES.get(self.rule)
        return rule.advice if rule and not self.is_over else ""


@dataclass(frozen=True, slots=True)
class Message:
    """What one delivery tells: of each subject its newest change, the worst first."""

    id: UUID
    at: datetime
    told: tuple[Told, ...]
    dashboard_url: str = ""
    listed: int = MOST_LISTED

    @property
    def is_over(self) -> bool:
        """True when nothing in it is still in trouble."""
        return all(one.is_over for one in self.told)

    @property
    def happened_at(self) -> datetime:
        """When the newest of the changes was noticed; `at` is when the message was put together."""
        return max(one.noticed_at for one in self.told)

    @property
    def severity(self) -> Severity:
        """The worst of what is still in trouble, or of everything when nothing is."""
        still = [one for one in self.told if not one.is_over] or list(self.told)
        return max((one.severity for one in still), key=lambda severity: severity.rank)

    @property
    def rule(self) -> str:
        """The rule that all of it is about."""
        return self.told[0].rule

    @property
    def title(self) -> str:
        """One line."""
        if len(self.told) == 1:
            one = self.told[0]
            times = f" (changed {one.changes} times)" if one.changes > 1 else ""
            return cut(one.title, LONGEST_TITLE) + times
        still = sum(not one.is_over for one in self.told)
        counts = [f"{still} firing"] * bool(still)
        counts += [f"{len(self.told) - still} resolved"] * (still < len(self.told))
        rule = RULES.get(self.rule)
        return f"{rule.title if rule else self.rule}: {', '.join(counts)}"

    @property
    def text(self) -> str:
        """The text of the one, or a line for each of the first."""
        if len(self.told) == 1:
            return cut(self.told[0].text, LONGEST_TEXT)
        lines = [cut(one.title, LONGEST_TITLE) for one in self.told[: self.listed]]
        rest = len(self.told) - self.listed
        return "\n".join(lines + [f"… and {rest} more"] * (rest > 0))

    @property
    def advice(self) -> str:
        """What to do about what is still in trouble; empty when nothing is."""
        return self.told[0].advice

    @property
    def began_at(self) -> datetime:
        """When the oldest of it began to be an alert."""
        return min(one.fired_at for one in self.told)

    def link(self, one: Told) -> str:
        """Where people see it; empty without the dashboard's address."""
        if not self.dashboard_url:
            return ""
        return f"{self.dashboard_url}/{_page(one)}"

    @property
    def main_link(self) -> str:
        """Where people see all of it: its own page, or that of the alerts for several."""
        if len(self.told) == 1 or not self.dashboard_url:
            return self.link(self.told[0])
        return f"{self.dashboard_url}/alerts"


def _page(one: Told) -> str:
    if one.run_id is not None:
        return f"runs/{one.run_id}"
    if one.market:
        return f"markets/{quote(one.market)}"
    rule = RULES.get(one.rule)
    return rule.page if rule else "alerts"


def combine(told: Sequence[Told]) -> tuple[Told, ...]:
    """Notices in their order as the newest of each subject: trouble first, then by severity."""
    newest: dict[tuple[str, str], Told] = {}
    counts: dict[tuple[str, str], int] = {}
    for one in told:
        key = (one.rule, one.subject)
        newest[key] = one
        counts[key] = counts.get(key, 0) + 1
    combined = [replace(one, changes=counts[key]) for key, one in newest.items()]
    return tuple(sorted(combined, key=lambda one: (one.is_over, -one.severity.rank, one.subject)))


def cut(text: str, length: int) -> str:
    """The text as one line of at most that many characters, every registered secret masked."""
    line = " ".join(redact(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def write_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")

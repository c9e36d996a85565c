"""From findings to notices: the life of an alert, told at its changes and at no other time.

pending (trouble that must last for the rule's wait) → firing → resolved. A firing alert is told
once, then again in its rule's interval; one that was never told of is not told to be over either.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.alerts.rules import RULES, Finding

Key = tuple[str, str]


class AlertState(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class NoticeKind(StrEnum):
    """What a notice tells of."""

    FIRED = "fired"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(slots=True)
class Episode:
    """One alert as it changes; `id` is None until it is stored."""

    rule: str
    subject: str
    state: AlertState
    title: str
    text: str
    value: str
    market: str | None
    run_id: UUID | None
    pending_at: datetime
    fired_at: datetime | None = None
    notified_at: datetime | None = None
    resolved_at: datetime | None = None
    id: int | None = None
    is_changed: bool = False
    is_dropped: bool = False

    @property
    def key(self) -> Key:
        """What identifies the trouble: (rule, subject)."""
        return (self.rule, self.subject)


@dataclass(frozen=True, slots=True)
class Notice:
    """A change that is worth telling."""

    episode: Episode
    kind: NoticeKind
    noticed_at: datetime
    title: str
    text: str
    run_id: UUID | None


@dataclass(slots=True)
class Book:
    """The open alerts, what becomes of them, and the notices that are due, in order."""

    open: dict[Key, Episode]
    snoozed_until: Mapping[Key, datetime]
    touched: list[Episode] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def apply(self, finding: Finding, *, at: datetime) -> None:
        """Take in what was found at that instant."""
        episode = self.open.get(finding.key)
        if finding.is_trouble:
            self._keep_up(episode or self._begin(finding, at), finding)
            self._advance(self.open[finding.key], at)
        elif episode is not None:
            self._end(episode, at, text=finding.text, run_id=finding.run_id)

    def settle(self, rules: Iterable[str], troubles: Iterable[Finding], *, at: datetime) -> None:
        """Take in everything these rules found: a subject not among the troubles is in order."""
        names, keys = set(rules), set()
        for finding in troubles:
            keys.add(finding.key)
            self.apply(finding, at=at)
        for key, episode in list(self.open.items()):
            if key[0] in names and key not in keys:
                self._end(episode, at)

    def retire(self, rules: Iterable[str], *, but: str, at: datetime) -> None:
        """End the alerts of these rules about any subject `but` this one: nobody watches them."""
        names = set(rules)
        for episode in list(self.open.values()):
            if episode.rule in names and episode.subject != but:
                self._end(episode, at, text=f"{episode.subject} is not followed any more.")

    def pass_time(self, now: datetime) -> None:
        """Waits end, and reminders come due; those of a clock that was ahead begin anew."""
        for episode in list(self.open.values()):
            self._leave_future(episode, now)
            self._advance(episode, now)

    def _leave_future(self, episode: Episode, now: datetime) -> None:
        if episode.pending_at > now:
            episode.pending_at = now
            self._touch(episode)
        if episode.notified_at is not None and episode.notified_at > now:
            episode.notified_at = now
            self._touch(episode)

    def _begin(self, finding: Finding, at: datetime) -> Episode:
        episode = Episode(
            rule=finding.rule,
            subject=finding.subject,
            state=AlertState.PENDING,
            title=finding.title,
            text=finding.text,
            value=finding.value,
            market=finding.market,
            run_id=finding.run_id,
            pending_at=at,
        )
        self.open[finding.key] = episode
        self._touch(episode)
        return episode

    def _keep_up(self, episode: Episode, finding: Finding) -> None:
        """The words follow what is found; a new word alone is no news."""
        told = (finding.title, finding.text, finding.value, finding.run_id)
        if told != (episode.title, episode.text, episode.value, episode.run_id):
            episode.title, episode.text, episode.value, episode.run_id = told
            self._touch(episode)

    def _advance(self, episode: Episode, now: datetime) -> None:
        if episode.state is AlertState.PENDING:
            if now - episode.pending_at < RULES[episode.rule].wait:
                return
            episode.state, episode.fired_at = AlertState.FIRING, now
            self._touch(episode)
        if now < self.snoozed_until.get(episode.key, now):
            return
        if episode.notified_at is None:
            self._tell(episode, NoticeKind.FIRED, now, episode.title, episode.text)
        elif now - episode.notified_at >= RULES[episode.rule].remind_after:
            self._tell(episode, NoticeKind.REMINDED, now, episode.title, episode.text)

    def _end(
        self, episode: Episode, at: datetime, *, text: str = "", run_id: UUID | None = None
    ) -> None:
        del self.open[episode.key]
        self._touch(episode)
        if episode.state is AlertState.PENDING:
            episode.is_dropped = True
            return
        episode.state = AlertState.RESOLVED
        # An instant from before the firing would be the doing of a clock that was set back.
        episode.resolved_at = max(at, episode.fired_at or at)
        if episode.notified_at is not None:
            title = RULES[episode.rule].over.format(subject=episode.subject)
            said = text or f"It was: {episode.title}."
            self._tell(episode, NoticeKind.RESOLVED, at, title, said, run_id)

    def _tell(
        self,
        episode: Episode,
        kind: NoticeKind,
        at: datetime,
        title: str,
        text: str,
        run_id: UUID | None = None,
    ) -> None:
        episode.notified_at = at
        self._touch(episode)
        self.notices.append(Notice(episode, kind, at, title, text, run_id or episode.run_id))

    def _touch(self, episode: Episode) -> None:
        if not episode.is_changed:
            episode.is_changed = True
            self.touched.append(episode)

"""What a delivery says, in the three formats that receivers take: ours, Slack's, Alertmanager's.

Ours follows Standard Webhooks: `{"type", "timestamp", "data"}`. Every body stays under 20 kB: long
texts are cut, and of a large group the first alerts are listed and all are counted.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from app.alerts.changes import NoticeKind
from app.alerts.rules import RULES, Severity
from app.logs import redact

MOST_LISTED = 20
LARGEST_BODY = 20_000
LONGEST_TITLE = 150
LONGEST_TEXT = 300
CONTENT_TYPE = "application/json; charset=utf-8"
_COLOURS = {Severity.INFO: "#3b82c4", Severity.WARNING: "#d19a1d", Severity.CRITICAL: "#c4362e"}
_OVER_COLOUR = "#2e8b57"
_ZERO = "0001-01-01T00:00:00Z"
_TEST_RULE = "test"


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
            return _cut(one.title, LONGEST_TITLE) + times
        still = sum(not one.is_over for one in self.told)
        counts = [f"{still} firing"] * bool(still)
        counts += [f"{len(self.told) - still} resolved"] * (still < len(self.told))
        rule = RULES.get(self.rule)
        return f"{rule.title if rule else self.rule}: {', '.join(counts)}"

    @property
    def text(self) -> str:
        """The text of the one, or a line for each of the first."""
        if len(self.told) == 1:
            return _cut(self.told[0].text, LONGEST_TEXT)
        lines = [_cut(one.title, LONGEST_TITLE) for one in self.told[: self.listed]]
        rest = len(self.told) - self.listed
        return "\n".join(lines + [f"… and {rest} more"] * (rest > 0))

    def link(self, one: Told) -> str:
        """Where people see it; empty without the dashboard's address."""
        base = self.dashboard_url
        if not base:
            return ""
        if one.run_id is not None:
            return f"{base}/runs/{one.run_id}"
        return f"{base}/markets/{one.market}" if one.market else f"{base}/"


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


def write_body(message: Message, format_name: str) -> str:
    """The body in that format, at most 20 kB long, with every registered secret masked."""
    body = ""
    for listed in (MOST_LISTED, 8, 3, 1):
        content = FORMATS[format_name](replace(message, listed=listed))
        body = json.dumps(content, ensure_ascii=False)
        if len(body.encode()) <= LARGEST_BODY:
            break
    return body


def write_standard(message: Message) -> dict[str, Any]:
    """Ours: the head of the group, and `alerts` where it holds more than one."""
    first = message.told[0]
    data = _standard_item(message, first) | {
        "severity": message.severity,
        "state": "resolved" if message.is_over else "firing",
        "title": message.title,
        "text": message.text,
    }
    if len(message.told) > 1:
        data = {name: data[name] for name in ("rule", "severity", "state", "title", "text")}
        data["count"] = len(message.told)
        data["alerts"] = [_standard_item(message, one) for one in message.told[: message.listed]]
    return {"type": _type(message), "timestamp": _instant(message.at), "data": data}


def write_slack(message: Message) -> dict[str, Any]:
    """What Slack's incoming webhooks and those compatible with them take."""
    word = "resolved" if message.is_over else message.severity.value
    colour = _OVER_COLOUR if message.is_over else _COLOURS[message.severity]
    title = f"[{word}] {message.title}"
    attachment = {
        "color": colour,
        "fallback": _escape(title),
        "text": _escape(message.text),
        "footer": "Tapedeck",
        "ts": int(message.at.timestamp()),
    }
    link = message.link(message.told[0])
    if link:
        attachment |= {"title": _escape(message.title), "title_link": link}
    return {"text": _escape(title), "attachments": [attachment]}


def write_alertmanager(message: Message) -> dict[str, Any]:
    """What Alertmanager's own webhook receivers take, version 4."""
    items = [_alertmanager_item(message, one) for one in message.told[: message.listed]]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{message.rule}"}}',
        "truncatedAlerts": max(0, len(message.told) - message.listed),
        "status": "resolved" if message.is_over else "firing",
        "receiver": "tapedeck",
        "groupLabels": {"alertname": message.rule},
        "commonLabels": _common([item["labels"] for item in items]),
        "commonAnnotations": _common([item["annotations"] for item in items]),
        "externalURL": message.dashboard_url,
        "alerts": items,
    }


FORMATS: Mapping[str, Callable[[Message], dict[str, Any]]] = MappingProxyType(
    {"standard": write_standard, "slack": write_slack, "alertmanager": write_alertmanager}
)


def _type(message: Message) -> str:
    if message.rule == _TEST_RULE:
        return "alert.test"
    if message.is_over:
        return "alert.resolved"
    kinds = {one.kind for one in message.told if not one.is_over}
    return "alert.reminder" if kinds == {NoticeKind.REMINDED} else "alert.firing"


def _standard_item(message: Message, one: Told) -> dict[str, Any]:
    item: dict[str, Any] = {
        "rule": one.rule,
        "severity": one.severity,
        "state": one.state,
        "title": _cut(one.title, LONGEST_TITLE),
        "text": _cut(one.text, LONGEST_TEXT),
        "startedAt": _instant(one.fired_at),
    }
    if one.is_over:
        item["resolvedAt"] = _instant(one.noticed_at)
    if one.changes > 1:
        item["changes"] = one.changes
    optional = {
        "market": one.market,
        "runId": str(one.run_id) if one.run_id else None,
        "url": message.link(one),
    }
    return item | {name: value for name, value in optional.items() if value}


def _alertmanager_item(message: Message, one: Told) -> dict[str, Any]:
    labels = {"alertname": one.rule, "severity": one.severity.value}
    if one.subject:
        labels["market" if one.market else "provider"] = one.subject
    identity = json.dumps([one.rule, one.subject]).encode()
    return {
        "status": one.state,
        "labels": labels,
        "annotations": {
            "summary": _cut(one.title, LONGEST_TITLE),
            "description": _cut(one.text, LONGEST_TEXT),
        },
        "startsAt": _instant(one.fired_at),
        "endsAt": _instant(one.noticed_at) if one.is_over else _ZERO,
        "generatorURL": message.link(one),
        "fingerprint": hashlib.sha256(identity).hexdigest()[:16],
    }


def _common(items: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = items
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def _cut(text: str, length: int) -> str:
    line = " ".join(redact(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _escape(text: str) -> str:
    """The three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _instant(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")

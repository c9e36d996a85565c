"""Alertmanager's two shapes: what it sends to its webhook receivers, and what it takes itself.

The first is version 4 of its webhook body. The second is the array of `POST /api/v2/alerts`, where
an alert lasts until its `endsAt`; so that of one still firing lies beyond its next reminder.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from app.alerts.changes import NoticeKind
from app.alerts.messages import LONGEST_TEXT, LONGEST_TITLE, Message, Told, cut, write_instant
from app.alerts.rules import REMIND_AFTER, RULES

TEST_LASTS = timedelta(minutes=5)
API_PATH = "/api/v2/alerts"
_ZERO = "0001-01-01T00:00:00Z"


def is_alertmanager(url: str) -> bool:
    """True for the address at which Alertmanager itself takes alerts."""
    return urlsplit(url).path.rstrip("/").endswith(API_PATH)


def write_for_receiver(message: Message) -> dict[str, Any]:
    """What Alertmanager's own webhook receivers take, version 4."""
    items = [_received(message, one) for one in message.told[: message.listed]]
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


def write_for_api(message: Message) -> list[dict[str, Any]]:
    """The array that Alertmanager's API takes: labels are what it knows an alert by."""
    return [_posted(message, one) for one in message.told[: message.listed]]


def _received(message: Message, one: Told) -> dict[str, Any]:
    identity = json.dumps([one.rule, one.subject]).encode()
    return {
        "status": one.state,
        "labels": _labels(one),
        "annotations": _annotations(one),
        "startsAt": write_instant(one.fired_at),
        "endsAt": _ended(one) if one.is_over else _ZERO,
        "generatorURL": message.link(one),
        "fingerprint": hashlib.sha256(identity).hexdigest()[:16],
    }


def _posted(message: Message, one: Told) -> dict[str, Any]:
    alert = {
        "labels": _labels(one),
        "annotations": _annotations(one),
        "startsAt": write_instant(one.fired_at),
        "endsAt": _ended(one) if one.is_over else write_instant(message.at + _lasting(one)),
    }
    link = message.link(one)
    return alert | ({"generatorURL": link} if link else {})


def _lasting(one: Told) -> timedelta:
    """For how long it is taken for firing without another word; a test is soon forgotten."""
    if one.kind is NoticeKind.TEST:
        return TEST_LASTS
    rule = RULES.get(one.rule)
    return 2 * (rule.remind_after if rule else REMIND_AFTER)


def _labels(one: Told) -> dict[str, str]:
    labels = {"alertname": one.rule, "severity": one.severity.value}
    if one.subject:
        labels["market" if one.market else "provider"] = one.subject
    return labels


def _annotations(one: Told) -> dict[str, str]:
    words = {
        "summary": cut(one.title, LONGEST_TITLE),
        "description": cut(one.text, LONGEST_TEXT),
    }
    return words | ({"advice": one.advice} if one.advice else {})


def _ended(one: Told) -> str:
    """An end before the beginning, the doing of a clock that was set back, would be refused."""
    return write_instant(max(one.noticed_at, one.fired_at))


def _common(items: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = items
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }

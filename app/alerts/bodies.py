"""The bodies of deliveries in each format that receivers take: ours, Slack's, Alertmanager's.

Ours follows Standard Webhooks: `{"type", "timestamp", "data"}`. Every body stays under 20 kB: long
texts are cut, and of a large group the first alerts are listed and all are counted. Alertmanager
itself gets them all, as it would take one that it is not told of for one that is over.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from app.alerts.alertmanager import write_for_api, write_for_receiver
from app.alerts.changes import NoticeKind
from app.alerts.messages import (
    LONGEST_TEXT,
    LONGEST_TITLE,
    MOST_LISTED,
    Message,
    Told,
    cut,
    write_instant,
)
from app.alerts.rules import Severity

LARGEST_BODY = 20_000
ALERTMANAGER = "alertmanager"
ALERTMANAGER_API = "alertmanager api"
CONTENT_TYPE = "application/json; charset=utf-8"
_COLOURS = {Severity.INFO: "#3b82c4", Severity.WARNING: "#d19a1d", Severity.CRITICAL: "#c4362e"}
_OVER_COLOUR = "#2e8b57"
_TEST_RULE = "test"


@dataclass(frozen=True, slots=True)
class Format:
    """How a message is written, and how many alerts of it until it fits into `largest` bytes."""

    write: Callable[[Message], object]
    listed: tuple[int, ...] = (MOST_LISTED, 8, 3, 1)
    largest: int = LARGEST_BODY


def write_body(message: Message, format_name: str) -> str:
    """The body in that format and within its size, with every registered secret masked."""
    form = FORMATS[format_name]
    body = ""
    for listed in form.listed:
        body = json.dumps(form.write(replace(message, listed=listed)), ensure_ascii=False)
        if len(body.encode()) <= form.largest:
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
        data |= {"advice": message.advice} if message.advice else {}
        data["count"] = len(message.told)
        data["alerts"] = [_standard_item(message, one) for one in message.told[: message.listed]]
    return {"type": _type(message), "timestamp": write_instant(message.happened_at), "data": data}


def write_slack(message: Message) -> dict[str, Any]:
    """What Slack's incoming webhooks and those compatible with them take.

    Slack shows `blocks` and the attachment, `text` in notifications; others show `text` and it.
    """
    word = "resolved" if message.is_over else message.severity.value
    title = _escape(f"[{word}] {message.title}")
    attachment = {
        "color": _OVER_COLOUR if message.is_over else _COLOURS[message.severity],
        "fallback": title,
        "text": _escape(_explained(message)),
        "footer": "Tapedeck",
        "ts": int(message.happened_at.timestamp()),
    }
    if link := message.main_link:
        attachment |= {"title": "Open in Tapedeck", "title_link": link}
    words = {"type": "mrkdwn", "text": title, "verbatim": True}
    return {
        "text": title,
        "blocks": [{"type": "section", "text": words}],
        "attachments": [attachment],
    }


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "standard": Format(write_standard),
        "slack": Format(write_slack),
        ALERTMANAGER: Format(write_for_receiver),
        ALERTMANAGER_API: Format(write_for_api, listed=(10_000, 1000), largest=8_000_000),
    }
)


def _explained(message: Message) -> str:
    """The text, since when, and what to do: for those who see nothing but the message."""
    if message.rule == _TEST_RULE:
        return message.text
    lines = [message.text, f"Since {message.began_at:%Y-%m-%d %H:%M} UTC."]
    if message.is_over:
        lines[1] = f"Began {message.began_at:%Y-%m-%d %H:%M} UTC."
    return "\n".join([*lines, message.advice]).rstrip()


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
        "title": cut(one.title, LONGEST_TITLE),
        "text": cut(one.text, LONGEST_TEXT),
        "startedAt": write_instant(one.fired_at),
    }
    if one.is_over:
        item["resolvedAt"] = write_instant(one.noticed_at)
    if one.changes > 1:
        item["changes"] = one.changes
    optional = {
        "market": one.market,
        "runId": str(one.run_id) if one.run_id else None,
        "url": message.link(one),
        "advice": one.advice,
    }
    return item | {name: value for name, value in optional.items() if value}


def _escape(text: str) -> str:
    """The three characters that mean something to Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

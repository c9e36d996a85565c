"""What ticks, alerts and deliveries are called on a page, and the shape and tone of their marks."""

from dataclasses import dataclass
from decimal import Decimal

from app.alerts.rules import Severity
from app.alerts.webhook import Outcome
from app.domain import TickStatus
from app.web.formats import compact_text, span_text


@dataclass(frozen=True, slots=True)
class Mark:
    """A status as people see it: words, the icon's name and the tone of the colour."""

    words: str
    icon: str
    tone: str


TICKS = {
    TickStatus.RAN: Mark("ran", "succeeded", "good"),
    TickStatus.CLAIMED: Mark("claimed", "running", "info"),
    TickStatus.SKIPPED: Mark("skipped", "skipped", "idle"),
    TickStatus.MISSED: Mark("missed", "late", "warn"),
}
SEVERITIES = {
    Severity.CRITICAL: Mark("critical", "failing", "bad"),
    Severity.WARNING: Mark("warning", "partial", "warn"),
    Severity.INFO: Mark("info", "info", "info"),
}
ALERT_STATES = {
    "pending": Mark("waiting", "pending", "idle"),
    "firing": Mark("open", "failing", "bad"),
    "resolved": Mark("over", "succeeded", "good"),
}
DELIVERIES = {
    "waiting": Mark("waiting", "late", "info"),
    "sent": Mark("sent", "succeeded", "good"),
    "dead": Mark("given up", "failed", "bad"),
}
_GOOD_TRIES = {Outcome.DELIVERED.value: Mark("delivered", "succeeded", "good")}
_OPEN_TRIES = {Outcome.SENDING.value: Mark("no end known", "abandoned", "idle")}
OUTCOMES = {
    **{
        outcome.value: Mark(outcome.value.replace("_", " "), "failed", "bad") for outcome in Outcome
    },
    **_GOOD_TRIES,
    **_OPEN_TRIES,
}
_SIZE_UNITS = {"K": "kB", "M": "MB", "B": "GB", "T": "TB"}


def mark_of(kind: str, status: str) -> Mark:
    """The mark of a status; an unknown one is shown in plain letters."""
    kinds: dict[str, dict[str, Mark]] = {
        "tick": {key.value: mark for key, mark in TICKS.items()},
        "severity": {key.value: mark for key, mark in SEVERITIES.items()},
        "alert": ALERT_STATES,
        "delivery": DELIVERIES,
        "try": OUTCOMES,
    }
    return kinds[kind].get(status, Mark(status.replace("_", " "), "empty", "idle"))


def size_words(size: int) -> str:
    """Bytes for people: `8.3 MB`."""
    if size < 1000:
        return f"{size} B"
    number, unit = compact_text(Decimal(size)).split(" ")
    return f"{number} {_SIZE_UNITS[unit]}"


def length_words(seconds: float) -> str:
    """A whole number of seconds in at most two units; `at once` for none."""
    return span_text(seconds) if seconds >= 1 else "at once"

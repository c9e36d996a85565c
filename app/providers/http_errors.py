"""What a provider's refusal means: statuses, error bodies, Retry-After, and one sentence each."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from app.errors import PermanentProviderError, PlanLimitError, TransientProviderError
from app.providers.http_exchange import CallFailed, HttpAnswer

LONGEST_TEXT = 200
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ErrorNote:
    """What the body of a refusal says: the provider's own code and text, where there are any."""

    code: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ErrorReader:
    """Turns refusals of one provider into errors.

    `label` names the provider in sentences, `secrets` never appear in them, and an error code in
    `plan_limit_codes` means that the subscription is too small.
    """

    label: str
    secrets: Sequence[str] = ()
    plan_limit_codes: frozenset[int] = frozenset()

    def refusal(self, answer: HttpAnswer, now: datetime) -> CallFailed | None:
        """The failure that the status tells of; None for 2xx. `now` is aware UTC."""
        if answer.status < 300:
            return None
        if answer.status < 400:
            text = f"{self.label} answered {answer.status}, a redirect, which is not followed"
            return CallFailed("redirect", PermanentProviderError(text, status=answer.status))
        note = read_note(answer.body) or ErrorNote()
        return self._judge(answer, answer.status, note, now)

    def note_in_place(self, answer: HttpAnswer, now: datetime) -> CallFailed | None:
        """The failure told by an error object in place of the data; None when there is none."""
        note = read_note(answer.body)
        if note is None:
            return None
        code = note.code if note.code is not None and 400 <= note.code < 600 else 400
        return self._judge(answer, code, note, now)

    def clean(self, text: str) -> str:
        """One printable line of at most 200 characters, with every secret masked."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "***")
        spaced = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
        line = " ".join(spaced.split())
        return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"

    def _judge(self, answer: HttpAnswer, code: int, note: ErrorNote, now: datetime) -> CallFailed:
        status = answer.status
        if note.code in self.plan_limit_codes:
            text = f"{self.label}'s plan does not include this (error {note.code})"
            return CallFailed(
                "plan_limit", PlanLimitError(self._with_note(text, note), status=status)
            )
        text = f"{self.label} {_what_it_did(status, code)}"
        if code not in (408, 429) and code < 500:
            message = self._with_note(text, note)
            return CallFailed("refused", PermanentProviderError(message, status=status))
        wait = retry_after_seconds(answer.headers, now) if code in (429, 503) else None
        if wait:
            text += f" and asks to wait {math.ceil(wait)} s"
        error = TransientProviderError(self._with_note(text, note), status=status, retry_after=wait)
        return CallFailed("rate_limited" if code == 429 else "server_error", error)

    def _with_note(self, sentence: str, note: ErrorNote) -> str:
        said = self.clean(note.text)
        return f"{sentence}: {said}" if said else sentence


def _what_it_did(status: int, code: int) -> str:
    if status < 300:
        return f"sent an error in place of the data (HTTP {status}, error {code})"
    try:
        phrase = HTTPStatus(status).phrase.lower()
    except ValueError:
        return f"answered {status}"
    return f"answered {status} ({phrase})"


def read_note(body: bytes) -> ErrorNote | None:
    """The code and text of an error body in any of the shapes in use; None when it is not one.

    `{"error": text}`, `{"status": 500, "error": text}`, `{"status": {"error_code",
    "error_message"}}`, the same inside `"error"`, and `error_code` beside `status`.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if not isinstance(found, dict) or not ({"error", "status", "error_code"} & found.keys()):
        return None
    return _note_of(found)


def _note_of(found: dict[str, object]) -> ErrorNote:
    code: int | None = None
    text = ""
    for layer in _layers(found):
        code = code if code is not None else _first(layer, int, "error_code", "code", "status")
        text = text or _first(layer, str, "error_message", "message", "error") or ""
    return ErrorNote(code, text)


def _layers(found: dict[str, object]) -> list[dict[str, object]]:
    layers: list[dict[str, object]] = []
    queue = [found]
    while queue and len(layers) < 4:
        layer = queue.pop(0)
        layers.append(layer)
        queue += [inner for key in ("error", "status") if isinstance(inner := layer.get(key), dict)]
    return layers


def _first(layer: dict[str, object], kind: type, *names: str) -> Any:
    values = (layer.get(name) for name in names)
    return next((v for v in values if isinstance(v, kind) and not isinstance(v, bool)), None)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the provider asks to be left alone: 0 or more seconds, None when it does not say.

    Reads `retry-after` (seconds or an HTTP date; a date in the past is 0) and, without it,
    `x-ratelimit-reset: 2026-03-09 03:28:00 +0000`. Anything else counts as not said.
    """
    if (text := headers.get("retry-after")) is not None:
        text = text.strip()
        if _SECONDS.fullmatch(text):
            return float(text)
        return _seconds_until(_http_date(text), now)
    return _seconds_until(_reset_instant(headers.get("x-ratelimit-reset", "")), now)


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _reset_instant(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None


def _seconds_until(instant: datetime | None, now: datetime) -> float | None:
    return None if instant is None else max(0.0, (instant - now).total_seconds())

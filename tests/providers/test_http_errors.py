"""Retry-After in every form seen, and error bodies in every shape seen."""

from datetime import UTC, datetime

import pytest

from app.providers.http_errors import ErrorNote, ErrorReader, read_note, retry_after_seconds
from app.providers.http_exchange import HttpAnswer
from tests.providers.coingecko_setup import recorded_json, recordings

NOW = datetime(2026, 3, 9, 3, 27, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "999999"}, 999_999),
        ({"retry-after": "Mon, 09 Mar 2026 03:28:00 GMT"}, 45),
        ({"retry-after": "Mon, 09 Mar 2026 03:28:00 -0000"}, 45),
        ({"retry-after": "Sun, 08 Mar 2026 00:00:00 GMT"}, 0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "abc"}, None),
        ({"retry-after": "٥"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "Mon, 99 Mar 2026 03:28:00 GMT"}, None),
        ({"x-ratelimit-reset": "2026-03-09 03:28:00 +0000"}, 45),
        ({"x-ratelimit-reset": "2026-03-09 03:20:00 +0000"}, 0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"retry-after": "7", "x-ratelimit-reset": "2026-03-09 03:28:00 +0000"}, 7),
    ],
)
def test_seconds_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b'{"error": "Missing parameter ids"}', ErrorNote(None, "Missing parameter ids")),
        (b'{"status": 500, "error": "Oh"}', ErrorNote(500, "Oh")),
        (b'{"status": {"error_code": 429, "error_message": "Slow"}}', ErrorNote(429, "Slow")),
        (
            b'{"error": {"status": {"error_code": 10012, "error_message": "Old"}}}',
            ErrorNote(10012, "Old"),
        ),
        (
            b'{"timestamp": "x", "error_code": 10011, "status": {"error_message": "Host"}}',
            ErrorNote(10011, "Host"),
        ),
        (b'{"error": true, "status": null}', ErrorNote()),
        (b'{"error": {"error": {"error": {"error": {"error": "deep"}}}}}', ErrorNote()),
        (b'{"prices": []}', None),
        (b"[1]", None),
        (b"Throttled", None),
        (b"", None),
        (b'{"error": ' + b"[" * 100_000, None),
        (b'{"error": "\xff"}', None),
    ],
)
def test_shapes_of_error_bodies(body: bytes, note: ErrorNote | None) -> None:
    assert read_note(body) == note


def test_recorded_error_bodies_are_all_told() -> None:
    reader = ErrorReader("CoinGecko", (), frozenset({10005, 10006, 10012}))
    told = set()
    for call in recorded_json(recordings("coingecko-errors") / "errors.json"):
        headers = {name.lower(): value for name, value in call.get("headers", {}).items()}
        answer = HttpAnswer(call["status"] or 200, headers, call["body"].encode())
        failure = reader.refusal(answer, NOW) or reader.note_in_place(answer, NOW)
        assert failure is not None
        told.add((failure.outcome, type(failure.error).__name__))
    assert told == {
        ("refused", "PermanentProviderError"),
        ("server_error", "TransientProviderError"),
        ("rate_limited", "TransientProviderError"),
        ("plan_limit", "PlanLimitError"),
    }

"""A provider in trouble: one clear message in log, API and page, and nothing lost."""

import html
import logging
import threading
from collections.abc import Iterator

import pytest

from app.domain import RunStatus
from tests.ingestion.exchange import Deck, coingecko_deck, page, row
from tests.providers.coingecko_setup import QUICK
from tests.servers import Answer

WHOLE = page(row()).content()
TROUBLES = {
    "HTML": (
        Answer(body="<html><body>Just a moment...</body></html>"),
        "CoinGecko sent HTML instead of JSON (HTTP 200)",
    ),
    "an empty body": (Answer(body=b""), "CoinGecko sent an empty body"),
    "half a body": (Answer(body=WHOLE, truncate_to=40), "CoinGecko"),
    "half a list": (Answer(body=WHOLE[:-20]), "CoinGecko sent JSON that cannot be read"),
    "401": (
        Answer(401, {"error": "invalid key"}),
        "CoinGecko answered 401",
    ),
    "429": (Answer(429, "Throttled"), "429"),
    "429 with a wait": (
        Answer(429, {"status": {"error_code": 429}}, {"Retry-After": "3600"}),
        "asks to wait 3600 s",
    ),
    "500": (Answer(500, "Internal Server Error"), "500"),
    "an error object": (
        Answer(body={"error": "temporarily unavailable"}),
        "temporarily unavailable",
    ),
    "an empty list": (Answer(body="[]"), "delivered no usable snapshot"),
    "a redirect": (
        Answer(302, b"", {"Location": "http://127.0.0.1:1/"}),
        "a redirect, which is not followed",
    ),
    "text that is not UTF-8": (Answer(body=b'[{"id": "\xff\xfe"}]'), "not UTF-8"),
    "a deep nest": (Answer(body="[" * 100_000), "CoinGecko"),
    "a reset": (Answer(reset=True), "CoinGecko"),
    "nothing at all": (Answer(hold=threading.Event()), "CoinGecko"),
}


@pytest.fixture
def deck(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deck]:
    """One good run lies behind; calls give up after seconds instead of the usual twenty."""
    monkeypatch.setattr("app.providers.http.CallLimits", lambda: QUICK)
    with coingecko_deck(database_url) as deck:
        assert deck.ingest(page(row())).run.status is RunStatus.SUCCEEDED
        yield deck


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_provider_in_trouble_fails_the_run_with_one_message_and_nothing_is_lost(
    deck: Deck, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    answer, expected = TROUBLES[trouble]
    before = deck.data()
    with caplog.at_level(logging.ERROR):
        detail = deck.ingest(answer)
    message = detail.run.error_message or ""
    assert detail.run.status is RunStatus.FAILED
    assert expected in message
    assert "\n" not in message
    assert deck.data() == before
    logged = [record for record in caplog.records if record.message == "run failed"]
    assert [record.__dict__["reason"] for record in logged] == [message]
    shown = deck.client.get(f"/api/runs/{detail.run.id}").get_json()
    assert (shown["status"], shown["errorMessage"]) == ("failed", message)
    assert message in html.unescape(deck.client.get(f"/runs/{detail.run.id}").text)
    # What was good before is served as before.
    assert "65,000" in deck.client.get("/").text


def test_a_failed_run_shows_how_far_it_came(deck: Deck) -> None:
    detail = deck.ingest(Answer(500, "Internal Server Error"))
    statuses = {stage.name: stage.status for stage in detail.stages}
    assert statuses["fetch"] == "failed"
    assert set(statuses.values()) == {"failed", "skipped"}


def test_after_the_trouble_the_next_run_succeeds(deck: Deck) -> None:
    deck.ingest(Answer(500, "Internal Server Error"))
    detail = deck.ingest(page(row(last_updated="2026-03-04T10:19:59.000Z")))
    assert detail.run.status is RunStatus.SUCCEEDED
    assert detail.run.snapshots_ingested == 1


def test_an_answer_labelled_as_text_is_taken(deck: Deck) -> None:
    answer = Answer(body=WHOLE, headers={"Content-Type": "text/plain"})
    assert deck.ingest(answer).run.status is RunStatus.SUCCEEDED


def test_a_byte_order_mark_does_no_harm(deck: Deck) -> None:
    assert deck.ingest(Answer(body=b"\xef\xbb\xbf" + WHOLE)).run.status is RunStatus.SUCCEEDED


def test_a_call_that_gives_the_key_away_is_not_repeated_in_the_message(
    database_url: str,
) -> None:
    with coingecko_deck(database_url, api_key="CG-sekret-key-123", plan="demo") as deck:
        detail = deck.ingest(Answer(401, {"error": "bad key CG-sekret-key-123"}))
        message = detail.run.error_message or ""
    assert "401" in message
    assert "sekret" not in message

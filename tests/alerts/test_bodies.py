"""What a delivery says, in each format."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.alerts.bodies import FORMATS, LARGEST_BODY, write_body
from app.alerts.changes import NoticeKind
from app.alerts.messages import Message, Told, combine
from app.alerts.rules import RULES, Severity
from app.logs import register_secret
from tests.alerts.making import NOON

RUN = UUID("11111111-2222-3333-4444-555555555555")
LATER = NOON + timedelta(minutes=5)


def told(**values: Any) -> Told:
    defaults: dict[str, Any] = {
        "kind": NoticeKind.FIRED,
        "rule": "run_failed",
        "subject": "mock",
        "severity": Severity.CRITICAL,
        "title": "The run from mock failed",
        "text": "The host is away.",
        "noticed_at": NOON,
        "fired_at": NOON,
        "run_id": RUN,
    }
    return Told(**(defaults | values))


def body(format_name: str, *items: Told, url: str = "https://deck.example") -> Any:
    message = Message(UUID(int=1), LATER, combine(items), url)
    return json.loads(write_body(message, format_name))


def test_ours_says_what_is_wrong_since_when_and_where_to_look() -> None:
    assert body("standard", told()) == {
        "type": "alert.firing",
        "timestamp": "2026-11-20T12:00:00.000Z",
        "data": {
            "rule": "run_failed",
            "severity": "critical",
            "state": "firing",
            "title": "The run from mock failed",
            "text": "The host is away.",
            "startedAt": "2026-11-20T12:00:00.000Z",
            "runId": str(RUN),
            "url": f"https://deck.example/runs/{RUN}",
            "advice": RULES["run_failed"].advice,
        },
    }


def test_the_end_says_when_it_was() -> None:
    content = body("standard", told(kind=NoticeKind.RESOLVED, noticed_at=LATER))
    assert (content["type"], content["data"]["state"]) == ("alert.resolved", "resolved")
    assert content["data"]["resolvedAt"] == "2026-11-20T12:05:00.000Z"


def test_without_the_dashboards_address_there_is_no_link() -> None:
    assert "url" not in body("standard", told(), url="")["data"]
    assert body("alertmanager", told(), url="")["alerts"][0]["generatorURL"] == ""
    assert "generatorURL" not in body("alertmanager api", told(), url="")[0]
    assert "title_link" not in body("slack", told(), url="")["attachments"][0]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([NoticeKind.REMINDED], "alert.reminder"),
        ([NoticeKind.REMINDED, NoticeKind.FIRED], "alert.firing"),
        ([NoticeKind.REMINDED, NoticeKind.RESOLVED], "alert.reminder"),
        ([NoticeKind.RESOLVED, NoticeKind.RESOLVED], "alert.resolved"),
    ],
)
def test_the_type_is_that_of_what_is_still_wrong(kinds: list[NoticeKind], expected: str) -> None:
    items = [told(kind=kind, subject=str(number)) for number, kind in enumerate(kinds)]
    assert body("standard", *items)["type"] == expected


def test_a_subject_that_changed_often_is_told_once_as_it_is_now() -> None:
    flips = [told(kind=kind) for kind in (NoticeKind.FIRED, NoticeKind.RESOLVED) * 10]
    content = body("standard", *flips)
    assert (content["data"]["state"], content["data"]["changes"]) == ("resolved", 20)
    assert content["data"]["title"].endswith("(changed 20 times)")


def test_a_large_group_is_counted_whole_and_listed_in_part() -> None:
    markets = [f"COIN{number:03}-USD" for number in range(500)]
    items = [
        told(rule="market_stale", subject=name, market=name, run_id=None, severity=Severity.WARNING)
        for name in markets
    ]
    data = body("standard", *items)["data"]
    assert (data["count"], len(data["alerts"]), data["title"]) == (
        500,
        20,
        "Market stale: 500 firing",
    )
    assert data["text"].endswith("… and 480 more")
    assert body("alertmanager", *items)["truncatedAlerts"] == 480


@pytest.mark.parametrize("format_name", ["standard", "slack", "alertmanager"])
def test_a_body_stays_under_twenty_kilobytes(format_name: str) -> None:
    long = "漢" * 5000
    items = [told(subject=f"{number}", title=long, text=long) for number in range(100)]
    message = Message(UUID(int=1), NOON, combine(items), "https://deck.example")
    assert len(write_body(message, format_name).encode()) <= LARGEST_BODY


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_secret_in_a_reason_is_masked(format_name: str) -> None:
    register_secret("hunter2-and-more")
    text = "Refused: key hunter2-and-more at postgresql://ada:pa55word@db/x."
    message = Message(UUID(int=1), NOON, (told(text=text),))
    written = write_body(message, format_name)
    assert "hunter2" not in written
    assert "pa55word" not in written


def test_slack_gets_text_block_and_attachment_with_nothing_to_expand() -> None:
    content = body("slack", told(title="<!channel> & <b>"))
    assert set(content) == {"text", "blocks", "attachments"}
    assert content["text"] == "[critical] &lt;!channel&gt; &amp; &lt;b&gt;"
    (block,) = content["blocks"]
    assert block == {
        "type": "section",
        "text": {"type": "mrkdwn", "text": content["text"], "verbatim": True},
    }
    (attachment,) = content["attachments"]
    assert set(attachment) == {
        "color",
        "fallback",
        "text",
        "footer",
        "ts",
        "title",
        "title_link",
    }
    assert attachment["ts"] == int(NOON.timestamp())
    assert attachment["title_link"] == f"https://deck.example/runs/{RUN}"


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (
            [told(noticed_at=LATER)],
            ["The host is away.", "Since 2026-11-20 12:00 UTC.", RULES["run_failed"].advice],
        ),
        (
            [told(kind=NoticeKind.RESOLVED, text="It is well.", noticed_at=LATER)],
            ["It is well.", "Began 2026-11-20 12:00 UTC."],
        ),
        (
            [told(subject="a", title="A failed", fired_at=LATER), told(title="B failed")],
            ["A failed", "B failed", "Since 2026-11-20 12:00 UTC.", RULES["run_failed"].advice],
        ),
        (
            [told(kind=NoticeKind.TEST, rule="test", text="Nothing is wrong.")],
            ["Nothing is wrong."],
        ),
    ],
)
def test_slack_shows_since_when_and_what_to_do(items: list[Told], expected: list[str]) -> None:
    (attachment,) = body("slack", *items)["attachments"]
    assert attachment["text"].splitlines() == expected


def test_what_is_over_comes_without_advice() -> None:
    over = told(kind=NoticeKind.RESOLVED)
    assert "advice" not in body("standard", over)["data"]
    assert "advice" not in body("alertmanager", over)["alerts"][0]["annotations"]
    assert "advice" in body("standard", over, told(subject="other"))["data"]


@pytest.mark.parametrize(
    ("rule", "market", "page"),
    [
        ("market_stale", "BTC-USD", "markets/BTC-USD"),
        ("market_stale", "A/B#-USD", "markets/A/B%23-USD"),
        ("no_success", None, "runs"),
        ("schedule_paused", None, "schedule"),
        ("cache_fallback", None, "alerts"),
        ("test", None, "alerts"),
    ],
)
def test_a_link_leads_to_where_the_trouble_is_shown(
    rule: str, market: str | None, page: str
) -> None:
    one = told(rule=rule, subject=market or "", market=market, run_id=None)
    assert body("standard", one)["data"]["url"] == f"https://deck.example/{page}"


def test_the_link_of_a_group_leads_to_all_of_it() -> None:
    items = [told(rule="market_stale", subject=name, market=name) for name in ("A-USD", "B-USD")]
    (attachment,) = body("slack", *items)["attachments"]
    assert attachment["title_link"] == "https://deck.example/alerts"


def test_no_text_of_a_block_is_longer_than_slack_takes() -> None:
    items = [told(subject=str(number), title="&" * 500) for number in range(30)]
    (block,) = body("slack", *items)["blocks"]
    assert 0 < len(block["text"]["text"]) <= 3000


def test_alertmanager_receivers_get_version_four() -> None:
    content = body("alertmanager", told(), told(subject="other", kind=NoticeKind.RESOLVED))
    assert (content["version"], content["status"]) == ("4", "firing")
    assert content["groupLabels"] == {"alertname": "run_failed"}
    assert content["commonLabels"] == {"alertname": "run_failed", "severity": "critical"}
    firing, resolved = content["alerts"]
    assert firing["labels"]["provider"] == "mock"
    assert (firing["status"], firing["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (resolved["status"], resolved["endsAt"]) == ("resolved", "2026-11-20T12:00:00.000Z")
    assert firing["fingerprint"] != resolved["fingerprint"]
    assert set(firing) == {
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "fingerprint",
    }


def test_alertmanager_itself_gets_the_array_of_its_api() -> None:
    firing, resolved = body(
        "alertmanager api",
        told(),
        told(subject="other", kind=NoticeKind.RESOLVED, noticed_at=LATER),
    )
    assert firing == {
        "labels": {"alertname": "run_failed", "severity": "critical", "provider": "mock"},
        "annotations": {
            "summary": "The run from mock failed",
            "description": "The host is away.",
            "advice": RULES["run_failed"].advice,
        },
        "startsAt": "2026-11-20T12:00:00.000Z",
        "endsAt": "2026-11-20T20:05:00.000Z",
        "generatorURL": f"https://deck.example/runs/{RUN}",
    }
    assert (resolved["startsAt"], resolved["endsAt"]) == (
        "2026-11-20T12:00:00.000Z",
        "2026-11-20T12:05:00.000Z",
    )


def test_alertmanager_hears_of_every_alert_of_a_large_group() -> None:
    """One that is left out would count as over once its time has passed."""
    names = [f"COIN{number:04}-USD" for number in range(1500)]
    items = [told(rule="market_stale", subject=name, market=name) for name in names]
    content = body("alertmanager api", *items)
    assert [one["labels"]["market"] for one in content] == names


def test_an_end_before_the_beginning_is_not_told_to_alertmanager() -> None:
    early = told(kind=NoticeKind.RESOLVED, noticed_at=NOON - timedelta(hours=1))
    (content,) = body("alertmanager api", early)
    assert content["endsAt"] == content["startsAt"]


def test_a_test_is_forgotten_by_alertmanager_soon() -> None:
    (content,) = body("alertmanager api", told(kind=NoticeKind.TEST, rule="test", subject=""))
    assert content["endsAt"] == "2026-11-20T12:10:00.000Z"

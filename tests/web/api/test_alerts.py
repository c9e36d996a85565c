"""Alerts over JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db
from app.services.alert_watch import judge_alerts
from tests.alerts.making import add_run
from tests.servers import Answer, ScriptedServer
from tests.web.real_app import real_app


@pytest.fixture
def app(database_url: str, tmp_path: Path, http_server: ScriptedServer) -> Iterator[Flask]:
    """The whole application with one failed run, judged, and a receiver of this machine."""
    http_server.script("/hook", Answer(200))
    values = {"alert_webhook_url": f"{http_server.url}/hook"}
    with real_app(database_url, tmp_path, **values) as app:
        with app.app_context():
            add_run(db.engine, "failed", at=datetime.now(UTC))
            judge_alerts(db.engine, app.extensions["tapedeck"])
        yield app


def first_alert(client: FlaskClient) -> dict[str, object]:
    alert: dict[str, object] = client.get("/api/alerts").json["alerts"][0]
    return alert


def test_alerts_are_listed_and_narrowed(client: FlaskClient) -> None:
    alert = first_alert(client)
    assert (alert["rule"], alert["state"], alert["severity"]) == (
        "run_failed",
        "firing",
        "critical",
    )
    assert alert["text"].endswith("It went wrong.")  # type: ignore[attr-defined]
    for query, count in (("state=firing", 1), ("state=resolved", 0), ("severity=info", 0)):
        assert len(client.get(f"/api/alerts?{query}").json["alerts"]) == count


@pytest.mark.parametrize("query", ["state=loud", "severity=x", "limit=0", "cursor=x", "page=2"])
def test_a_wrong_query_is_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"/api/alerts?{query}").status_code == 422


def test_rules_are_listed_with_the_receiver(client: FlaskClient) -> None:
    answer = client.get("/api/alerts/rules").json
    rules = {rule["name"]: rule for rule in answer["rules"]}
    assert rules["run_failed"]["openCount"] == 1
    assert (rules["run_slow"]["isSent"], rules["run_failed"]["isSent"]) == (False, True)
    assert (answer["receiver"]["host"], answer["receiver"]["format"]) == ("127.0.0.1", "standard")


def test_an_alert_is_snoozed_and_woken(client: FlaskClient) -> None:
    path = f"/api/alerts/{first_alert(client)['id']}/snooze"
    answer = client.post(path, json={"minutes": 30, "reason": "known"})
    until = datetime.fromisoformat(answer.json["snoozedUntil"])
    assert timedelta(minutes=29) < until - datetime.now(UTC) <= timedelta(minutes=30)
    assert answer.json["snoozeReason"] == "known"
    assert client.post(path, json={"minutes": 0}).json["snoozedUntil"] is None
    assert client.post(path).json["snoozedUntil"] is not None


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/alerts/1/snooze", {"minutes": -1}, 400),
        ("/api/alerts/1/snooze", {"minutes": "5"}, 400),
        ("/api/alerts/1/snooze", {"until": 5}, 400),
        ("/api/alerts/1/snooze", {"reason": "a\u0000b"}, 400),
        ("/api/alerts/999999/snooze", {"minutes": 5}, 404),
        ("/api/alerts/99999999999999999999999/snooze", {"minutes": 5}, 404),
        ("/api/alerts/deliveries/replay", {"ids": ["x"]}, 404),
        ("/api/alerts/deliveries/replay", {"ids": "x"}, 400),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: FlaskClient, path: str, body: dict[str, object], status: int
) -> None:
    assert client.post(path, json=body).status_code == status


def test_a_test_is_sent_and_found_among_the_deliveries(
    client: FlaskClient, http_server: ScriptedServer
) -> None:
    answer = client.post("/api/alerts/test").json
    assert (answer["status"], answer["tries"][0]["outcome"]) == ("sent", "delivered")
    assert answer["webhookId"] == http_server.requests[0].headers["webhook-id"]
    listed = client.get("/api/alerts/deliveries?status=sent").json["deliveries"]
    assert [one["id"] for one in listed] == [answer["id"]]
    assert client.get(f"/api/alerts/deliveries/{answer['id']}").json == answer


def test_nothing_dead_is_nothing_to_replay(client: FlaskClient) -> None:
    assert client.post("/api/alerts/deliveries/replay").json == {"replayed": 0}


def test_an_unknown_delivery_is_not_found(client: FlaskClient) -> None:
    assert client.get("/api/alerts/deliveries/42").status_code == 404


def test_without_a_receiver_a_test_is_refused(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path) as app:
        answer = app.test_client().post("/api/alerts/test")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert "ALERT_WEBHOOK_URL" in answer.json["detail"]


def test_another_sites_browser_cannot_send_a_test(
    client: FlaskClient, http_server: ScriptedServer
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert client.post("/api/alerts/test", headers=headers).status_code == 403
    assert http_server.requests == []

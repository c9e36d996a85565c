"""What the pages say of an open alert: who knows of it, and that somebody wanted quiet."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from tests.web.deck import send_form
from tests.web.real_app import real_app

_ALERT = """
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at,
                       notified_at)
    VALUES ('run_failed', 'mock', 'critical', 'firing', 'The run failed', '', now(), now(), now())
    RETURNING id
"""
_DELIVERY = """
    INSERT INTO alert_delivery (id, kind, group_key, status, created_at, notify_at, queued_at,
                                due_at, planned_at, sent_at, last_error)
    VALUES (gen_random_uuid(), 'alert', 'run_failed', :status, now(), now(), now(), now(), now(),
            CASE WHEN :status = 'sent' THEN now() - interval '7 min' END, :error)
    RETURNING id
"""
_NOTICE = """
    INSERT INTO alert_notice (alert_id, delivery_id, kind, noticed_at, fired_at, rule, subject,
                              severity, title, text)
    VALUES (:alert_id, :delivery_id, 'fired', now(), now(), 'run_failed', 'mock', 'critical', '',
            '')
"""


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    with real_app(database_url, tmp_path) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def add_alert(app: Flask, *deliveries: str, error: str = "") -> int:
    """Store an open alert with a delivery of each status, the oldest first; its id."""
    with app.app_context(), db.engine.begin() as connection:
        alert_id = int(connection.execute(text(_ALERT)).scalar_one())
        for status in deliveries:
            values = {"status": status, "error": error}
            delivery_id = connection.execute(text(_DELIVERY), values).scalar_one()
            ids = {"alert_id": alert_id, "delivery_id": delivery_id}
            connection.execute(text(_NOTICE), ids)
    return alert_id


@pytest.mark.parametrize(
    ("deliveries", "open_words", "past_words"),
    [
        ((), "nobody was told", "nobody"),
        (("waiting",), "not told yet, the message waits", ">waiting</a>"),
        (("sent",), "told <time", "7 min ago"),
        (("sent", "waiting"), "the next message waits", "the next message waits"),
        (("dead",), "telling was given up", ">given up</a>"),
    ],
)
def test_an_alert_was_told_only_once_somebody_took_it(
    app: Flask, client: FlaskClient, deliveries: tuple[str, ...], open_words: str, past_words: str
) -> None:
    add_alert(app, *deliveries)
    html = client.get("/alerts").text
    assert open_words in html
    assert ("told <time" in html) is ("sent" in deliveries)
    assert past_words in client.get("/alerts/history").text


def test_an_alert_that_waits_says_why_and_leads_to_the_message(
    app: Flask, client: FlaskClient
) -> None:
    add_alert(app, "waiting", error="The <receiver> takes no connection.")
    html = client.get("/alerts").text
    assert "The &lt;receiver&gt; takes no connection" in html
    assert '<a href="/alerts/deliveries/' in html


def test_a_snooze_is_seen_on_the_overview_at_once(app: Flask, client: FlaskClient) -> None:
    alert_id = add_alert(app)
    snooze = f"/alerts/{alert_id}/snooze"
    before = client.get("/").text
    send_form(client, snooze, page="/alerts", minutes="60")
    during = client.get("/").text
    send_form(client, snooze, page="/alerts", minutes="0")
    after = client.get("/").text
    assert ["snoozed until" in html for html in (before, during, after)] == [False, True, False]


def test_what_was_snoozed_comes_after_what_was_not(app: Flask, client: FlaskClient) -> None:
    alert_id = add_alert(app)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, "
                "fired_at) VALUES ('r', 's', 'info', 'firing', 'Of no weight', '', now(), now())"
            )
        )
    send_form(client, f"/alerts/{alert_id}/snooze", page="/alerts", minutes="60")
    html = client.get("/").text
    assert 0 < html.index("Of no weight") < html.index("The run failed")

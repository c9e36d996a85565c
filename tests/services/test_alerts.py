"""Alerts as pages, the API and the shell read and act on them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.alerts.judging import SignalFact
from app.alerts.outbox import Policy
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK, RULES, Severity
from app.cache_breaker import CacheMode, CacheState
from app.domain import Trigger
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.providers import http
from app.providers.http import BreakerState
from app.services import alert_watch
from app.services.alert_counts import load_alert_counts
from app.services.alert_deliveries import (
    load_deliveries,
    load_delivery,
    load_receiver,
    replay_deliveries,
    send_test,
)
from app.services.alert_watch import judge_alerts, load_rules, observe, watch_alerts
from app.services.alerts import (
    load_alert,
    load_alerts,
    load_open_alerts,
    snooze_alert,
)
from app.services.house import House
from tests.alerts.making import ManualClock, add_run, column
from tests.apps import bare_app
from tests.servers import Answer, ScriptedServer
from tests.web.real_app import empty_tables

PATIENCE = Policy(group_wait=0, jitter=0)
MakeApp = Callable[..., Flask]


@pytest.fixture
def app(database_url: str, http_server: ScriptedServer, clock: ManualClock) -> Iterator[Flask]:
    """The application over empty tables, with a receiver of this machine and a manual clock."""
    values: dict[str, Any] = {
        "alert_webhook_url": f"{http_server.url}/s3cr3t-path-of-it/hook",
        "alert_min_severity": "info",
        "ingestion_lookback_days": 1,
        "ingestion_markets": "BTC-USD,ETH-USD",
    }
    with bare_app(database_url, clock=clock, **values) as app:
        empty_tables(app)
        http_server.script("/s3cr3t-path-of-it/hook", Answer(200))
        yield app


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def house(app: Flask) -> House:
    found: House = app.extensions["tapedeck"]
    return found


def fail(house: House, clock: ManualClock) -> None:
    add_run(db.engine, "failed", at=clock.now)
    judge_alerts(db.engine, house, policy=PATIENCE)


def test_a_failed_run_is_an_open_alert_and_arrives(
    house: House, clock: ManualClock, http_server: ScriptedServer
) -> None:
    run_id = add_run(db.engine, "failed", at=clock.now)
    watch_alerts(db.engine, house, policy=PATIENCE)
    (alert,) = load_open_alerts(db.session, house)
    assert (alert.rule, alert.state, alert.run_id) == ("run_failed", "firing", str(run_id))
    assert (alert.severity, alert.title) == (Severity.CRITICAL, "Run failed")
    (delivery,) = load_deliveries(db.session).deliveries
    assert (delivery.status, delivery.attempts, delivery.http_status) == ("sent", 1, 200)
    assert delivery.webhook_id == http_server.requests[0].headers["webhook-id"]


def test_a_real_run_is_judged_and_finds_everything_in_order(database_url: str) -> None:
    with bare_app(database_url, ingestion_lookback_days=2) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        run_id = house.runner.start(trigger=Trigger.CLI)
        assert house.runner.wait(run_id, timeout_seconds=60)
        judge_alerts(db.engine, house)
        assert load_open_alerts(db.session, house) == ()
        values = {rule.name: rule.value for rule in load_rules(db.session, house)}
    assert (values["run_failed"], values["no_success"]) == ("succeeded", "0 ticks")
    assert values["data_gap"] == values["market_stale"] == "0 of 3 markets"
    assert set(values) == set(RULES)


def test_the_worst_comes_first_and_pending_last(house: House, clock: ManualClock) -> None:
    judge_alerts(db.engine, house)
    early = clock.now - timedelta(hours=2)
    add_run(db.engine, "partial", at=early, fetched=10, rejected=9)
    add_run(db.engine, "failed", at=clock.now)
    judge_alerts(db.engine, house)
    found = [(one.rule, one.state) for one in load_open_alerts(db.session, house)]
    assert found == [
        ("run_failed", "firing"),
        ("rows_rejected", "firing"),
        ("run_partial", "firing"),
        ("no_success", "pending"),
    ]
    assert load_alert_counts(db.session).firing[Severity.CRITICAL] == 1


def test_history_is_newest_first_page_by_page_and_by_filter(
    house: House, clock: ManualClock
) -> None:
    judge_alerts(db.engine, house)
    for minute in range(6):
        add_run(
            db.engine, "failed" if minute % 2 == 0 else "succeeded", at=clock.advance(seconds=9)
        )
    judge_alerts(db.engine, house)
    first = load_alerts(db.session, house, limit=2)
    second = load_alerts(db.session, house, limit=2, cursor=first.next_cursor)
    ids = [alert.id for alert in first.alerts + second.alerts]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second.next_cursor) == (3, None)
    assert load_alerts(db.session, house, state="firing").alerts == ()
    assert len(load_alerts(db.session, house, rule="run_failed").alerts) == 3
    assert load_alerts(db.session, house, severity=Severity.INFO).alerts == ()


@pytest.mark.parametrize("cursor", ["x", "WyJhIl0", "WyJhIiwgImIiXQ"])
def test_a_cursor_of_somebody_else_is_refused(house: House, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        load_alerts(db.session, house, cursor=cursor)


def test_a_snooze_outlives_the_alert_it_was_set_on(
    house: House, clock: ManualClock, http_server: ScriptedServer
) -> None:
    fail(house, clock)
    (alert,) = load_open_alerts(db.session, house)
    snoozed = snooze_alert(db.session, house, alert.id, minutes=60, author="Ada", reason=" known ")
    assert snoozed.snoozed_until == clock.now + timedelta(hours=1)
    assert (snoozed.snoozed_by, snoozed.snooze_reason) == ("Ada", "known")
    add_run(db.engine, "succeeded", at=clock.advance(minutes=1))
    fail(house, clock)
    clock.advance(minutes=1)
    fail(house, clock)
    kinds = "SELECT kind FROM alert_notice ORDER BY id"
    assert column(db.engine, kinds) == ["fired", "resolved"]
    again = snooze_alert(db.session, house, alert.id, minutes=0, author="Ada")
    assert again.snoozed_until is None
    judge_alerts(db.engine, house, policy=PATIENCE)
    assert column(db.engine, kinds) == ["fired", "resolved", "fired"]


@pytest.mark.parametrize("minutes", [-1, 43_201])
def test_a_snooze_out_of_range_is_refused(house: House, clock: ManualClock, minutes: int) -> None:
    fail(house, clock)
    with pytest.raises(InvalidRequest, match="0 to 43200"):
        snooze_alert(db.session, house, 1, minutes=minutes, author="Ada")


@pytest.mark.parametrize("alert_id", [0, 999, 2**70])
def test_an_unknown_alert_is_not_found(house: House, alert_id: int) -> None:
    with pytest.raises(NotFound):
        load_alert(db.session, house, alert_id)
    with pytest.raises(NotFound):
        snooze_alert(db.session, house, alert_id, minutes=5, author="Ada")


def test_a_test_tells_how_it_went(house: House, http_server: ScriptedServer) -> None:
    http_server.script("/s3cr3t-path-of-it/hook", Answer(200), Answer(500))
    good = send_test(db.session, db.engine, house)
    bad = send_test(db.session, db.engine, house)
    assert (good.delivery.status, good.attempts[0].outcome) == ("sent", "delivered")
    assert (bad.delivery.status, bad.attempts[0].detail) == (
        "dead",
        "The receiver answered 500, an error of its own.",
    )
    assert load_receiver(db.session, house).dead_count == 0
    assert http_server.requests[0].json()["type"] == "alert.test"  # type: ignore[index]


def test_dead_deliveries_are_listed_and_replayed(
    house: House, clock: ManualClock, http_server: ScriptedServer
) -> None:
    http_server.script("/s3cr3t-path-of-it/hook", Answer(410), Answer(200))
    fail(house, clock)
    watch_alerts(db.engine, house, policy=PATIENCE)
    receiver = load_receiver(db.session, house)
    assert (receiver.dead_count, receiver.disabled_at) == (1, clock.now)
    (dead,) = load_deliveries(db.session, status="dead").deliveries
    assert replay_deliveries(db.session, house, dead.id) == 1
    watch_alerts(db.engine, house, policy=PATIENCE)
    detail = load_delivery(db.session, dead.webhook_id)
    assert [one.outcome for one in detail.attempts] == ["gone", "delivered"]
    assert load_receiver(db.session, house).disabled_at is None


def test_a_message_that_later_news_have_overtaken_is_refused(
    house: House, clock: ManualClock, http_server: ScriptedServer
) -> None:
    http_server.script("/s3cr3t-path-of-it/hook", Answer(500), Answer(200))
    fail(house, clock)
    watch_alerts(db.engine, house, policy=replace(PATIENCE, tries=(0,)))
    (dead,) = load_deliveries(db.session, status="dead").deliveries
    clock.advance(minutes=10)
    add_run(db.engine, "succeeded", at=clock.now)
    judge_alerts(db.engine, house, policy=PATIENCE)
    clock.advance(minutes=10)
    watch_alerts(db.engine, house, policy=PATIENCE)
    with pytest.raises(InvalidRequest, match="Later news of the same trouble"):
        replay_deliveries(db.session, house, dead.id)
    db.session.rollback()
    assert replay_deliveries(db.session, house) == 0


def test_alerts_go_by_the_databases_clock_whatever_the_hosts_says(
    app: Flask, house: House, clock: ManualClock, http_server: ScriptedServer
) -> None:
    # As the product is put together: the host's clock is two days and more behind, or ahead.
    for host in (clock, lambda: datetime.now(UTC) + timedelta(hours=1)):
        empty_tables(app)
        product = replace(house, clock=host, given_clock=None)
        add_run(db.engine, "failed", at=datetime.now(UTC))
        watch_alerts(db.engine, product, policy=PATIENCE)
        (alert,) = load_open_alerts(db.session, product)
        assert alert.told_at is not None
        ages = column(
            db.engine,
            "SELECT abs(extract(epoch FROM clock_timestamp() - created_at)) < 60 "
            "FROM alert_delivery UNION ALL "
            "SELECT abs(extract(epoch FROM clock_timestamp() - judged_at)) < 60 FROM alert_watch",
        )
        assert ages == [True, True]
        snoozed = snooze_alert(db.session, product, alert.id, minutes=5, author="ops")
        assert snoozed.snoozed_until is not None
        db.session.rollback()
    assert len(http_server.requests) == 2


def test_deliveries_are_paged(house: House, clock: ManualClock) -> None:
    sent = [send_test(db.session, db.engine, house).delivery.id for _ in range(3)]
    first = load_deliveries(db.session, limit=2)
    second = load_deliveries(db.session, limit=2, cursor=first.next_cursor)
    found = [one.id for one in first.deliveries + second.deliveries]
    assert (sorted(found), second.next_cursor) == (sorted(sent), None)


@pytest.mark.parametrize("delivery_id", ["x", "msg_x", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_delivery_is_not_found(house: House, delivery_id: str) -> None:
    with pytest.raises(NotFound):
        load_delivery(db.session, delivery_id)


def test_without_a_receiver_alerts_are_kept_and_nothing_waits(database_url: str) -> None:
    clock = ManualClock()
    with bare_app(database_url, clock=clock) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        add_run(db.engine, "failed", at=clock.now)
        watch_alerts(db.engine, house, policy=PATIENCE)
        assert len(load_open_alerts(db.session, house)) == 1
        assert load_deliveries(db.session).deliveries == ()
        assert not load_receiver(db.session, house).is_set
        with pytest.raises(InvalidRequest, match="ALERT_WEBHOOK_URL"):
            send_test(db.session, db.engine, house)
        assert not any(rule.is_sent for rule in load_rules(db.session, house))


def test_a_receiver_is_shown_by_its_host_alone(house: House) -> None:
    receiver = load_receiver(db.session, house)
    send_test(db.session, db.engine, house)
    detail = load_delivery(db.session, load_deliveries(db.session).deliveries[0].id)
    assert (receiver.host, receiver.format_name, receiver.is_signed) == (
        "127.0.0.1",
        "standard",
        False,
    )
    assert "s3cr3t" not in f"{receiver}{detail}"


def test_this_process_reports_its_cache_and_its_breakers(
    house: House, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled = replace(
        house, cache_state=lambda: CacheState(CacheMode.FALLBACK, clock.now, "refused")
    )
    states = [
        BreakerState("coingecko", "a", "open", 5, 30.0, "CoinGecko answered 500"),
        BreakerState("coingecko", "b", "half_open", 5, 0.0),
        BreakerState("mock", "c", "closed", 0, 0.0),
    ]
    monkeypatch.setattr(alert_watch, "breaker_states", lambda: tuple(states))
    assert observe(troubled) == [
        SignalFact(CACHE_FALLBACK, "", "refused"),
        SignalFact(BREAKER_OPEN, "coingecko", "open: CoinGecko answered 500"),
    ]
    judge_alerts(db.engine, troubled)
    clock.advance(minutes=1)
    judge_alerts(db.engine, troubled)
    found = {one.rule for one in load_open_alerts(db.session, house)}
    assert found == {CACHE_FALLBACK, BREAKER_OPEN}


def test_a_real_breaker_that_opened_is_seen(house: House) -> None:
    channel = http.channel_to("coingecko", "http://test-of-alerts")
    try:
        for _ in range(5):
            channel.breaker.fail()
        assert SignalFact(BREAKER_OPEN, "coingecko", "open") in observe(house)
    finally:
        channel.breaker.succeed()

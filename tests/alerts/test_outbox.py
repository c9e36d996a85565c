"""The outbox: at least once, in order within a rule, patient, and done only by an answer."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine

from app.alerts.claims import claim, settle
from app.alerts.outbox import Policy, count_overtaken, enqueue_test, prune, replay, requeue
from app.alerts.rules import Severity
from app.alerts.sending import deliver_due, try_one
from app.alerts.watch import judge_all
from app.alerts.webhook import Outcome, Reply, Webhook
from app.domain import RunStatus
from tests.alerts.making import (
    NOON,
    ManualClock,
    add_run,
    column,
    judge,
    order,
    run_statement,
    steady,
    webhook,
)
from tests.servers import Answer, ReceivedRequest, ScriptedServer

STATUS = "SELECT status FROM alert_delivery ORDER BY queued_at, id"
DUE = "SELECT extract(epoch FROM due_at - :noon)::float FROM alert_delivery ORDER BY queued_at"
Send = Callable[..., Reply | None]


@pytest.fixture
def hook(http_server: ScriptedServer) -> Webhook:
    return webhook(f"{http_server.url}/hook")


@pytest.fixture
def send(engine: Engine, hook: Webhook, clock: ManualClock) -> Send:
    """Try the next delivery that is due, once."""

    def once(policy: Policy | None = None) -> Reply | None:
        return try_one(engine, hook, clock=clock, policy=policy or steady(), seconds=5)

    return once


def fail(engine: Engine, clock: ManualClock) -> None:
    """A failed run, judged at once; its delivery is due half a minute later."""
    add_run(engine, RunStatus.FAILED, at=clock.now)
    judge(engine, clock.now, policy=steady())


def succeed(engine: Engine, clock: ManualClock) -> None:
    add_run(engine, RunStatus.SUCCEEDED, at=clock.now)
    judge(engine, clock.now, policy=steady())


def wait_for_due(clock: ManualClock) -> None:
    clock.advance(seconds=30)


def ids(server: ScriptedServer) -> list[str]:
    return [request.headers["webhook-id"] for request in server.requests]


def test_an_alert_and_its_delivery_are_stored_together_or_not_at_all(
    engine: Engine, clock: ManualClock
) -> None:
    add_run(engine, RunStatus.FAILED, at=clock.now)
    with engine.connect() as connection:
        assert judge_all(connection, order(clock.now)) == 1
        connection.rollback()
    assert column(engine, "SELECT id FROM alert") == []
    assert column(engine, STATUS) == []
    judge(engine, clock.now)
    assert (len(column(engine, "SELECT id FROM alert")), column(engine, STATUS)) == (1, ["waiting"])


def test_a_delivery_is_sent_once_and_logged(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(200))
    fail(engine, clock)
    assert send() is None
    wait_for_due(clock)
    assert send() is not None
    assert send() is None
    assert column(engine, STATUS) == ["sent"]
    assert column(engine, "SELECT outcome FROM alert_attempt") == ["delivered"]
    assert column(engine, "SELECT latency_ms >= 0 FROM alert_attempt") == [True]
    assert http_server.requests[0].json()["data"]["rule"] == "run_failed"  # type: ignore[index]


def test_tries_follow_the_schedule_and_then_the_delivery_is_dead(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    fail(engine, clock)
    wait_for_due(clock)
    pauses = []
    while column(engine, STATUS) == ["waiting"]:
        due = column(engine, DUE, noon=NOON)[0] - 30
        pauses.append(due)
        clock.now = NOON + timedelta(seconds=30 + due)
        assert send() is not None
    assert pauses == [0, 5, 305, 2105, 9305, 27_305, 63_305]
    assert column(engine, STATUS) == ["dead"]
    assert len(set(ids(http_server))) == 1
    assert len({request.body for request in http_server.requests}) == 1


def test_jitter_lengthens_a_pause_and_never_shortens_it(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    found = set()
    for _ in range(10):
        fail(engine, clock)
        wait_for_due(clock)
        send(Policy(tries=(0, 1000), jitter=0.2))
        due = column(engine, "SELECT due_at FROM alert_delivery")[0]
        found.add((due - clock.now).total_seconds())
        run_statement(engine, "TRUNCATE alert, alert_delivery, alert_watch CASCADE")
    assert min(found) >= 1000
    assert max(found) <= 1200
    assert len(found) > 1


@pytest.mark.parametrize(("header", "pause"), [("60", 60), ("1", 5), ("99999999", 86_400)])
def test_retry_after_lengthens_the_pause_within_a_day(
    engine: Engine,
    clock: ManualClock,
    http_server: ScriptedServer,
    send: Send,
    header: str,
    pause: float,
) -> None:
    http_server.script("/hook", Answer(429, headers={"Retry-After": header}))
    fail(engine, clock)
    wait_for_due(clock)
    send()
    assert column(engine, DUE, noon=clock.now) == [pause]


def test_gone_disables_the_receiver_until_a_test_arrives(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, hook: Webhook, send: Send
) -> None:
    http_server.script("/hook", Answer(410), Answer(200))
    fail(engine, clock)
    wait_for_due(clock)
    send()
    assert column(engine, STATUS) == ["dead"]
    clock.advance(minutes=10)
    succeed(engine, clock)
    wait_for_due(clock)
    assert send() is None
    assert (column(engine, STATUS), len(http_server.requests)) == (["dead", "dead"], 1)
    with engine.begin() as connection:
        test = enqueue_test(connection, now=clock.now)
    try_one(engine, hook, clock=clock, policy=steady(), seconds=5, only=test)
    assert column(engine, "SELECT fingerprint FROM alert_target") == []


def test_dead_deliveries_are_replayed_under_their_old_id_and_body(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500), Answer(200))
    fail(engine, clock)
    wait_for_due(clock)
    send(steady(tries=(0,)))
    assert column(engine, STATUS) == ["dead"]
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == 1
    send()
    assert column(engine, STATUS) == ["sent"]
    first, second = http_server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def give_up(engine: Engine, clock: ManualClock, send: Send) -> None:
    """Try the next delivery for the last time."""
    wait_for_due(clock)
    assert send(steady(tries=(0,))) is not None
    clock.advance(minutes=5)


def told_states(server: ScriptedServer) -> list[str]:
    return [request.json()["data"]["state"] for request in server.requests]  # type: ignore[index]


def test_replayed_deliveries_are_told_in_their_old_order(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    for change in (fail, succeed) * 4:
        change(engine, clock)
        give_up(engine, clock, send)
    before = told_states(http_server)
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == 8
    http_server.script("/hook", Answer(200))
    assert [send() is not None for _ in range(9)] == [True] * 8 + [False]
    assert told_states(http_server)[8:] == before == ["firing", "resolved"] * 4


def test_deliveries_queued_anew_at_one_instant_keep_their_order(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    for change in (fail, succeed) * 4:
        change(engine, clock)
        give_up(engine, clock, send)
    clock.advance(days=-1)
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == requeue(connection, now=clock.now) == 8
    assert len(set(column(engine, "SELECT queued_at FROM alert_delivery"))) == 1
    http_server.script("/hook", Answer(200))
    assert [send() is not None for _ in range(9)] == [True] * 8 + [False]
    assert told_states(http_server)[8:] == ["firing", "resolved"] * 4


def test_a_replayed_delivery_goes_before_what_waits_since(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500), Answer(200))
    fail(engine, clock)
    give_up(engine, clock, send)
    succeed(engine, clock)
    clock.advance(seconds=10)
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == 1
    clock.advance(minutes=5)
    assert [send() is not None for _ in range(3)] == [True, True, False]
    assert told_states(http_server) == ["firing", "firing", "resolved"]


def test_what_later_news_have_overtaken_is_not_replayed(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500), Answer(200))
    fail(engine, clock)
    give_up(engine, clock, send)
    (dead,) = column(engine, "SELECT id FROM alert_delivery")
    with engine.connect() as connection:
        assert count_overtaken(connection, [dead]) == 0
    succeed(engine, clock)
    wait_for_due(clock)
    send()
    with engine.begin() as connection:
        assert count_overtaken(connection, [dead]) == 1
        assert replay(connection, [], now=clock.now) == 0
        assert replay(connection, [dead], now=clock.now) == 0
    assert column(engine, STATUS) == ["dead", "sent"]


def test_deliveries_go_by_the_databases_clock(
    engine: Engine, http_server: ScriptedServer, hook: Webhook
) -> None:
    http_server.script("/hook", Answer(500))
    fail(engine, ManualClock(datetime.now(UTC)))
    assert try_one(engine, hook, policy=steady(), seconds=5) is None
    run_statement(engine, "UPDATE alert_delivery SET due_at = due_at - interval '30 s'")
    assert try_one(engine, hook, policy=steady(), seconds=5) is not None
    gap = "SELECT extract(epoch FROM due_at - sealed_at)::float >= 5 FROM alert_delivery"
    assert column(engine, gap) == [True]
    started = "SELECT clock_timestamp() - started_at < interval '1 min' FROM alert_attempt"
    assert column(engine, started) == [True]


def test_what_waited_for_a_clock_that_was_ahead_is_sent_when_it_is_right(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500), Answer(200))
    clock.advance(hours=1)
    fail(engine, clock)
    wait_for_due(clock)
    send(steady(tries=(0, 300, 300)))
    succeed(engine, clock)
    clock.advance(hours=-1)
    assert send() is None
    judge(engine, clock.now, policy=steady())
    assert [send() is not None for _ in range(3)] == [True, True, False]
    assert told_states(http_server) == ["firing", "firing", "resolved"]


def test_a_message_that_kills_its_senders_is_dead_in_the_end(
    engine: Engine, clock: ManualClock, hook: Webhook
) -> None:
    fail(engine, clock)
    wait_for_due(clock)
    policy, claims = steady(tries=(0, 5, 300)), 0

    def take() -> Any:
        with engine.begin() as connection:
            return claim(connection, hook, sender="me", now=clock.now, policy=policy)

    while claims < 10 and take() is not None:
        claims += 1
        assert column(engine, STATUS) == ["waiting"]
        run_statement(engine, "UPDATE alert_delivery SET lease_until = clock_timestamp()")
    assert (claims, column(engine, STATUS)) == (3, ["dead"])
    errors = column(engine, "SELECT last_error FROM alert_delivery")
    assert errors == ["The processes that tried to send it died."]
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == 1
    assert take() is not None


def test_a_sender_that_died_and_one_that_failed_use_up_tries_alike(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, hook: Webhook, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    fail(engine, clock)
    wait_for_due(clock)
    policy = steady(tries=(0, 5))
    with engine.begin() as connection:
        claim(connection, hook, sender="me", now=clock.now, policy=policy)
    run_statement(engine, "UPDATE alert_delivery SET lease_until = clock_timestamp()")
    assert send(policy) is not None
    assert column(engine, STATUS) == ["dead"]
    assert column(engine, "SELECT last_error FROM alert_delivery") == [
        "The receiver answered 500, an error of its own."
    ]


def test_a_lease_from_the_future_is_not_waited_for(
    engine: Engine, clock: ManualClock, hook: Webhook, send: Send, http_server: ScriptedServer
) -> None:
    http_server.script("/hook", Answer(200))
    fail(engine, clock)
    wait_for_due(clock)
    with engine.begin() as connection:
        claim(connection, hook, sender="me", now=clock.now, policy=steady())
    ahead = "UPDATE alert_delivery SET lease_until = lease_until + interval '1 h'"
    run_statement(engine, ahead)
    assert send() is not None
    assert column(engine, STATUS) == ["sent"]


def test_a_firing_that_is_late_never_follows_its_own_end(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500), Answer(200))
    fail(engine, clock)
    wait_for_due(clock)
    send(steady(tries=(0, 7200)))
    succeed(engine, clock)
    clock.advance(minutes=5)
    # The end has come, so the firing is tried at once and not in two hours; then the end follows.
    assert [send() is not None for _ in range(3)] == [True, True, False]
    states = [request.json()["data"]["state"] for request in http_server.requests]  # type: ignore[index]
    assert states == ["firing", "firing", "resolved"]


def test_nothing_overtakes_what_still_waits_before_it(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    fail(engine, clock)
    wait_for_due(clock)
    policy = steady(tries=(0, 7200))
    send(policy)
    succeed(engine, clock)
    clock.advance(minutes=5)
    # The firing is tried again and refused again; its end has to wait for it.
    assert [send(policy) is not None for _ in range(2)] == [True, False]
    states = [request.json()["data"]["state"] for request in http_server.requests]  # type: ignore[index]
    assert states == ["firing", "firing"]


def test_a_try_outside_the_schedule_uses_none_of_it_up(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    fail(engine, clock)
    wait_for_due(clock)
    policy = steady(tries=(0, 7200))
    send(policy)
    planned = column(engine, "SELECT planned_at FROM alert_delivery")
    succeed(engine, clock)
    clock.advance(minutes=5)
    send(policy)
    first = "FROM alert_delivery ORDER BY queued_at LIMIT 1"
    assert column(engine, f"SELECT planned_at {first}") == planned
    assert column(engine, f"SELECT status {first}") == ["waiting"]
    assert column(engine, f"SELECT attempts {first}") == [2]


def test_notices_join_a_delivery_until_it_is_sealed(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(200))
    fail(engine, clock)
    clock.advance(seconds=10)
    succeed(engine, clock)
    assert len(column(engine, STATUS)) == 1
    clock.advance(seconds=20)
    send()
    clock.advance(seconds=1)
    fail(engine, clock)
    assert column(engine, STATUS) == ["sent", "waiting"]
    data: Any = http_server.requests[0].json()
    assert (data["data"]["state"], data["data"]["changes"]) == ("resolved", 2)


def test_a_lease_keeps_others_off_until_it_is_over(
    engine: Engine, clock: ManualClock, hook: Webhook
) -> None:
    fail(engine, clock)
    wait_for_due(clock)
    policy = steady()

    def take() -> Any:
        with engine.begin() as connection:
            return claim(connection, hook, sender="me", now=clock.now, policy=policy)

    first = take()
    assert take() is None
    run_statement(engine, "UPDATE alert_delivery SET lease_until = clock_timestamp()")
    second = take()
    assert (first.id, first.body) == (second.id, second.body)
    assert (first.attempt, second.attempt) == (1, 2)
    assert column(engine, "SELECT outcome FROM alert_attempt") == ["sending", "sending"]


def test_a_sender_that_lost_its_lease_changes_nothing(
    engine: Engine, clock: ManualClock, hook: Webhook
) -> None:
    fail(engine, clock)
    wait_for_due(clock)
    claims = []
    for _ in range(2):
        with engine.begin() as connection:
            claims.append(claim(connection, hook, sender="me", now=clock.now, policy=steady()))
        run_statement(engine, "UPDATE alert_delivery SET lease_until = clock_timestamp()")
    late, present = claims
    assert late is not None
    assert present is not None
    answers = [(late, Outcome.DELIVERED), (present, Outcome.SERVER_ERROR), (late, Outcome.GONE)]
    kept = []
    for claimed, outcome in answers:
        with engine.begin() as connection:
            reply = Reply(outcome, "", 1)
            kept.append(settle(connection, claimed, reply, hook, now=clock.now, policy=steady()))
    assert kept == [False, True, False]
    assert column(engine, STATUS) == ["waiting"]
    assert column(engine, "SELECT fingerprint FROM alert_target") == []


def test_two_senders_at_once_send_nothing_twice(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, hook: Webhook
) -> None:
    http_server.script("/hook", Answer(200))
    with engine.begin() as connection:
        wanted: set[UUID] = {enqueue_test(connection, now=clock.now) for _ in range(40)}
    with ThreadPoolExecutor(4) as pool:
        counts = list(
            pool.map(lambda _: deliver_due(engine, hook, clock=clock, policy=steady()), range(4))
        )
    assert sum(counts) == 40
    assert sorted(ids(http_server)) == sorted(f"msg_{one.hex}" for one in wanted)


def test_a_loop_begins_no_send_that_would_not_end_in_its_time(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, hook: Webhook
) -> None:
    http_server.script("/hook", Answer(hold=threading.Event()))
    with engine.begin() as connection:
        for _ in range(5):
            enqueue_test(connection, now=clock.now)
    assert deliver_due(engine, hook, clock=clock, policy=steady(loop=0.4)) == 1
    assert len(column(engine, "SELECT 1 FROM alert_attempt")) == 1


def test_a_test_is_tried_once_and_is_no_dead_letter(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(500))
    with engine.begin() as connection:
        enqueue_test(connection, now=clock.now)
    send()
    assert column(engine, STATUS) == ["dead"]
    with engine.begin() as connection:
        assert replay(connection, [], now=clock.now) == 0


def test_what_is_below_the_least_severity_is_kept_but_not_sent(
    engine: Engine, clock: ManualClock
) -> None:
    add_run(engine, RunStatus.PARTIAL, at=clock.now)
    assert judge(engine, clock.now, min_severity=Severity.CRITICAL) == 1
    assert column(engine, "SELECT rule FROM alert_notice") == ["run_partial"]
    assert column(engine, STATUS) == []


def test_pruning_keeps_what_is_open_and_what_waits(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.script("/hook", Answer(200))
    fail(engine, clock)
    wait_for_due(clock)
    send()
    succeed(engine, clock)
    clock.advance(minutes=10)
    fail(engine, clock)
    with engine.begin() as connection:
        prune(connection, before=clock.advance(days=1))
    assert column(engine, "SELECT state FROM alert") == ["firing"]
    assert column(engine, STATUS) == ["waiting"]


def test_a_delivery_whose_alerts_were_forgotten_still_says_something(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, send: Send
) -> None:
    http_server.handle("/hook", lambda request: Answer(200 if _is_json(request) else 400))
    fail(engine, clock)
    run_statement(engine, "DELETE FROM alert")
    wait_for_due(clock)
    send()
    assert column(engine, STATUS) == ["sent"]


def _is_json(request: ReceivedRequest) -> bool:
    return bool(json.loads(request.body)["data"]["title"])

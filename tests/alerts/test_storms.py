"""Storms: however much happens at once or to and fro, a rule sends one message in five minutes."""

import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.alerts.facts import Followed
from app.alerts.sending import deliver_due
from app.domain import HOUR
from tests.alerts.conftest import AddMarket
from tests.alerts.making import (
    NOON,
    ManualClock,
    add_run,
    column,
    judge,
    observe,
    steady,
    webhook,
)
from tests.servers import Answer, ScriptedServer

KINDS = "SELECT kind FROM alert_notice ORDER BY id"


def test_flapping_makes_one_notice_in_five_minutes(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer
) -> None:
    http_server.script("/hook", Answer(200))
    hook, sent_at = webhook(f"{http_server.url}/hook"), []
    for step in range(140):
        if step < 100:
            add_run(engine, "succeeded" if step % 2 else "failed", at=clock.now)
        judge(engine, clock.now, policy=steady())
        sent_at += [clock.now] * deliver_due(engine, hook, clock=clock, policy=steady())
        clock.advance(seconds=6)
    bodies: list[Any] = [request.json() for request in http_server.requests]
    closest = min(b - a for a, b in pairwise(sent_at))
    print(f"figures: flapping 100 x in 10 minutes: {len(bodies)} messages, closest {closest} apart")
    assert len(column(engine, KINDS)) == 100
    assert len(sent_at) == len(bodies) == 3
    assert all(b - a >= timedelta(minutes=5) for a, b in pairwise(sent_at))
    assert sum(body["data"].get("changes", 1) for body in bodies) == 100
    assert bodies[-1]["data"]["state"] == "resolved"


def test_five_hundred_markets_at_once_are_one_message(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, add_market: AddMarket
) -> None:
    http_server.script("/hook", Answer(200))
    names = tuple(f"COIN{number:03}-USD" for number in range(500))
    for name in names:
        observe(engine, add_market(name), clock.now - HOUR)
    followed = Followed("mock", names, 0, has_history=False)
    for minutes in (0, 2, 1):
        judge(engine, clock.advance(minutes=minutes), followed=followed, policy=steady())
    deliver_due(engine, webhook(f"{http_server.url}/hook"), clock=clock, policy=steady())
    (request,) = http_server.requests
    content: Any = request.json()
    assert (content["data"]["count"], len(column(engine, KINDS))) == (500, 500)


def test_markets_that_fail_one_after_another_share_messages(
    engine: Engine, clock: ManualClock, http_server: ScriptedServer, add_market: AddMarket
) -> None:
    http_server.script("/hook", Answer(200))
    hook, sent_at = webhook(f"{http_server.url}/hook"), []
    names = tuple(f"COIN{number:02}-USD" for number in range(10))
    for number, name in enumerate(names):
        observe(engine, add_market(name), clock.now - HOUR / 2 + number * HOUR / 60)
    followed = Followed("mock", names, 0, has_history=False)
    for _ in range(40):
        judge(engine, clock.now, followed=followed, policy=steady())
        sent_at += [clock.now] * deliver_due(engine, hook, clock=clock, policy=steady())
        clock.advance(seconds=30)
    bodies: list[Any] = [request.json()["data"] for request in http_server.requests]  # type: ignore[index]
    told = [one["market"] for body in bodies for one in body.get("alerts", [body])]
    assert sorted(told) == sorted(names)
    assert 1 < len(sent_at) <= 3
    assert all(b - a >= timedelta(minutes=5) for a, b in pairwise(sent_at))


def test_a_storm_is_one_line_of_the_log_and_one_update(
    engine: Engine, add_market: AddMarket, caplog: pytest.LogCaptureFixture
) -> None:
    names = tuple(f"COIN{number:03}-USD" for number in range(100))
    for name in names:
        observe(engine, add_market(name), NOON - HOUR)
    followed = Followed("mock", names, 0, has_history=False)
    judge(engine, NOON, followed=followed)
    row_by_row: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, ___: Any, ____: Any, is_many: bool) -> None:
        if is_many and not statement.startswith("INSERT"):
            row_by_row.append(statement)

    with caplog.at_level(logging.INFO, logger="app.alerts.keeping"):
        judge(engine, NOON + timedelta(minutes=2), followed=followed)
    (line,) = [vars(record) for record in caplog.records if record.name == "app.alerts.keeping"]
    assert (line["message"], line["count"], len(line["subjects"])) == ("alerts changed", 100, 20)
    assert row_by_row == []
    assert column(engine, "SELECT count(*) FROM alert WHERE state = 'firing'") == [100]

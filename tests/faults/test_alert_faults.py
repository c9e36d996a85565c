"""Alerts while their senders are killed, and receivers that are down, slow, gone or redirecting.

`TAPEDECK_FAULTS=full` runs the whole of it: 1,200 alerts and 300 kills; else a short form.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess

import pytest
from sqlalchemy import Engine, create_engine, text

from app.alerts.outbox import replay
from app.alerts.sending import deliver_due, try_one
from app.models import Alert
from tests.alerts.making import ManualClock, column, steady, webhook
from tests.faults.alert_queue import queue_alerts
from tests.faults.alert_sender import send_carelessly, send_for_ever
from tests.servers import Answer, ReceivedRequest, ScriptedServer

IS_FULL = os.environ.get("TAPEDECK_FAULTS") == "full"
ALERTS, KILLS = (1200, 300) if IS_FULL else (150, 20)
SENDERS = 3
STATUSES = "SELECT status FROM alert_delivery"
INTERRUPTED = "SELECT 1 FROM alert_attempt WHERE outcome = 'sending'"
CONTEXT = get_context("forkserver")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    names = ", ".join(Alert.metadata.tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield engine
    engine.dispose()


class Receiver:
    """Takes its time, fails a tenth of what it is asked, and notes which alerts it took.

    `begun` lets the killer strike while a send is under way.
    """

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        self.begun = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._luck = random.Random(7)
        self._pause = threading.Event()

    def __call__(self, request: ReceivedRequest) -> Answer:
        identity = request.headers["webhook-id"]
        with self._lock:
            self.bodies.setdefault(identity, set()).add(request.body)
            fails = self._luck.random() < 0.1
            self.taken[identity] += not fails
        self.begun.release()
        self._pause.wait(0.02)
        return Answer(500 if fails else 200)

    def forget_begun(self) -> None:
        """From now on only sends that begin later count as begun."""
        while self.begun.acquire(blocking=False):
            pass


def start_sender(database_url: str, receiver_url: str) -> ForkServerProcess:
    process = CONTEXT.Process(target=send_for_ever, args=(database_url, receiver_url), daemon=True)
    process.start()
    return process


def kill_and_replace(
    senders: list[ForkServerProcess], receiver: Receiver, start: tuple[str, str]
) -> None:
    """Kill a sender at a moment when one has just begun to send; another takes its place."""
    receiver.begun.acquire()
    victim = senders.pop(random.randrange(len(senders)))
    victim.kill()
    victim.join()
    senders.append(start_sender(*start))


def await_settled(engine: Engine) -> None:
    """Return once nothing waits any more; how long that takes is the machine's affair."""
    pause = threading.Event()
    while "waiting" in column(engine, STATUSES):
        pause.wait(0.05)


@pytest.mark.timeout(1800 if IS_FULL else 300)
def test_killed_senders_lose_nothing_and_repeat_under_the_same_id(
    engine: Engine, database_url: str, http_server: ScriptedServer
) -> None:
    receiver = Receiver()
    http_server.handle("/hook", receiver)
    CONTEXT.set_forkserver_preload(["tests.faults.alert_sender"])
    start = (database_url, f"{http_server.url}/hook")
    senders = [start_sender(*start) for _ in range(SENDERS)]
    sent_as: dict[str, int] = {}
    try:
        kills = 0
        # At least so many, and some of them have struck in mid-send.
        while kills < KILLS or not column(engine, INTERRUPTED):
            receiver.forget_begun()
            sent_as |= queue_alerts(engine, ALERTS // KILLS, first=len(sent_as))
            kill_and_replace(senders, receiver, start)
            kills += 1
        await_settled(engine)
    finally:
        for sender in senders:
            sender.kill()
            sender.join()
    taken = {identity for identity, count in receiver.taken.items() if count}
    repeats = sum(count - 1 for count in receiver.taken.values() if count > 1)
    interrupted = column(engine, INTERRUPTED)
    strange = len(set(receiver.bodies) - set(sent_as))
    print(
        f"figures: {len(sent_as)} alerts, {kills} kills: {len(interrupted)} tries cut short, "
        f"{repeats} repeats, {strange} of them under another id, {len(set(sent_as) - taken)} lost"
    )
    assert taken == set(sent_as)
    assert set(column(engine, STATUSES)) == {"sent"}
    assert {len(bodies) for bodies in receiver.bodies.values()} == {1}


def test_the_oracle_sees_what_a_careless_sender_loses(
    engine: Engine, database_url: str, http_server: ScriptedServer
) -> None:
    receiver = Receiver()
    http_server.handle("/hook", receiver)
    sent_as = queue_alerts(engine, 100, first=0)
    hook = webhook(f"{http_server.url}/hook")
    send_carelessly(engine, hook)
    taken = {identity for identity, count in receiver.taken.items() if count}
    assert set(column(engine, STATUSES)) == {"sent"}
    assert len(set(sent_as) - taken) > 0


RECEIVERS = {
    "500": Answer(500),
    "429": Answer(429, headers={"Retry-After": "60"}),
    "reset": Answer(reset=True),
    "redirect": Answer(307, headers={"Location": "ELSEWHERE"}),
    "silent": Answer(hold=threading.Event()),
    "404": Answer(404),
}


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_that_was_in_trouble_gets_everything_when_it_is_well(
    name: str, engine: Engine, http_server: ScriptedServer
) -> None:
    clock, is_silent = ManualClock(datetime.now(UTC)), name == "silent"
    sent_as = queue_alerts(engine, 1, first=0)
    hook = webhook(f"{http_server.url}/hook")

    def send(*, seconds: float) -> None:
        try_one(engine, hook, clock=clock, policy=steady(), seconds=seconds)
        clock.advance(hours=3)

    with ScriptedServer() as elsewhere:
        elsewhere.script("/", Answer(200))
        trouble = RECEIVERS[name]
        if "Location" in trouble.headers:
            trouble = replace(trouble, headers={"Location": f"{elsewhere.url}/"})
        http_server.script("/hook", trouble)
        for _ in range(2):
            send(seconds=0.2 if is_silent else 10)
        http_server.script("/hook", Answer(200))
        send(seconds=10)
        assert elsewhere.requests == []
    assert column(engine, STATUSES) == ["sent"]
    outcomes = column(engine, "SELECT outcome FROM alert_attempt ORDER BY attempt")
    assert [one == "delivered" for one in outcomes] == [False, False, True]
    assert {request.headers["webhook-id"] for request in http_server.requests} == set(sent_as)


def test_a_receiver_that_wants_no_more_is_left_alone_and_nothing_is_lost(
    engine: Engine, http_server: ScriptedServer
) -> None:
    """After a 410 all alerts lie dead in the outbox, until a replay to one that takes them."""
    clock = ManualClock(datetime.now(UTC))
    sent_as = queue_alerts(engine, 20, first=0)
    hook = webhook(f"{http_server.url}/hook")
    http_server.script("/hook", Answer(410))
    for _ in range(3):
        deliver_due(engine, hook, clock=clock, policy=steady())
        clock.advance(hours=3)
    asked = len(http_server.requests)
    assert asked == 1
    assert column(engine, STATUSES) == ["dead"] * 20
    elsewhere = webhook(f"{http_server.url}/other")
    http_server.script("/other", Answer(200))
    with engine.begin() as connection:
        replay(connection, [], now=clock.now)
    deliver_due(engine, elsewhere, clock=clock, policy=steady())
    came = {request.headers["webhook-id"] for request in http_server.requests[asked:]}
    print(f"figures: 410: {asked} of 20 sent to it, {len(set(sent_as) - came)} lost on a replay")
    assert came == set(sent_as)
    assert column(engine, STATUSES) == ["sent"] * 20

"""The ping over a real server: an answer, silence, a connection that died, a server without any."""

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from app.database.patience_ping import Ping

ENOUGH_SECONDS = 10


@pytest.fixture
def ping(database_url: str) -> Iterator[Ping]:
    url = make_url(database_url)
    address = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    ping = Ping(lambda: address)
    yield ping
    ping.close()


def backend(ping: Ping) -> int:
    """The server's process at the other end."""
    return int(ping._line.info.backend_pid)


def test_living_server_answers_again_and_again(ping: Ping) -> None:
    assert not ping.answers(0.1)
    ping.prepare()
    assert all(ping.answers(ENOUGH_SECONDS) for _ in range(5))


def test_server_that_stands_still_costs_the_time_once_and_answers_later(ping: Ping) -> None:
    ping.prepare()
    os.kill(backend(ping), signal.SIGSTOP)
    try:
        assert not ping.answers(0.1)
        # No second question is asked, so this is over at once whatever time it is given.
        assert not ping.answers(3600)
    finally:
        os.kill(backend(ping), signal.SIGCONT)
    assert answered_in_time(ping)


def answered_in_time(ping: Ping) -> bool:
    """Whether an answer comes in ten seconds; each look is over at once."""
    pause = threading.Event()
    for _ in range(1000):
        if ping.answers(0.1):
            return True
        pause.wait(0.01)
    return False


def test_connection_that_died_is_replaced(ping: Ping) -> None:
    ping.prepare()
    first = backend(ping)
    os.kill(first, signal.SIGTERM)
    while ping.answers(ENOUGH_SECONDS):
        pass
    ping.prepare()
    assert ping.answers(ENOUGH_SECONDS)
    assert backend(ping) != first


def test_fresh_connection_is_left_alone_and_an_old_one_looked_at(ping: Ping) -> None:
    ping.prepare()
    first = backend(ping)
    ping.prepare()
    assert backend(ping) == first
    os.kill(first, signal.SIGTERM)
    ping._seen_at -= 3600
    while backend(ping) == first:
        ping.prepare()
        ping._seen_at -= 3600
    assert ping.answers(ENOUGH_SECONDS)


def test_without_a_server_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for address in (None, {"host": "127.0.0.1", "port": port, "user": "x"}):
        ping = Ping(lambda address=address: address)
        ping.prepare()
        assert not ping.answers(0.1)
        ping.close()


def test_forked_process_opens_a_line_of_its_own(ping: Ping) -> None:
    ping.prepare()
    first = backend(ping)
    ping._pid = -1  # as if this were a child of the process that opened it
    assert not ping.answers(0.1)
    ping.prepare()
    assert backend(ping) != first

"""The scripted server does to a client what it is told to: the suite's own instrument, tested."""

import socket
import threading

import pytest
import urllib3
from urllib3.exceptions import IncompleteRead, ProtocolError, ReadTimeoutError

from tests.servers import Answer, ReceivedRequest, ScriptedServer


@pytest.fixture
def client() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False, timeout=5)


def test_scripted_answers_come_in_order_and_the_last_repeats(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    http_server.script("/a", Answer(status=429, headers={"Retry-After": "7"}), Answer(body=[1]))
    answers = [client.request("GET", f"{http_server.url}/a") for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 200, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[2].json() == [1]


def test_requests_are_recorded_with_query_headers_and_body(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    def answer(request: ReceivedRequest) -> Answer:
        return Answer(body=request.query)

    http_server.handle("/echo", answer)
    url = f"{http_server.url}/echo?page=2&empty="
    reply = client.request("POST", url, json={"x": 1}, headers={"X-Key": "k"})
    received = http_server.requests[0]
    assert reply.json() == {"page": "2", "empty": ""}
    assert (received.method, received.headers["x-key"]) == ("POST", "k")
    assert received.json() == {"x": 1}


def test_a_request_that_breaks_off_was_none(http_server: ScriptedServer) -> None:
    http_server.script("/half", Answer(200))
    port = int(http_server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert http_server.requests == []


def test_truncated_body_is_an_incomplete_read(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    http_server.script("/cut", Answer(body=b"0123456789", truncate_to=4))
    with pytest.raises((ProtocolError, IncompleteRead)):
        client.request("GET", f"{http_server.url}/cut")


def test_reset_is_seen_as_a_connection_reset(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    http_server.script("/reset", Answer(reset=True))
    with pytest.raises(ProtocolError) as caught:
        client.request("GET", f"{http_server.url}/reset")
    assert isinstance(caught.value.args[1], ConnectionResetError)


def test_held_request_waits_for_its_event(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    release = threading.Event()
    http_server.script("/held", Answer(body="done", hold=release))
    with pytest.raises(ReadTimeoutError):
        client.request("GET", f"{http_server.url}/held", timeout=0.2)
    release.set()
    assert client.request("GET", f"{http_server.url}/held").data == b"done"


def test_dripping_body_arrives_whole(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    http_server.script("/drip", Answer(body="slow", drip_seconds=0.01))
    assert client.request("GET", f"{http_server.url}/drip").data == b"slow"


def test_unscripted_path_is_not_found(
    http_server: ScriptedServer, client: urllib3.PoolManager
) -> None:
    assert client.request("GET", f"{http_server.url}/nowhere").status == 404


def test_closing_lets_go_of_requests_that_never_get_an_answer(
    client: urllib3.PoolManager,
) -> None:
    server = ScriptedServer()
    server.script("/never", Answer(hold=threading.Event()))
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            client.request("GET", f"{server.url}/never")
        except urllib3.exceptions.HTTPError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    server.wait_for_requests(1)
    server.close()
    asking.join(timeout=10)
    assert len(failures) == 1

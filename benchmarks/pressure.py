"""Requests as fast as a server answers them, over a few kept connections of one thread."""

import socket
import time
from collections.abc import Sequence

CONNECTIONS = 8
LARGEST_READ = 1 << 18


class Caller:
    """One kept connection."""

    def __init__(self, port: int, request: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def send(self) -> None:
        """Ask once more."""
        self._socket.sendall(self._request)

    def receive(self) -> tuple[int, dict[str, str], int]:
        """Status, headers in lower case and length of the body of the next answer."""
        received = self._read(b"")
        while (end := received.find(b"\r\n\r\n")) < 0:
            received = self._read(received)
        lines = received[:end].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        status = int(lines[0].split(" ", 2)[1])
        length = 0 if status == 304 else int(headers["content-length"])
        missing = end + 4 + length - len(received)
        while missing > 0:
            missing -= len(self._read(b""))
        return status, headers, length

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self, before: bytes) -> bytes:
        part = self._socket.recv(LARGEST_READ)
        if not part:
            raise ConnectionError("the server hung up")
        return before + part


def build_request(path: str, **headers: str) -> bytes:
    """A GET request as a browser sends it, in short."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: */*",
        "Accept-Encoding: gzip",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ask(port: int, request: bytes) -> tuple[int, dict[str, str], int]:
    """One answer over a connection of its own."""
    caller = Caller(port, request)
    try:
        caller.send()
        return caller.receive()
    finally:
        caller.close()


def build_visits(port: int, path: str) -> list[bytes]:
    """The second visit to a page by as many browsers as there are connections, each with the
    cookie that it got at its first."""
    first = build_request(path)
    cookies = [ask(port, first)[1].get("set-cookie", "").split(";")[0] for _ in range(CONNECTIONS)]
    return [build_request(path, Cookie=cookie) for cookie in cookies]


def requests_per_second(
    port: int, request: bytes | Sequence[bytes], *, seconds: float, status: int = 200
) -> float:
    """How many requests a second were answered, all with `status`.

    Every connection sends the same request, or each its own.
    """
    requests = [request] * CONNECTIONS if isinstance(request, bytes) else request
    callers = [Caller(port, request) for request in requests]
    try:
        return _press(callers, seconds, status)
    finally:
        for caller in callers:
            caller.close()


def _press(callers: list[Caller], seconds: float, status: int) -> float:
    for caller in callers:
        caller.send()
    started = time.perf_counter()
    answered = 0
    while (taken := time.perf_counter() - started) < seconds:
        for caller in callers:
            got = caller.receive()[0]
            if got != status:
                raise AssertionError(f"{got} instead of {status}")
            answered += 1
            caller.send()
    return answered / taken

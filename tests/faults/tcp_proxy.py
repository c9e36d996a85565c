"""A TCP proxy on a free loopback port that does to a connection what a bad network does."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65_536


class Mode(Enum):
    """What becomes of connections, those that are open included."""

    PASS = "pass"
    REFUSE = "refuse"
    RESET = "reset"
    BLACK_HOLE = "black hole"
    LATENCY = "latency"
    CUT = "cut"


class TcpProxy:
    """Stands before a server at `target`; `set_mode` changes the weather.

    REFUSE ends the open connections and lets nobody connect. RESET breaks a connection at its next
    byte. BLACK_HOLE accepts, swallows every byte and answers none; a connection that lost bytes is
    reset once the weather has changed, as neither side knows any more where it stands. LATENCY
    holds every answer back. CUT closes a connection after so many bytes of answers.
    `connection_count` and `request_count` (reads from clients) tell what clients tried.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._mode = Mode.PASS
        self._latency_seconds = 0.0
        self._cut_after = 0
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._links: set[_Link] = set()
        self.connection_count = 0
        self.request_count = 0
        self._listener = _bind(0)
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = self._start(self._accept)

    @classmethod
    def before(cls, url: str) -> Self:
        """A proxy before the server that `url` names."""
        parts = urlsplit(url)
        return cls((parts.hostname or "127.0.0.1", parts.port or 0))

    @property
    def redis_url(self) -> str:
        """The address at which clients reach a Redis or Valkey through this proxy."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def mode(self) -> Mode:
        """The weather now."""
        return self._mode

    def set_mode(self, mode: Mode, *, latency_seconds: float = 1.0, cut_after: int = 0) -> None:
        """Change the weather, for open and for new connections."""
        was_refusing, self._mode = self._mode is Mode.REFUSE, mode
        self._latency_seconds, self._cut_after = latency_seconds, cut_after
        self._wake_holders()
        if mode is Mode.REFUSE and not was_refusing:
            self._stop_listening()
            self._listener = _bind(self.port)  # held, so that nobody else gets the port
            self._drop_links(lambda link: True)
        elif was_refusing and mode is not Mode.REFUSE:
            self._listener.listen()
            self._acceptor = self._start(self._accept)
        if mode is not Mode.BLACK_HOLE:
            self._drop_links(lambda link: link.lost_bytes)

    def close(self) -> None:
        """End every connection and stop listening."""
        self._wake_holders()
        self._stop_listening()
        self._drop_links(lambda link: True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def count_request(self) -> None:
        """One more read from a client."""
        with self._lock:
            self.request_count += 1

    def hold_answer(self) -> None:
        """Wait as long as the weather holds answers back, or until it changes."""
        if self._mode is Mode.LATENCY:
            self._changed.wait(self._latency_seconds)

    def allowed_bytes(self, sent: int, offered: int) -> int:
        """How many of the offered bytes may still pass on a connection that had `sent`."""
        return max(0, self._cut_after - sent) if self._mode is Mode.CUT else offered

    def leave(self, link: "_Link") -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connection_count += 1
            self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(self, client, server)
        with self._lock:
            self._links.add(link)
        self._start(link.carry_requests)
        self._start(link.carry_answers)

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _stop_listening(self) -> None:
        with suppress(OSError):  # it may not listen
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()

    def _wake_holders(self) -> None:
        woken, self._changed = self._changed, threading.Event()
        woken.set()

    def _drop_links(self, condition: "Callable[[_Link], bool]") -> None:
        with self._lock:
            dropped = [link for link in self._links if condition(link)]
        for link in dropped:
            link.reset()


class _Link:
    """One client's connection and its twin to the server."""

    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._lock = threading.Lock()
        self._is_open = True
        self._answered = 0
        self.lost_bytes = False

    def carry_requests(self) -> None:
        """Pass on what the client says."""
        self._carry(self._client, self._server, self._proxy.count_request, is_answer=False)

    def carry_answers(self) -> None:
        """Pass on what the server says."""
        self._carry(self._server, self._client, self._proxy.hold_answer, is_answer=True)

    def reset(self) -> None:
        """Break both ends with a TCP reset."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        for end in (self._client, self._server):
            _reset(end)
        self._proxy.leave(self)

    def _carry(
        self,
        source: socket.socket,
        sink: socket.socket,
        before: Callable[[], None],
        *,
        is_answer: bool,
    ) -> None:
        try:
            while chunk := source.recv(_CHUNK):
                before()
                if not self._pass_on(chunk, sink, is_answer=is_answer):
                    break
        except OSError:
            pass
        self.reset()

    def _pass_on(self, chunk: bytes, sink: socket.socket, *, is_answer: bool) -> bool:
        """Do to `chunk` what the weather does; False where the connection is to end."""
        if self._proxy.mode is Mode.BLACK_HOLE:
            self.lost_bytes = True
            return True
        if self._proxy.mode is Mode.RESET or self.lost_bytes:
            return False
        length = len(chunk)
        if is_answer:
            length = min(length, self._proxy.allowed_bytes(self._answered, length))
            self._answered += length
        sink.sendall(chunk[:length])
        return length == len(chunk)


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _reset(end: socket.socket) -> None:
    """Close so that the other side sees a reset, and wake whoever reads here."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    end.close()

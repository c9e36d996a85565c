"""What is only true under gunicorn itself: the counts of all workers are one, and go with it."""

import re
from pathlib import Path

import urllib3

from tests.processes import serving

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

"""Many callers at once for a page that nobody has drawn yet."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from app.cache import _flights
from tests.web.real_app import real_app

CALLERS = 16


def test_many_cold_callers_are_served_without_waiting_for_each_other_in_a_circle(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waits for another's building must not hold what the builder needs: with this
    # patience a circle would outlast the test.
    monkeypatch.setattr(_flights, "_patience_seconds", 600)
    with real_app(database_url, tmp_path) as app:
        assert app.test_client().post("/api/ingest").get_json()["status"] == "succeeded"
        start = Barrier(CALLERS)

        def call(number: int) -> int:
            client = app.test_client()
            start.wait(timeout=30)
            return client.get(f"/?search={'B' * (number % 2)}").status_code

        with ThreadPoolExecutor(CALLERS) as pool:
            statuses = list(pool.map(call, range(CALLERS), timeout=60))
    # On a busy machine some may be sent away for the moment; nobody is kept waiting.
    assert 200 in statuses
    assert set(statuses) <= {200, 503}

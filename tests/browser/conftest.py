"""A real Chromium against a real gunicorn; every page is watched for what must never happen."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.paths import ROOT
from tests.processes import WebProcess, serving

# A machine that is busy with other tests may take its time.
expect.set_options(timeout=15_000)

# `make browser` and CI run everything, `make test` what an operator does and every page once.
SHORT_FORM = ("test_operator", "test_every_page")
HERE = "tests/browser"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SITE = {
    "INGESTION_MARKETS": "top:30,SPX",
    "INGESTION_LOOKBACK_DAYS": "31",
    "INGESTION_CRON_EXPRESSION": "0 0 1 1 *",
    "SCHEDULER_POLL_SECONDS": "1",
    "WEB_WORKERS": "1",
    "MOCK_FAIL": "market",
    "MOCK_FAIL_MARKETS": "SPX",
    "MOCK_DELAY_SECONDS": "0.6",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the short form does not need, unless these tests are asked for."""
    if os.environ.get("CI") or any(HERE in argument for argument in config.args):
        return
    left_out = [item for item in items if HERE in item.nodeid and not _is_in_short_form(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_in_short_form(item: pytest.Item) -> bool:
    return item.path.stem in SHORT_FORM


@dataclass
class Watch:
    """What a page did that it must not do."""

    host: str
    faults: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.host, "data:", "blob:")):
            self.faults.append(f"asked another host: {request.url}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without one the tests are skipped, but never under CI."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("There is no Chromium, and under CI the browser tests have to run.")
        pytest.skip("There is no Chromium on this machine: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The dashboard with a first run in it, one market of which could not be served."""
    folder: Path = tmp_path_factory.mktemp("site")
    with serving(folder, fresh_database_url, SITE) as web:
        yield web


@pytest.fixture
def context(browser: Browser, site: WebProcess) -> Iterator[BrowserContext]:
    """A fresh profile on a desktop screen."""
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: WebProcess) -> Iterator[Page]:
    """A page; at its end there was no console error, no policy violation, no other host."""
    watch = Watch(site.url)
    page = context.new_page()
    watch.follow(page)
    yield page
    assert watch.faults == []

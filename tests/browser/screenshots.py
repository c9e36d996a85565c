"""Takes the pictures of README and docs: `make screenshots`, on a database of its own."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from app.database.embedded import EmbeddedPostgres
from app.paths import ROOT
from tests.browser.conftest import FLAGS, NAMES
from tests.browser.past import make_past
from tests.processes import serving
from tests.servers import create_database, make_enterable_directory

TARGET = ROOT / "docs" / "img"
SITE = {
    "INGESTION_MARKETS": "BTC-USD,ETH-USD,SOL-USD,XRP-USD,ADA-USD,DOGE-USD,LINK-USD,DOT-USD,SPX",
    "INGESTION_LOOKBACK_DAYS": "90",
    "MOCK_FAIL": "market",
    "MOCK_FAIL_MARKETS": "DOT-USD",
    "WEB_WORKERS": "1",
}
DESKTOP = (1280, 860)
PHONE = (375, 780)
PICTURES = (
    ("overview", "/", "light", DESKTOP),
    ("overview-dark", "/", "dark", DESKTOP),
    ("overview-phone", "/", "light", PHONE),
    ("market", "/markets/BTC-USD", "light", DESKTOP),
    ("runs", "/runs", "light", DESKTOP),
    ("run", "/runs", "light", DESKTOP),
    ("compare", "/compare?markets=BTC-USD,ETH-USD,SOL-USD", "light", DESKTOP),
    ("schedule", "/schedule", "light", DESKTOP),
    ("operations", "/operations", "dark", DESKTOP),
    ("alerts", "/alerts", "light", DESKTOP),
)


def main() -> None:
    """Write every picture anew."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit("There is no Chromium on this machine: apt install chromium")
    TARGET.mkdir(parents=True, exist_ok=True)
    folder = make_enterable_directory()
    with (
        EmbeddedPostgres(folder / "postgres") as url,
        tempfile.TemporaryDirectory() as work,
        serving(Path(work), database := create_database(url, "tapedeck_pictures"), SITE) as web,
        sync_playwright() as playwright,
    ):
        make_past(database)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        for name, address, scheme, size in PICTURES:
            _take(browser, web.url + address, name, scheme, size)
        browser.close()
    shutil.rmtree(folder, ignore_errors=True)


def _take(browser: Browser, url: str, name: str, scheme: str, size: tuple[int, int]) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url)
    if name == "run":
        page.locator("#runs tbody a").first.click()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=TARGET / f"{name}.png")
    context.close()
    print(f"docs/img/{name}.png")


if __name__ == "__main__":
    main()

"""How soon the page answers a hand, with a thousand markets: the browser's own measure of it."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import SITE
from tests.processes import WebProcess, serving

# Chromium's "interaction to next paint", in milliseconds; it tells of none below the threshold.
SLOWEST = 200
THRESHOLD = 16
TIMES = 5
OBSERVE = f"""
  window.interactions = {{}};
  new PerformanceObserver((list) => {{
    for (const entry of list.getEntries()) {{
      const known = window.interactions[entry.interactionId] ?? 0;
      if (entry.interactionId) {{
        window.interactions[entry.interactionId] = Math.max(known, entry.duration);
      }}
    }}
  }}).observe({{ type: "event", durationThreshold: {THRESHOLD} }});
"""
# Entries come after the frame they tell of.
READ = """() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => {
  resolve(Object.values(window.interactions));
  window.interactions = {};
}, 50)))"""
STAY = """() => {
  const stay = (event) => {
    if (event.type === "click" && !event.target.closest("a")) return;
    event.preventDefault();
    window.isLeft = true;
  };
  addEventListener("click", stay);
  addEventListener("submit", stay);
}"""


@pytest.fixture(scope="module")
def crowd(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebProcess]:
    """The dashboard with a thousand markets in it."""
    site = SITE | {"INGESTION_MARKETS": "top:1000", "INGESTION_LOOKBACK_DAYS": "2"}
    site |= {"MOCK_FAIL": "none", "MOCK_DELAY_SECONDS": "0"}
    with serving(tmp_path_factory.mktemp("crowd"), fresh_database_url, site) as web:
        yield web


@pytest.fixture
def page(browser: Browser, crowd: WebProcess) -> Iterator[Page]:
    context = browser.new_context(base_url=crowd.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    context.add_init_script(OBSERVE)
    yield context.new_page()
    context.close()


def measure(page: Page, act: Callable[[], None]) -> float:
    """The slowest interaction of `act`; what was too quick to be told counts as the threshold."""
    page.evaluate(READ)
    act()
    found: list[float] = page.evaluate(READ)
    return max([*found, THRESHOLD])


def leave(page: Page, address: str, selector: str) -> float:
    """Click what leads to another page; the way there is not part of the interaction."""
    page.goto(address)
    page.evaluate(STAY)
    taken = measure(page, page.locator(selector).first.click)
    assert page.evaluate("window.isLeft"), f"{selector} led nowhere"
    return taken


def test_typing_sorting_and_the_scheme_are_painted_at_once(page: Page) -> None:
    page.goto("/")
    page.wait_for_load_state("networkidle")
    taken: dict[str, list[float]] = {"type": [], "sort": [], "scheme": []}
    page.locator("#snapshot-text").click()
    for letter in "coins":
        # The rows are replaced between two letters.
        with page.expect_response("**/fragments/snapshots*"):
            taken["type"].append(measure(page, partial(page.keyboard.press, letter)))
    page.goto("/")
    for column in ("price", "volume", "roi_24h", "age", "symbol"):
        with page.expect_response("**/fragments/snapshots*"):
            taken["sort"].append(measure(page, page.locator(f"#sort-{column}").click))
    for _ in range(TIMES):
        taken["scheme"].append(measure(page, page.locator("[data-theme-toggle]").click))
    assert {name: median(times) for name, times in taken.items() if median(times) >= SLOWEST} == {}


@pytest.mark.parametrize(
    ("address", "selector"),
    [
        ("/runs", "main a[href^='/runs/']"),
        ("/runs", "label.chip:has-text('succeeded')"),
        ("/markets", "label.chip:has-text('fresh')"),
        ("/", "main a[href^='/markets/']"),
    ],
)
def test_a_link_or_filter_is_painted_at_once(page: Page, address: str, selector: str) -> None:
    assert median(leave(page, address, selector) for _ in range(TIMES)) < SLOWEST

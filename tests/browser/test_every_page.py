"""What holds on every page: width, scheme, reading without script, accessibility, weight."""

import re

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.addresses import all_addresses
from tests.browser.conftest import AXE, Watch
from tests.processes import WebProcess

WIDTHS = (375, 768, 1280, 2560)
HEAVIEST_FIRST_PAGE = 150_000
SHIFT = """() => new Promise((resolve) => {
  let total = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) total += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(total)));
})"""
AXE_RUN = """async () => (await axe.run()).violations
  .filter((item) => ["serious", "critical"].includes(item.impact))
  .map((item) => item.id + ": " + item.nodes.map((node) => node.html.slice(0, 120)).join(" | "))"""


def visit(page: Page, address: str) -> None:
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == (404 if address == "/nowhere" else 200), address


def test_no_page_scrolls_sideways_in_any_width_or_scheme(
    context: BrowserContext, site: WebProcess
) -> None:
    page = context.new_page()
    wide = []
    for address in all_addresses(page):
        visit(page, address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append((address, width))
    assert wide == []


def test_every_page_reads_without_script(browser: Browser, site: WebProcess) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    for address in all_addresses(page):
        visit(page, address)
        expect(page.locator("h1").first).to_be_visible()
        assert len(page.locator("main").inner_text()) > 40, address
    context.close()


def test_every_form_works_without_script(browser: Browser, site: WebProcess) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("searchbox").fill("eth")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#snapshots tbody tr").first).to_contain_text("ETH-USD")
    page.goto("/runs")
    page.locator("label.chip", has_text="partial").click()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("status=partial"))
    page.goto("/markets/BTC-USD")
    page.get_by_label("Compare with").fill("spx, eth-usd")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("main")).to_contain_text("What became of 100")
    page.goto("/schedule?expression=@daily")
    expect(page.locator("#schedule-preview")).to_contain_text("At 00:00 every day")
    page.get_by_label("Reason").fill("a test")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("main")).to_contain_text("The schedule runs again.")
    page.goto("/")
    page.get_by_role("button", name="Ingest now").click()
    # The page loads itself again until the run is over.
    expect(page.locator("h1")).to_contain_text("partial", timeout=30_000)
    context.close()


def test_no_page_has_a_fault_of_console_policy_or_host(
    context: BrowserContext, site: WebProcess
) -> None:
    page = context.new_page()
    addresses = all_addresses(page)
    watch = Watch(site.url)
    watch.follow(page)
    for address in addresses:
        if address != "/nowhere":
            visit(page, address)
            page.wait_for_load_state("networkidle")
    assert watch.faults == []


def test_no_page_has_a_serious_accessibility_fault(browser: Browser, site: WebProcess) -> None:
    faults = {}
    for scheme in ("light", "dark"):
        # The policy allows no foreign script: only here, for the checker itself, it is set aside.
        context = browser.new_context(base_url=site.url, bypass_csp=True, color_scheme=scheme)
        page = context.new_page()
        for address in all_addresses(page):
            visit(page, address)
            page.add_script_tag(path=AXE)
            found = page.evaluate(AXE_RUN)
            if found:
                faults[scheme, address] = found
        context.close()
    assert faults == {}


def test_first_page_is_light_and_still(context: BrowserContext, site: WebProcess) -> None:
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    visit(page, "/")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(SHIFT) == 0
    assert 0 < sum(sizes) < HEAVIEST_FIRST_PAGE

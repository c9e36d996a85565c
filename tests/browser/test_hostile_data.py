"""What providers send is only ever text: no name, message or number breaks a page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine, text

from tests.browser.addresses import all_addresses
from tests.browser.conftest import SITE, Watch
from tests.processes import WebProcess, serving

SCRIPT = "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
NAMES = {
    "BTC-USD": SCRIPT,
    # Turned round, another script, a family in one sign, and marks in heaps.
    "ETH-USD": "\u202eolleh\u2066 \u0627\u0633\u0645 \U0001f468\u200d\U0001f469\u200d\U0001f467 z"
    + "\u0335\u0348" * 20,
    "SOL-USD": "W" * 300,
    # Nothing that could be seen.
    "SPX": "\u200b\u3164",
}
_NAME = "UPDATE market SET name = :name WHERE symbol = :symbol"
_LISTING = """
    UPDATE listing SET name = :name, provider_symbol = :name
    WHERE market_id = (SELECT id FROM market WHERE symbol = :symbol)
"""
_PRICE = """
    UPDATE market_snapshot SET price = :price, volume = :price, market_cap = :price,
        roi_24h_pct = :roi, roi_7d_pct = - CAST(:roi AS numeric)
    WHERE market_id = (SELECT id FROM market WHERE symbol = :symbol)
"""
_CANDLES = """
    UPDATE market_aggregate SET open = :price, high = :price, low = :price, close = :price
    WHERE market_id = (SELECT id FROM market WHERE symbol = :symbol)
"""
_RUN = """
    UPDATE ingestion_run SET error_message = :message, requested_by = :message, problem_count = 1,
        problems = jsonb_build_array(jsonb_build_object(
            'symbol', 'BTC-USD', 'error_class', 'TransientProviderError', 'message', :message))
"""
_REJECTED = """
    INSERT INTO rejected_row (run_id, provider, kind, symbol, reason, detail, raw)
    SELECT id, provider, 'snapshot', 'BTC-USD', 'price_missing', :message, :message
    FROM ingestion_run
"""
_ALERT = """
    INSERT INTO alert (rule, subject, severity, state, title, text, pending_at, fired_at, market)
    VALUES ('market_stale', 'x', 'critical', 'firing', :message, :message, now(), now(), 'BTC-USD')
"""


@pytest.fixture(scope="module")
def site(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The dashboard of four markets, with the worst that could be stored of them."""
    site = SITE | {"INGESTION_MARKETS": ",".join(NAMES), "SCHEDULER_ENABLED": "false"}
    with serving(tmp_path_factory.mktemp("hostile"), fresh_database_url, site) as web:
        engine = create_engine(fresh_database_url)
        with engine.begin() as connection:
            for symbol, name in NAMES.items():
                for statement in (_NAME, _LISTING):
                    connection.execute(text(statement), {"name": name, "symbol": symbol})
            small, large = ("SOL-USD", "0.0000000000009876"), ("ETH-USD", "1234567890123456.789")
            for symbol, price in (small, large):
                values = {"symbol": symbol, "price": price, "roi": "1234567.891"}
                for statement in (_PRICE, _CANDLES):
                    connection.execute(text(statement), values)
            for statement in (_RUN, _REJECTED, _ALERT):
                connection.execute(text(statement), {"message": SCRIPT + "X" * 500})
            connection.execute(text("UPDATE data_version SET token = gen_random_uuid()"))
        engine.dispose()
        yield web


@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_is_broken_by_what_is_stored(
    browser: Browser, site: WebProcess, width: int
) -> None:
    context = browser.new_context(base_url=site.url, viewport={"width": width, "height": 900})
    page = context.new_page()
    markets = [f"/markets/{symbol}" for symbol in NAMES]
    wide, addresses = [], [*all_addresses(page), *markets, "/compare?markets=" + ",".join(NAMES)]
    watch = Watch(site.url)
    watch.follow(page)
    for address in addresses:
        if address == "/nowhere":
            continue
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.broken") is None, address
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(address)
    assert wide == []
    assert watch.faults == []
    context.close()


def test_names_and_numbers_stay_readable(browser: Browser, site: WebProcess) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/")
    rows = page.locator("#snapshots tbody tr")
    expect(rows.filter(has_text="BTC-USD")).to_contain_text("<script>window.broken")
    expect(rows.filter(has_text="SOL-USD")).to_contain_text("0.0₁₂9876")
    expect(rows.filter(has_text="ETH-USD")).to_contain_text("1,234.6 T")
    assert "\u202e" not in page.content()
    context.close()

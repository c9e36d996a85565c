"""The candle chart of a market with a long history: ranges, merged candles, older ones."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Browser, FloatRect, Page, Response, Route, expect

from tests.processes import WebProcess, serving

SITE = {
    "INGESTION_MARKETS": "BTC-USD",
    "INGESTION_LOOKBACK_DAYS": "400",
    "SCHEDULER_ENABLED": "false",
    "WEB_WORKERS": "1",
}
CHART = re.compile("/api/markets/BTC-USD/chart")
PHONE = {"width": 375, "height": 780}


@pytest.fixture(scope="module")
def site(fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """One market with 400 days of hours."""
    with serving(tmp_path_factory.mktemp("site"), fresh_database_url, SITE) as web:
        answer = urllib3.PoolManager().request("POST", f"{web.url}/api/ingest")
        assert answer.status == 200
        yield web


@pytest.fixture
def chart(page: Page) -> Page:
    """The page of the market, its chart drawn."""
    with page.expect_response(CHART):
        page.goto("/markets/BTC-USD")
    expect(page.locator("#candles canvas").first).to_be_visible()
    return page


def choose(page: Page, label: str) -> Any:
    """What the server answers to a press on a range."""
    with page.expect_response(CHART) as answer:
        page.get_by_role("button", name=label, exact=True).click()
    return answer.value.json()


def box_of(page: Page) -> FloatRect:
    box = page.locator("#candles canvas").first.bounding_box()
    assert box is not None
    return box


def drag_right(page: Page) -> None:
    box = box_of(page)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 50, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 150, middle, steps=8)
    page.mouse.up()


def instant_under_pointer(page: Page) -> str:
    """What the legend says of the candle at the right of the chart."""
    box = box_of(page)
    for shift in (150, 151):  # it says so when the pointer moves
        page.mouse.move(box["x"] + box["width"] - shift, box["y"] + 100)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(".chart-legend").inner_text()


def test_each_range_is_asked_for_and_fits_into_the_chart(chart: Page) -> None:
    note = chart.locator("[data-chart-note]")
    expect(note).to_be_hidden()
    for label, hours, words in (
        ("30 d", 1, ""),
        ("90 d", 3, "Each candle shows 3 hours."),
        ("1 y", 12, "Each candle shows 12 hours."),
        ("All", 24, "Each candle shows 1 day."),
        ("1 d", 1, ""),
    ):
        answer = choose(chart, label)
        assert answer["widthHours"] == hours
        assert 24 <= len(answer["candles"]) <= 800
        assert answer["hasOlder"] is (label != "All")
        expect(note).to_have_text(words)
        expect(note).to_be_visible(visible=bool(words))
        expect(chart.get_by_role("button", name=label, exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )


def test_older_candles_come_as_it_is_dragged_until_there_are_none(chart: Page) -> None:
    choose(chart, "90 d")
    answers: list[Response] = []
    chart.on("response", lambda answer: answers.append(answer) if CHART.search(answer.url) else 0)
    for _ in range(60):
        drag_right(chart)
        if answers and not answers[-1].json()["hasOlder"]:
            break
    bodies = [answer.json() for answer in answers]
    assert all("width_hours=3" in answer.url for answer in answers)
    assert {body["widthHours"] for body in bodies} == {3}
    assert [body["hasOlder"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    assert sum(len(body["candles"]) for body in bodies) + 90 * 8 > 400 * 8
    drag_right(chart)
    assert len(answers) == len(bodies)


def test_what_is_looked_at_stays_where_it_is_while_older_candles_come(chart: Page) -> None:
    held: list[Route] = []
    chart.route(CHART, lambda route: held.append(route))
    drag_right(chart)
    before = instant_under_pointer(chart)
    assert len(held) == 1
    with chart.expect_response(CHART):
        held[0].continue_()
    assert instant_under_pointer(chart) == before


def test_the_range_stays_in_the_address_and_is_shown_again(chart: Page) -> None:
    choose(chart, "1 y")
    expect(chart).to_have_url(re.compile(r"[?&]range=1y"))
    with chart.expect_response(CHART) as answer:
        chart.reload()
    assert answer.value.json()["widthHours"] == 12
    pressed = chart.locator("[data-ranges] [aria-pressed=true]")
    expect(pressed).to_have_text("1 y")


def test_each_granularity_has_its_own_ranges(chart: Page) -> None:
    with chart.expect_response(CHART) as answer:
        chart.get_by_role("link", name="Weekly").click()
    assert answer.value.json()["granularity"] == "weekly"
    expect(chart.locator("[data-ranges] button")).to_have_text(["1 y", "3 y", "10 y", "All"])


def test_a_narrow_screen_asks_for_as_many_candles_as_it_can_show(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url, viewport=PHONE)
    page = context.new_page()
    with page.expect_response(CHART):
        page.goto("/markets/BTC-USD")
    answer = choose(page, "1 y")
    assert answer["widthHours"] == 72
    expect(page.locator("[data-chart-note]")).to_have_text("Each candle shows 3 days.")
    context.close()


def test_without_script_there_is_the_line_and_no_button_that_does_nothing(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/markets/BTC-USD")
    expect(page.locator("#candles .chart-fallback svg")).to_be_visible()
    expect(page.locator("[data-ranges]")).to_be_hidden()
    context.close()


def test_a_chart_that_cannot_be_loaded_leaves_what_is_drawn(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    with page.expect_response(CHART):
        page.goto("/markets/BTC-USD")
    page.route(CHART, lambda route: route.abort())
    page.get_by_role("button", name="1 y", exact=True).click()
    expect(page.locator("[data-ranges] [aria-pressed=true]")).to_have_text("7 d")
    expect(page.locator("#candles canvas").first).to_be_visible()
    context.close()

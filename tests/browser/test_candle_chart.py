"""The candle chart of a market with a long history: ranges, merged, older and finer candles."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import urllib3
from playwright.sync_api import Browser, Page, Response, Route, expect

from tests.browser.chart_steps import (
    CHART,
    IN,
    MARKET,
    OUT,
    PHONE,
    SITE,
    choose,
    chosen,
    drag,
    frame_of,
    instants,
    opened,
    query_of,
    turn_wheel,
)
from tests.processes import WebProcess, serving


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
    return opened(page, MARKET)


@pytest.fixture
def year(page: Page) -> Page:
    """The chart of a year, each candle of half a day."""
    return opened(page, f"{MARKET}?range=1y")


class Gate:
    """Holds back what a page asks of its chart until it is opened."""

    def __init__(self, page: Page) -> None:
        self.held: list[Route] = []
        self._is_open = False
        page.route(CHART, self._pass)

    def open(self) -> None:
        self._is_open = True
        for route in self.held:
            route.continue_()

    def _pass(self, route: Route) -> None:
        if self._is_open:
            route.continue_()
        else:
            self.held.append(route)


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
        expect(chosen(chart)).to_have_text(label)


def test_older_candles_come_as_it_is_dragged_until_there_are_none(chart: Page) -> None:
    choose(chart, "90 d")
    answers: list[Response] = []
    chart.on("response", lambda answer: answers.append(answer) if CHART.search(answer.url) else 0)
    for _ in range(60):
        drag(chart, 0.05, 0.85)
        if answers and not answers[-1].json()["hasOlder"]:
            break
    bodies = [answer.json() for answer in answers]
    assert all("width_hours=3" in answer.url for answer in answers)
    assert {body["widthHours"] for body in bodies} == {3}
    assert [body["hasOlder"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    assert sum(len(body["candles"]) for body in bodies) + 90 * 8 > 400 * 8
    drag(chart, 0.05, 0.85)
    assert len(answers) == len(bodies)


def test_what_is_looked_at_stays_where_it_is_while_older_candles_come(chart: Page) -> None:
    gate = Gate(chart)
    drag(chart, 0.05, 0.5)
    before = instants(chart)[2:]
    assert len(gate.held) == 1
    with chart.expect_response(CHART):
        gate.open()
    assert instants(chart)[2:] == before


def test_a_range_is_chosen_without_loading_the_page_and_goes_into_the_address(page: Page) -> None:
    page.goto("/markets")
    opened(page, MARKET)
    page.evaluate("window.isStillHere = document.querySelector('#candles canvas')")
    for label, name, words in (("30 d", "30d", "newest 30 days"), ("1 y", "1y", "newest year")):
        choose(page, label)
        expect(page).to_have_url(re.compile(rf"\?granularity=hourly&range={name}$"))
        expect(page.locator(".chart-title")).to_contain_text(words)
        expect(page.locator("#candle-table summary")).to_contain_text(words)
    assert page.evaluate("window.isStillHere === document.querySelector('#candles canvas')")
    page.go_back()
    expect(page).to_have_url(re.compile("/markets$"))


def test_an_address_with_a_range_shows_it_again(page: Page) -> None:
    with page.expect_response(CHART) as answer:
        page.goto(f"{MARKET}?granularity=hourly&range=1y")
    assert answer.value.json()["widthHours"] == 12
    expect(chosen(page)).to_have_text("1 y")


def test_each_granularity_has_its_own_ranges_and_keeps_the_one_it_has_too(chart: Page) -> None:
    choose(chart, "1 y")
    with chart.expect_response(CHART) as answer:
        chart.get_by_role("link", name="Weekly").click()
    assert answer.value.json()["granularity"] == "weekly"
    links = chart.get_by_role("navigation", name="Range").get_by_role("link")
    expect(links).to_have_text(["1 y", "3 y", "10 y", "All"])
    expect(chosen(chart)).to_have_text("1 y")
    expect(chosen(chart, "Granularity")).to_have_text("Weekly")


def test_a_closer_look_brings_finer_candles_and_one_from_afar_merged_ones(year: Page) -> None:
    note = year.locator("[data-chart-note]")
    expect(note).to_have_text("Each candle shows 12 hours.")
    turn_wheel(year, IN, times=37)
    expect(frame_of(year)).to_have_attribute("data-width-hours", "1")
    expect(note).to_be_hidden()
    turn_wheel(year, OUT, times=37)
    expect(frame_of(year)).to_have_attribute("data-width-hours", re.compile("^(12|24|48)$"))
    expect(note).to_be_visible()


def test_what_is_looked_at_stays_where_it_is_while_finer_candles_come(year: Page) -> None:
    gate = Gate(year)
    with year.expect_request(CHART):
        turn_wheel(year, IN, times=37)
    coarse = instants(year)
    gate.open()
    expect(frame_of(year)).to_have_attribute("data-width-hours", "1")
    fine = instants(year)
    for before, after in zip(coarse, fine, strict=True):
        assert before <= after < before + timedelta(hours=12)
    assert fine != coarse


def test_one_request_at_a_time_is_under_way_however_much_one_moves(year: Page) -> None:
    gate = Gate(year)
    with year.expect_request(CHART):
        turn_wheel(year, IN, times=37)
    for way in (OUT, IN, OUT, IN):
        turn_wheel(year, way, times=6)
        drag(year, 0.3, 0.6)
        instants(year)
    assert len(gate.held) == 1
    gate.open()
    expect(frame_of(year)).to_have_attribute("data-width-hours", re.compile("^[123]$"))


def test_finer_candles_go_on_to_both_sides_up_to_the_newest(year: Page) -> None:
    turn_wheel(year, IN, times=37)
    expect(frame_of(year)).to_have_attribute("data-width-hours", "1")
    with year.expect_request(lambda request: "end=" in request.url) as older:
        for _ in range(6):
            drag(year, 0.1, 0.9)
    assert query_of(older.value)["width_hours"] == "1"
    newest = year.locator("[data-candle-chart]").get_attribute("data-newest") or ""
    answers: list[Response] = []
    year.on("response", lambda answer: answers.append(answer) if CHART.search(answer.url) else 0)
    for _ in range(80):
        drag(year, 0.9, 0.1)
        if instants(year)[-1] == datetime.fromisoformat(newest):
            break
    bodies = [answer.json() for answer in answers]
    assert {body["widthHours"] for body in bodies} == {1}
    opened_at = [candle["openedAt"] for body in bodies for candle in body["candles"]]
    assert datetime.fromisoformat(opened_at[-1]) == datetime.fromisoformat(newest)
    assert opened_at == sorted(set(opened_at))


def test_finer_candles_that_cannot_be_loaded_are_asked_for_with_the_next_movement(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url)
    page = opened(context.new_page(), f"{MARKET}?range=1y")
    page.route(CHART, lambda route: route.abort())
    with page.expect_event("requestfailed"):
        turn_wheel(page, IN, times=37)
    expect(frame_of(page)).to_have_attribute("data-width-hours", "12")
    page.unroute(CHART)
    turn_wheel(page, IN, times=1)
    expect(frame_of(page)).to_have_attribute("data-width-hours", "1")
    context.close()


def test_new_data_leaves_what_is_looked_at(year: Page) -> None:
    turn_wheel(year, IN, times=37)
    expect(frame_of(year)).to_have_attribute("data-width-hours", "1")
    before = instants(year)
    with year.expect_response(re.compile("/fragments/markets/BTC-USD/candles")):
        year.evaluate("document.body.dispatchEvent(new CustomEvent('run-finished'))")
    expect(year.locator("[data-candle-chart][data-started]")).to_be_visible()
    assert instants(year) == before
    expect(year.locator("[data-chart-note]")).to_be_hidden()


def test_new_data_is_drawn_where_nobody_has_moved_the_chart(chart: Page) -> None:
    with chart.expect_response(CHART) as answer:
        chart.evaluate("document.body.dispatchEvent(new CustomEvent('run-finished'))")
    assert "start=" in answer.value.url
    assert "width_hours" not in answer.value.url


def test_a_narrow_screen_asks_for_as_many_candles_as_it_can_show(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url, viewport=PHONE)
    page = opened(context.new_page(), MARKET)
    answer = choose(page, "1 y")
    assert answer["widthHours"] == 72
    expect(page.locator("[data-chart-note]")).to_have_text("Each candle shows 3 days.")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    context.close()


def test_without_script_the_ranges_are_links_and_line_drawdown_and_table_follow_them(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(MARKET)
    newest = page.locator("[data-candle-chart]").get_attribute("data-newest") or ""
    # 8,760 hours are 365 whole days, or a part of one more where the newest day is not over.
    days = 365 if datetime.fromisoformat(newest).hour == 23 else 366
    for label, name, count, words in (
        ("1 d", "1d", 24, "newest day: 24 candles"),
        ("1 y", "1y", days, f"newest year: {days} candles of 1 day"),
    ):
        page.get_by_role("link", name=label, exact=True).click()
        expect(page).to_have_url(re.compile(rf"\?granularity=hourly&range={name}#candles$"))
        expect(chosen(page)).to_have_text(label)
        expect(page.locator("#candle-table summary")).to_contain_text(words)
        expect(page.locator("#candle-table tbody tr")).to_have_count(24)
        for line in page.locator("#candles svg path").all():
            steps = re.findall(r"-?\d+", (line.get_attribute("d") or "").split("l")[1])
            assert len(steps) == 2 * (count - 1) + 2  # and beyond the edge
    expect(page.locator("#candles .chart-fallback svg")).to_be_visible()
    context.close()


def test_a_chart_that_cannot_be_loaded_leaves_the_line_of_the_server(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url)
    page = opened(context.new_page(), MARKET)
    expect(page.locator("#candles .chart-fallback")).to_be_hidden()
    page.route(CHART, lambda route: route.abort())
    page.get_by_role("link", name="1 y", exact=True).click()
    expect(page.locator("#candles .chart-fallback svg")).to_be_visible()
    expect(page.locator("#candles canvas")).to_have_count(0)
    expect(chosen(page)).to_have_text("1 y")
    page.unroute(CHART)
    choose(page, "30 d")
    expect(page.locator("#candles canvas").first).to_be_visible()
    context.close()

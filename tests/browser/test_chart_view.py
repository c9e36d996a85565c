"""The view of the candle chart: in the address, by keys, by fingers; its modules of one version."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Response, expect

from tests.browser.chart_steps import (
    CHART,
    IN,
    MARKET,
    PHONE,
    SITE,
    TWO_PICTURES,
    box_of,
    choose,
    chosen,
    drag,
    frame_of,
    instants,
    opened,
    turn_wheel,
)
from tests.processes import WebProcess, serving

MOVED = re.compile(r"\?granularity=hourly&from=[-\dT:]+Z&to=[-\dT:]+Z$")
LEGEND = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC\s+O\s[\d,.]+")


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
def phone(browser: Browser, site: WebProcess) -> Iterator[Page]:
    """The page of the market on a screen that is touched, scrolled to its chart."""
    context = browser.new_context(
        base_url=site.url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    page = opened(context.new_page(), MARKET)
    page.locator("#candles").evaluate("element => element.scrollIntoView()")
    yield page
    context.close()


def view_of(page: Page) -> tuple[datetime, datetime]:
    """The time that the page's address names."""
    query = parse_qs(urlsplit(page.url).query)
    start, end = (datetime.fromisoformat(query[name][0]) for name in ("from", "to"))
    return start, end


def moved(page: Page) -> tuple[datetime, datetime]:
    """Where the chart has come to rest, as its address says."""
    expect(page).to_have_url(MOVED)
    return view_of(page)


def newest_of(page: Page) -> datetime:
    """When the market's newest candle opened."""
    return datetime.fromisoformat(
        page.locator("[data-candle-chart]").get_attribute("data-newest") or ""
    )


def legend_of(page: Page) -> str:
    return page.locator(".chart-legend").inner_text()


def test_the_place_one_has_moved_to_is_in_the_address_and_comes_back(chart: Page) -> None:
    choose(chart, "90 d")
    drag(chart, 0.2, 0.8)
    start, end = moved(chart)
    assert start < end < datetime.now(UTC)
    before = instants(chart)
    opened(chart, chart.url)
    assert instants(chart) == before
    assert view_of(chart) == (start, end)


def test_a_place_in_the_address_is_none_of_the_ranges_until_one_is_chosen(chart: Page) -> None:
    expect(chosen(chart)).to_have_text("7 d")
    drag(chart, 0.3, 0.7)
    moved(chart)
    expect(chosen(chart)).to_have_count(0)
    choose(chart, "7 d")
    expect(chart).to_have_url(re.compile(r"\?granularity=hourly&range=7d$"))
    expect(chosen(chart)).to_have_text("7 d")


def test_a_range_that_is_chosen_again_shows_all_of_it(chart: Page) -> None:
    before = instants(chart)
    drag(chart, 0.2, 0.8)
    moved(chart)
    assert instants(chart) != before
    choose(chart, "7 d")
    assert instants(chart) == before


def test_moving_adds_nothing_to_what_going_back_leads_through(page: Page) -> None:
    page.goto("/markets")
    opened(page, MARKET)
    drag(page, 0.3, 0.7)
    start = moved(page)
    drag(page, 0.3, 0.7)
    page.wait_for_function("before => location.href !== before", arg=page.url)
    assert view_of(page) != start
    page.go_back()
    expect(page).to_have_url(re.compile("/markets$"))
    with page.expect_response(CHART) as answer:
        page.go_forward()
    assert "end=" in answer.value.url


def test_a_click_moves_nothing(chart: Page) -> None:
    chart.mouse.click(box_of(chart)["x"] + 200, box_of(chart)["y"] + 100)
    choose(chart, "30 d")
    expect(chart).to_have_url(re.compile(r"range=30d$"))


def test_new_data_draws_line_and_table_of_the_place_one_has_moved_to(chart: Page) -> None:
    drag(chart, 0.2, 0.8)
    start, end = moved(chart)
    before = instants(chart)
    with chart.expect_response(re.compile("/fragments/markets/BTC-USD/candles")) as answer:
        chart.evaluate("document.body.dispatchEvent(new CustomEvent('run-finished'))")
    assert f"from={start:%Y-%m-%dT%H:%M}Z&to={end:%Y-%m-%dT%H:%M}Z" in answer.value.url
    words = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    expect(chart.locator("#candle-table summary")).to_contain_text(words)
    assert instants(chart) == before


def test_without_script_a_place_is_a_line_and_a_table(browser: Browser, site: WebProcess) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(MARKET)
    newest = newest_of(page)
    start = newest - timedelta(days=3)
    page.goto(f"{MARKET}?granularity=hourly&from={start:%Y-%m-%dT%H:%M}Z&to=9999-12-31")
    expect(page.locator("#candle-table summary")).to_contain_text("73 candles")
    expect(page.locator("#candle-table tbody tr").first).to_contain_text(f"{newest:%Y-%m-%d}")
    expect(page.locator("#candles svg path").first).to_be_visible()
    context.close()


@pytest.mark.parametrize("query", ["from=soon&to=2026-01-01", "from=2026-01-02&to=2026-01-01"])
def test_a_place_that_is_none_is_refused_in_the_house(
    browser: Browser, site: WebProcess, query: str
) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    answer = page.goto(f"{MARKET}?{query}")
    assert answer is not None
    assert answer.status == 422
    expect(page.locator("main")).to_contain_text("from")
    context.close()


def test_keys_move_and_zoom_the_chart_and_say_where_it_is(chart: Page) -> None:
    newest = newest_of(chart)
    chart.get_by_role("application").focus()
    chart.keyboard.press("Home")
    moved(chart)
    expect(chart.locator("#announcer")).to_have_text(LEGEND)
    for key, fits in (
        ("ArrowRight", lambda now, then: now[0] > then[0] and now[1] > then[1]),
        ("ArrowLeft", lambda now, then: now[0] < then[0]),
        ("+", lambda now, then: now[0] > then[0] and now[1] < then[1]),
        ("-", lambda now, then: now[0] < then[0] and now[1] > then[1]),
        ("PageUp", lambda now, then: now[1] <= then[0] + timedelta(hours=1)),
        ("End", lambda now, _: now[1] > newest),
    ):
        before, then = chart.url, view_of(chart)
        chart.keyboard.press(key)
        chart.wait_for_function("before => location.href !== before", arg=before)
        assert fits(view_of(chart), then), key


def test_with_shift_the_arrows_go_from_candle_to_candle(chart: Page) -> None:
    chart.get_by_role("application").focus()
    read = []
    for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowRight"):
        chart.keyboard.press(key)
        expect(chart.locator("#announcer")).to_have_text(LEGEND)
        read.append(legend_of(chart)[:16])
    hours = [datetime.fromisoformat(text) for text in read]
    steps = [(after - before) // timedelta(hours=1) for before, after in pairwise(hours)]
    assert steps == [-1, -1, 1]


def test_the_legend_has_the_figures_as_they_are_stored(chart: Page) -> None:
    with chart.expect_response(CHART) as answer:
        chart.reload()
    last = answer.value.json()["candles"][-1]
    text = legend_of(chart).replace("\u00a0", " ").replace(",", "")
    for letter, name in (("O", "open"), ("H", "high"), ("L", "low"), ("C", "close")):
        assert f"{letter} {last[name]}" in text


def fingers(page: Page, session: CDPSession, *courses: list[tuple[float, float]]) -> None:
    """Put fingers on the screen, move each along its course, and lift them."""

    def send(kind: str, points: list[tuple[float, float]]) -> None:
        touches: list[dict[str, Any]] = [
            {"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        page.evaluate(TWO_PICTURES)

    steps = [list(points) for points in zip(*courses, strict=True)]
    send("touchStart", steps[0])
    for points in steps[1:]:
        send("touchMove", points)
    send("touchEnd", [])


def course(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    return [
        (start[0] + (end[0] - start[0]) * part / 10, start[1] + (end[1] - start[1]) * part / 10)
        for part in range(11)
    ]


@pytest.fixture
def touch(phone: Page) -> CDPSession:
    """What sends touches to the phone."""
    context: BrowserContext = phone.context
    return context.new_cdp_session(phone)


def test_a_finger_along_the_chart_moves_it_and_not_the_page(phone: Page, touch: CDPSession) -> None:
    box = box_of(phone)
    scrolled = phone.evaluate("scrollY")
    before = instants_by_address(phone)
    y = box["y"] + 150
    fingers(phone, touch, course((box["x"] + 40, y), (box["x"] + 220, y)))
    start, end = moved(phone)
    assert start < before[0]
    assert end < before[1]
    assert phone.evaluate("scrollY") == scrolled


def test_a_finger_up_the_chart_scrolls_the_page_and_not_the_chart(
    phone: Page, touch: CDPSession
) -> None:
    box = box_of(phone)
    scrolled = phone.evaluate("scrollY")
    x = box["x"] + 150
    fingers(phone, touch, course((x, box["y"] + 250), (x, box["y"] + 50)))
    assert phone.evaluate("scrollY") > scrolled + 100
    assert "from=" not in phone.url


@pytest.mark.parametrize(("reach", "is_closer"), [((20, 100), True), ((100, 20), False)])
def test_two_fingers_zoom_the_chart_and_not_the_page(
    phone: Page, touch: CDPSession, reach: tuple[float, float], is_closer: bool
) -> None:
    box = box_of(phone)
    middle, y = box["x"] + 130, box["y"] + 150
    first, last = instants_by_address(phone)
    fingers(
        phone,
        touch,
        course((middle - reach[0], y), (middle - reach[1], y)),
        course((middle + reach[0], y), (middle + reach[1], y)),
    )
    start, end = moved(phone)
    assert (end - start < last - first) is is_closer
    assert phone.evaluate("visualViewport.scale") == 1
    assert frame_of(phone).get_attribute("data-width-hours")


def instants_by_address(page: Page) -> tuple[datetime, datetime]:
    """The time of the usual range, which stands in no address."""
    box = page.locator("[data-candle-chart]")
    names = ("data-start", "data-newest")
    start, end = (datetime.fromisoformat(box.get_attribute(name) or "") for name in names)
    return start, end


def test_every_module_is_of_the_page_s_version_and_kept_for_ever(
    browser: Browser, site: WebProcess
) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    opened(page, MARKET)
    modules = [
        answer for answer in answers if answer.url.endswith(".js") and "/vendor/" not in answer.url
    ]
    names = {answer.url.rpartition("/")[2] for answer in modules}
    assert {"candles.js", "candle_look.js", "candle_times.js", "candle_address.js"} <= names
    assert len({answer.url.split("/static/")[1].split("/")[0] for answer in modules}) == 1
    assert all("immutable" in answer.headers["cache-control"] for answer in modules)
    assert len(modules) == len(names)  # what is loaded early is what is imported
    context.close()


def test_a_page_from_before_a_deploy_still_works(browser: Browser, site: WebProcess) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()

    def age(route: Any) -> None:
        answer = route.fetch()
        body = re.sub(r"/static/[0-9a-f]{16}/js", f"/static/{'0' * 16}/js", answer.text())
        route.fulfill(response=answer, body=body)

    page.route(f"**{MARKET}", age)
    with page.expect_response(re.compile("/static/0{16}/js/candle_look.js")) as answer:
        opened(page, MARKET)
    assert answer.value.status == 200
    assert answer.value.headers["cache-control"] == "no-cache"
    expect(page.locator("#candles canvas").first).to_be_visible()
    context.close()


def test_the_scheme_changes_the_chart_at_once(chart: Page) -> None:
    canvas = chart.locator("#candles canvas").first
    drawn = []
    for scheme in ("light", "dark"):
        chart.emulate_media(color_scheme=scheme)
        chart.evaluate(TWO_PICTURES)
        drawn.append(canvas.evaluate("canvas => canvas.toDataURL()"))
    assert drawn[0] != drawn[1]


def test_zooming_ends_up_in_the_address_too(chart: Page) -> None:
    turn_wheel(chart, IN, times=6)
    start, end = moved(chart)
    assert end - start < timedelta(days=7)

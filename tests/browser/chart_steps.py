"""What the tests of the candle chart do with it, and what they read off it."""

import re
from datetime import UTC, datetime
from typing import Any

from playwright.sync_api import FloatRect, Locator, Page, Request, expect

SITE = {
    "INGESTION_MARKETS": "BTC-USD",
    "INGESTION_LOOKBACK_DAYS": "400",
    "SCHEDULER_ENABLED": "false",
    "WEB_WORKERS": "1",
}
MARKET = "/markets/BTC-USD"
CHART = re.compile("/api/markets/BTC-USD/chart")
PHONE = {"width": 375, "height": 780}
IN, OUT = -120, 120
PLACES = (0.15, 0.4, 0.6, 0.85)
# What an event has changed is on screen after the second; a browser that draws no more fails.
TWO_PICTURES = """new Promise((done, fail) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
    setTimeout(fail, 15000, new Error("nothing is drawn"));
})"""


def opened(page: Page, address: str) -> Page:
    with page.expect_response(CHART):
        page.goto(address)
    expect(frame_of(page)).to_have_attribute("data-width-hours", re.compile(r"\d"))
    return page


def frame_of(page: Page) -> Locator:
    return page.locator("#candle-frame")


def chosen(page: Page, name: str = "Range") -> Locator:
    return page.get_by_role("navigation", name=name).locator("[aria-current=true]")


def choose(page: Page, label: str) -> Any:
    """What the server answers to the choice of a range, once it is drawn."""
    with page.expect_response(CHART) as answer:
        page.get_by_role("link", name=label, exact=True).click()
    body = answer.value.json()
    expect(frame_of(page)).to_have_attribute("data-width-hours", str(body["widthHours"]))
    return body


def box_of(page: Page) -> FloatRect:
    box = page.locator("#candles canvas").first.bounding_box()
    assert box is not None
    return box


def drag(page: Page, start: float, end: float) -> None:
    """Take hold at one part of the chart's width and let go at another."""
    box = box_of(page)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], middle, steps=8)
    page.mouse.up()


def turn_wheel(page: Page, way: int, *, times: int) -> None:
    """Zoom around the middle of the chart, a picture for each step: a browser joins quick ones."""
    box = box_of(page)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(times):
        page.mouse.wheel(0, way)
        page.evaluate(TWO_PICTURES)


def instants(page: Page) -> list[datetime]:
    """When the candles at some places of the chart opened, as its legend says."""
    box = box_of(page)
    found = []
    for place in PLACES:
        for shift in (0, 1):  # it says so when the pointer moves
            page.mouse.move(box["x"] + place * box["width"] + shift, box["y"] + 100)
        page.evaluate(TWO_PICTURES)
        words = page.locator(".chart-legend").inner_text()
        found.append(datetime.strptime(words[:16], "%Y-%m-%d %H:%M").replace(tzinfo=UTC))
    return found


def query_of(request: Request) -> dict[str, str]:
    return dict(re.findall(r"[?&](\w+)=([^&]*)", request.url))

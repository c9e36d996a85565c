"""Everything that a pointer does, done with keys; and the focus never gets lost."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.addresses import FIXED
from tests.processes import WebProcess

MOST_STOPS = 60
# What has the focus, and whether one sees it: by an outline of its own, or of a chip's label.
STOP = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const shown = element.matches(".chip input") ? element.nextElementSibling : element;
  const style = getComputedStyle(shown);
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { html: element.outerHTML.slice(0, 120), isSeen };
}"""
IS_MAIN = "document.activeElement.id === 'main'"
FOCUSED = "document.activeElement.id"


def test_first_key_offers_to_skip_the_navigation(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate(IS_MAIN)


@pytest.mark.parametrize("address", FIXED)
def test_focus_is_seen_wherever_it_stops(context: BrowserContext, address: str) -> None:
    page = context.new_page()
    page.goto(address)
    hidden = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None:
            break
        if not stop["isSeen"]:
            hidden.append(stop["html"])
    assert hidden == []


def test_focus_stays_on_the_column_that_was_sorted_by(page: Page) -> None:
    page.goto("/")
    page.locator("#sort-price").focus()
    for direction in ("descending", "ascending"):
        page.keyboard.press("Enter")
        heading = page.locator("th", has=page.locator("#sort-price"))
        expect(heading).to_have_attribute("aria-sort", direction)
        expect(page.locator("#sort-price")).to_be_focused()


def test_heading_that_has_just_come_answers_the_next_key_at_once(page: Page) -> None:
    """A heading pressed right after the swap must sort in place, not load the page anew."""
    page.goto("/")
    page.evaluate(
        """() => {
          window.isSamePage = true;
          document.addEventListener("htmx:afterSwap", () => setTimeout(
            () => document.querySelector("#sort-price").click()), { once: true });
        }"""
    )
    page.locator("#sort-price").focus()
    page.keyboard.press("Enter")
    heading = page.locator("th", has=page.locator("#sort-price"))
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert page.evaluate("window.isSamePage === true")
    expect(page.locator("#sort-price")).to_be_focused()


def test_run_is_started_and_followed_without_a_pointer(page: Page, site: WebProcess) -> None:
    page.goto("/")
    page.locator("#ingest-now").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Run in progress")).to_be_visible()
    expect(page.locator("#run-progress")).to_be_focused()
    expect(page.get_by_role("heading", name="Run finished")).to_be_visible()
    assert page.evaluate(FOCUSED) == "run-progress"


def test_instant_behind_an_age_is_shown_to_who_has_no_pointer(page: Page) -> None:
    page.goto("/runs")
    link = page.locator("a:has(time.age)").first
    page.keyboard.press("Tab")
    link.focus()
    shown = link.locator("time").evaluate("(time) => getComputedStyle(time, '::after').content")
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", shown)

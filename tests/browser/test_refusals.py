"""What is refused is told where it was asked for, and nothing that was typed is lost."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

EXPIRE = """() => {
  for (const field of document.querySelectorAll("[name=csrf_token]")) field.value = "stale";
}"""


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page whose console is not listened to: the browser logs every refusal as an error."""
    return context.new_page()


def test_a_form_that_has_expired_says_so_though_the_page_stays(page: Page) -> None:
    page.goto("/")
    refusal = page.locator("#refusal")
    expect(refusal).to_be_hidden()
    page.evaluate(EXPIRE)
    page.get_by_role("button", name="Ingest now").click()
    expect(refusal).to_contain_text("This form has expired")
    refusal.get_by_role("link").click()
    expect(refusal).to_be_hidden()


def test_a_server_that_gives_no_answer_is_told_of(page: Page) -> None:
    page.goto("/")
    page.route("**/fragments/progress", lambda route: route.abort())
    page.get_by_role("button", name="Ingest now").click()
    expect(page.locator("#refusal")).to_contain_text("whether it was done is not certain")


@pytest.mark.parametrize("key", [None, "Enter"])
def test_a_pause_that_ended_already_is_refused_at_its_field(page: Page, key: str | None) -> None:
    page.goto("/schedule")
    page.get_by_label("Reason").fill("exchange maintenance")
    page.get_by_label("Who").fill("ann")
    page.get_by_label(re.compile("Or until")).fill("2001-01-01T00:00")
    button = page.get_by_role("button", name="Pause", exact=True)
    button.press(key) if key else button.click()
    until = page.locator("[name=until]")
    expect(until).to_be_focused()
    expect(until).to_have_accessible_description("The end of the pause must lie in the future.")
    expect(until).to_have_value("2001-01-01T00:00")
    expect(page.get_by_label("Reason")).to_have_value("exchange maintenance")
    expect(page.get_by_label("Who")).to_have_value("ann")


def test_an_expression_is_marked_as_long_as_it_is_wrong(page: Page) -> None:
    page.goto("/schedule")
    field = page.get_by_role("textbox", name="Expression")
    field.fill("61 * * * *")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("is not a schedule"))
    field.fill("6 * * * *")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#schedule-preview")).to_contain_text("UTC")


def test_a_snooze_that_is_being_filled_in_is_not_drawn_anew(page: Page) -> None:
    page.goto("/alerts")
    page.locator(".snooze summary").first.click()
    page.get_by_label("Why").first.fill("half a sente")
    page.evaluate("document.getElementById('alerts-open').dispatchEvent(new CustomEvent('retry'))")
    # The next request that goes out is one that was asked for later.
    with page.expect_request("**/fragments/*") as asked:
        page.locator(".snooze summary").first.click()
        page.evaluate(
            "document.getElementById('alerts-open').dispatchEvent(new CustomEvent('retry'))"
        )
    assert asked.value.url.endswith("/fragments/alerts-open")
    page.locator(".snooze summary").first.click()
    expect(page.get_by_label("Why").first).to_be_visible()

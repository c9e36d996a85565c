"""The pages that every browser check visits, as a visitor would reach them."""

from playwright.sync_api import Page

FIXED = (
    "/",
    "/runs",
    "/markets",
    "/markets/BTC-USD",
    "/compare?markets=BTC-USD,ETH-USD",
    "/operations",
    "/schedule",
    "/alerts",
    "/alerts/history",
    "/alerts/rules",
    "/alerts/deliveries",
    "/settings",
    "/about",
    "/nowhere",
)


def all_addresses(page: Page) -> list[str]:
    """Every page of the dashboard, the newest run's among them."""
    page.goto("/runs")
    run = page.locator("main a[href^='/runs/']").first.get_attribute("href")
    assert run is not None
    return [*FIXED, run]

"""What an operator does at the dashboard, done in a real browser."""

import re

from playwright.sync_api import BrowserContext, Page, expect


def test_ingest_now_shows_its_progress_to_the_end(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Ingest now").click()
    expect(page.get_by_role("heading", name="Run in progress")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("heading", name="Run finished")).to_be_visible()
    expect(page.locator("#run-progress")).to_contain_text("30 of 31 markets")
    expect(page.locator("#recent-runs")).to_contain_text("partial")


def test_partial_run_is_found_opened_and_retried(page: Page) -> None:
    page.goto("/runs")
    page.locator("label.chip", has_text="partial").click()
    expect(page).to_have_url(re.compile("status=partial"))
    page.locator("main a[href^='/runs/']").first.click()
    expect(page.locator("main")).to_contain_text("SPX")
    page.get_by_role("button", name=re.compile("failed markets")).click()
    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    expect(page.locator("main")).to_contain_text("delivered no usable snapshot")


def test_unknown_market_is_refused_in_place(context: BrowserContext) -> None:
    # A page of its own: the browser logs the refusal as an error, which is none here.
    page = context.new_page()
    page.goto("/")
    page.get_by_label("Only these markets").fill("NOPE-USD")
    with page.expect_response(lambda answer: answer.status == 422):
        page.get_by_role("button", name="Ingest now").click()
    expect(page.get_by_role("alert")).to_contain_text("NOPE-USD")


def test_schedule_is_paused_and_resumed(page: Page) -> None:
    page.goto("/schedule")
    page.get_by_label(re.compile("reason", re.IGNORECASE)).first.fill("exchange maintenance")
    page.get_by_role("button", name=re.compile("^Pause")).click()
    expect(page.locator("main")).to_contain_text("exchange maintenance")
    page.goto("/")
    expect(page.locator("#overview-state")).to_contain_text(re.compile("paused", re.IGNORECASE))
    page.goto("/schedule")
    page.get_by_role("button", name=re.compile("^Resume")).click()
    expect(page.get_by_role("button", name=re.compile("^Pause"))).to_be_visible()


def test_candle_chart_loads_older_candles_as_it_is_dragged(page: Page) -> None:
    page.goto("/markets/BTC-USD")
    canvas = page.locator("canvas").first
    expect(canvas).to_be_visible()
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    with page.expect_response(re.compile("/chart.*width_hours")):
        for _ in range(12):
            page.mouse.move(box["x"] + 50, middle)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] - 50, middle, steps=5)
            page.mouse.up()


def test_comparison_is_drawn_anew_when_data_comes_in(page: Page) -> None:
    page.goto("/compare?markets=BTC-USD,ETH-USD")
    with page.expect_response(re.compile("/fragments/compare"), timeout=40_000) as drawn:
        assert page.request.post("/api/ingest").ok
    assert drawn.value.status == 200
    expect(page.locator("#compare-courses svg.plot-lines")).to_be_visible()


def test_colour_scheme_is_chosen_and_kept(page: Page) -> None:
    page.goto("/")
    shade = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(shade) != light
    page.locator("[data-theme-toggle]").click()
    chosen = page.locator("[data-theme-name]").inner_text()
    page.reload()
    expect(page.locator("[data-theme-name]")).to_have_text(chosen)

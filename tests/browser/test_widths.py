"""The latest snapshots at every width: the age is what an operator looks for, and is never cut."""

import pytest
from playwright.sync_api import Page


@pytest.mark.parametrize("width", [375, 705, 768, 900, 1088, 1160, 1220, 1440, 2560])
def test_the_table_of_snapshots_needs_no_sideways_scroll(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    box = page.locator(".table-scroll:has(table.snapshots)")
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0

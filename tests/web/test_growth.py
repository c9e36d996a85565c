"""Every route that reads the database is among those whose growth is measured."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from app import create_app
from benchmarks.growth_pages import ADDRESSES
from tests.apps import load
from tests.web.test_budgets import BUDGETS


def test_the_growth_of_every_route_with_a_budget_is_measured(
    database_url: str, tmp_path: Path
) -> None:
    routes = create_app(load(database_url, tmp_path, {})).url_map.bind("localhost")

    def endpoints(addresses: Iterable[str]) -> set[str]:
        return {routes.match(urlsplit(address).path)[0] for address in addresses}

    assert endpoints(BUDGETS) - endpoints(ADDRESSES.values()) == set()

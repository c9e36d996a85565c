"""The filters of a page, read from its address and written back."""

import pytest

from app.domain import Granularity, RunStatus, Trigger
from app.errors import InvalidRequest
from app.web.addresses import (
    MarketQuery,
    RunQuery,
    SnapshotQuery,
    read_granularity,
    read_symbols,
)


def test_an_empty_address_asks_for_everything() -> None:
    assert SnapshotQuery.read({}).address() == {}
    assert RunQuery.read({"status": "", "trigger": "", "provider": ""}) == RunQuery()
    assert MarketQuery.read({}).address() == {}


def test_an_address_survives_reading_and_writing() -> None:
    args = {"search": "btc", "sort": "-price"}
    assert SnapshotQuery.read(args).address() == args
    assert SnapshotQuery.read(args).address(cursor="c") == args | {"cursor": "c"}


def test_sorting_starts_with_what_people_look_for_and_then_turns_round() -> None:
    query = SnapshotQuery(search="x", cursor="c")
    first = query.sorted_by("price")
    assert first == {"search": "x", "sort": "-price"}
    assert SnapshotQuery.read(first).sorted_by("price") == {"search": "x", "sort": "price"}
    assert query.sorted_by("symbol")["sort"] == "symbol"


def test_the_direction_of_a_column_is_told() -> None:
    query = SnapshotQuery(sort="-price")
    assert query.direction("price") == "descending"
    assert query.direction("symbol") == "none"
    assert SnapshotQuery(sort="age").direction("age") == "ascending"


def test_the_filters_of_runs_are_typed() -> None:
    query = RunQuery.read({"status": "Failed", "trigger": "cron", "provider": " mock "})
    assert query == RunQuery(status=RunStatus.FAILED, trigger=Trigger.CRON, provider="mock")
    assert query.is_filtered
    assert query.address(cursor="c") == {
        "status": "failed", "trigger": "cron", "provider": "mock", "cursor": "c",
    }  # fmt: skip


def test_a_choice_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(InvalidRequest, match="granularity must be one of hourly, daily, weekly"):
        read_granularity({"granularity": "minutely"})
    assert read_granularity({}) is Granularity.HOURLY


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("", ()),
        (" , ;\n", ()),
        ("btc-usd, SPX;btc-USD\teth-usd", ("BTC-USD", "SPX", "ETH-USD")),
    ],
)
def test_symbols_are_read_in_any_separation_each_once(text: str, symbols: tuple[str, ...]) -> None:
    assert read_symbols(text) == symbols

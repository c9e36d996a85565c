"""The 72 bad inputs, each with its stated outcome through the whole product."""

from collections.abc import Iterator

import pytest

from tests.faults.inputs import batches, doors, envelopes, prices, times
from tests.faults.inputs.table import CASES, MANY, Desk
from tests.ingestion.exchange import coingecko_deck

GROUPS = (prices, times, batches, envelopes, doors)
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def desk(database_url: str) -> Iterator[Desk]:
    with coingecko_deck(database_url, markets=MANY) as deck:
        desk = Desk(database_url, deck)
        yield desk
    found = [f"{len(desk.held)} of {len(CASES)} as stated", *desk.figures]
    print(f"\nfigures: {', '.join(found)}")


def test_every_number_has_its_check() -> None:
    assert sorted(CASES) == list(range(1, 73))


@pytest.mark.parametrize("number", sorted(CASES))
def test_bad_input_has_its_stated_outcome(desk: Desk, number: int) -> None:
    desk.hold(number)

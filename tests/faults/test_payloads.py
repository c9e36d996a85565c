"""Any answer of a provider: every row exact, or set aside with a reason, or the answer refused.

`TAPEDECK_FAULTS=full` tries 5,000 answers, else a few hundred.
"""

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import text

from app.domain import RunStatus
from app.extensions import db
from app.services.views import RunDetail
from tests.faults.inputs.payloads import PRISTINE, Source, bent_answers, read_sources
from tests.faults.inputs.table import Desk, forget_provider
from tests.ingestion.exchange import Deck, coingecko_deck, page, row
from tests.servers import Answer

EXAMPLES = 5000 if os.environ.get("TAPEDECK_FAULTS") == "full" else 200
ROW_LIMIT = 60
PROVIDER_ERRORS = {"TransientProviderError", "PermanentProviderError"}
FIGURES = {
    "current_price": "price",
    "total_volume": "volume",
    "market_cap": "market_cap",
    "price_change_percentage_1h_in_currency": "roi_1h_pct",
    "price_change_percentage_7d_in_currency": "roi_7d_pct",
    "price_change_percentage_30d_in_currency": "roi_30d_pct",
}
# A row that says one of these twice says nothing.
UNIQUE = ("id", "current_price", "total_volume", "market_cap", "last_updated")
STORED = f"""
    SELECT l.provider_id, s.observed_at, s.flags,
           {", ".join(f"s.{column}" for column in FIGURES.values())}
    FROM market_snapshot s JOIN listing l ON l.market_id = s.market_id
"""
# Quicker than emptying tables that hold a handful of rows.
CLEAR = "; ".join(
    f"DELETE FROM {table}"
    for table in (
        *("market_comparison", "market_roi_statistic", "market_aggregate", "market_snapshot"),
        *("market", "data_version", "run_log_line", "rejected_row", "ingestion_run"),
    )
)
(AS_IT_SHOULD_BE,) = read_sources(page(row(PRISTINE)).content()) or ()
outcomes: Counter[str] = Counter()


@pytest.fixture(scope="module")
def desk(database_url: str) -> Iterator[Desk]:
    with coingecko_deck(database_url, markets=f"top:{ROW_LIMIT}") as deck:
        yield Desk(database_url, deck)
    found = ", ".join(f"{count} {status}" for status, count in sorted(outcomes.items()))
    print(f"\nfigures: {sum(outcomes.values())} answers; runs: {found}")


@pytest.mark.timeout(1800)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bent_answers())
def test_whatever_comes_is_stored_exactly_or_set_aside_or_refused(desk: Desk, body: bytes) -> None:
    deck = cleared(desk)
    detail = deck.ingest(Answer(body=body))
    stored = deck.rows(STORED)
    outcomes[detail.run.status] += 1
    if detail.run.status is RunStatus.FAILED:
        assert detail.run.error_class in PROVIDER_ERRORS
        assert detail.run.error_message
        assert stored == []
        return
    sources = read_sources(body)
    if sources is not None:
        judge_rows(sources, stored, detail)
    newest = {values[0]: values for values in sorted(stored, key=itemgetter(1))}
    assert shown_prices(deck) == sorted(values[3] for values in newest.values())


def cleared(desk: Desk) -> Deck:
    """The application over tables without rows; nothing of the answers before."""
    forget_provider()
    db.session.remove()
    with db.engine.begin() as connection:
        connection.execute(text(CLEAR))
    return desk.deck


def judge_rows(sources: list[Source], stored: list[Any], detail: RunDetail) -> None:
    """No number that the answer does not say, and no row that is simply gone."""
    for coin_id, observed_at, flags, *values in stored:
        said = [source for source in sources if source.id == coin_id]
        assert any(is_said(source, values) for source in said), (coin_id, values)
        if not {"time_local", "time_clamped"} & set(flags):
            assert any(observed_at in source.instants() for source in said), (coin_id, observed_at)
    if AS_IT_SHOULD_BE in sources:
        assert PRISTINE in {values[0] for values in stored}
    ids = Counter(source.id if isinstance(source.id, str) else None for source in sources)
    repeated = sum(count - 1 for coin_id, count in ids.items() if coin_id is not None)
    kept = len(stored) + len(detail.rejected)
    assert kept <= len(sources) <= kept + repeated
    assert all(each.reason and each.detail for each in detail.rejected)


def is_said(source: Source, values: list[Decimal | None]) -> bool:
    """True when each figure is exactly the source's; a change may be derived where it has none."""
    if any(len(source.members.get(key, ())) > 1 for key in UNIQUE):
        return False
    for (key, column), value in zip(FIGURES.items(), values, strict=True):
        figures = source.figures(key)
        is_derived = column.startswith("roi") and not figures
        if value not in figures and not is_derived and (value is not None or column == "price"):
            return False
    return True


def shown_prices(deck: Deck) -> list[Decimal]:
    """The price of every market as the API writes it."""
    found = deck.client.get("/api/snapshots/latest?limit=100")
    assert found.status_code == 200
    return sorted(Decimal(each["price"]) for each in found.get_json()["snapshots"])

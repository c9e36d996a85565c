"""The ordered list of what a run does, and what is derived from what it fetched."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from app.ingestion.candles import store_derived_candles, store_history
from app.ingestion.comparisons import store_comparisons
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.snapshots import store_snapshots
from app.ingestion.statistics import store_roi_statistics


@dataclass(frozen=True, slots=True)
class Stage:
    """One step inside the transaction of a run; `total` names the count of the run it adds to."""

    name: str
    title: str
    store: Callable[[RunContext, Connection], StageCounts]
    total: str


STORING = (
    Stage("history", "Store candle history", store_history, "aggregates"),
    Stage("snapshots", "Store snapshots", store_snapshots, "snapshots"),
    Stage("candles", "Derive candles", store_derived_candles, "aggregates"),
    Stage("comparisons", "Compare markets", store_comparisons, "comparisons"),
    Stage("roi_statistics", "Compute ROI statistics", store_roi_statistics, "roi_stats"),
)
TITLES = {
    "fetch": "Fetch from the provider",
    "validate": "Validate rows",
    **{stage.name: stage.title for stage in STORING},
    "cache": "Replace cached answers",
}
"""Every stage of a run in its order, with its name for people."""

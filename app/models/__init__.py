"""The tables, one file a topic."""

from app.models.markets import Listing, Market
from app.models.operations import ScheduleTick
from app.models.runs import IngestionRun, RejectedRow, RunStage
from app.models.series import MarketAggregate, MarketComparison, MarketRoiStatistic, MarketSnapshot

__all__ = [
    "IngestionRun",
    "Listing",
    "Market",
    "MarketAggregate",
    "MarketComparison",
    "MarketRoiStatistic",
    "MarketSnapshot",
    "RejectedRow",
    "RunStage",
    "ScheduleTick",
]

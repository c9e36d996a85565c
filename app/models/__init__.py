"""The tables, one file a topic."""

from app.models.alerts import (
    Alert,
    AlertAttempt,
    AlertDelivery,
    AlertNotice,
    AlertSignal,
    AlertSnooze,
    AlertTarget,
    AlertWatch,
)
from app.models.markets import Listing, Market
from app.models.operations import DataVersion, SchedulePause, ScheduleTick
from app.models.runs import IngestionRun, RejectedRow, RunStage
from app.models.series import MarketAggregate, MarketComparison, MarketRoiStatistic, MarketSnapshot

__all__ = [
    "Alert",
    "AlertAttempt",
    "AlertDelivery",
    "AlertNotice",
    "AlertSignal",
    "AlertSnooze",
    "AlertTarget",
    "AlertWatch",
    "DataVersion",
    "IngestionRun",
    "Listing",
    "Market",
    "MarketAggregate",
    "MarketComparison",
    "MarketRoiStatistic",
    "MarketSnapshot",
    "RejectedRow",
    "RunStage",
    "SchedulePause",
    "ScheduleTick",
]

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
from app.models.operations import (
    DataVersion,
    JobState,
    ProcessFigure,
    SchedulePause,
    ScheduleTick,
    StorageSize,
)
from app.models.retention import PrunedCount, RunCount
from app.models.run_log import RunLogLine
from app.models.runs import IngestionRun, LostAttempt, RejectedRow, RunStage
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
    "JobState",
    "Listing",
    "LostAttempt",
    "Market",
    "MarketAggregate",
    "MarketComparison",
    "MarketRoiStatistic",
    "MarketSnapshot",
    "ProcessFigure",
    "PrunedCount",
    "RejectedRow",
    "RunCount",
    "RunLogLine",
    "RunStage",
    "SchedulePause",
    "ScheduleTick",
    "StorageSize",
]

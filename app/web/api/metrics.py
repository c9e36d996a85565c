"""The numbers of the operation over JSON."""

from datetime import datetime

from pydantic import Field, RootModel

from app.extensions import db
from app.services.metrics import load_samples
from app.web.house import house
from app.web.openapi import AnswerModel, operation


class MetricResource(AnswerModel):
    """One number, as it was at `timestamp`."""

    type: str = Field(validation_alias="kind")
    name: str
    value: int | float
    timestamp: datetime = Field(validation_alias="observed_at")
    labels: dict[str, str]


class MetricsResource(RootModel[list[MetricResource]]):
    """Every number, as a list."""


@operation(summary="List metrics", answers={200: MetricsResource})
def list_metrics() -> MetricsResource:
    """Run counters come from the database, so every process gives the same answer."""
    samples = load_samples(db.session, house())
    return MetricsResource([MetricResource.model_validate(sample) for sample in samples])

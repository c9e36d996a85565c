"""What a scrape reads: business and process metrics as one text in Prometheus' format."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from app.metrics import Kind, Sample
from app.metrics_counting import process_families

PROMETHEUS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


def render_prometheus(business: Sequence[Sample]) -> bytes:
    """Business and process metrics in Prometheus' text format (`PROMETHEUS_CONTENT_TYPE`)."""
    return generate_latest(_Exposition(business))


class _Exposition(Collector):
    """Both kinds of metrics in the form that prometheus_client writes."""

    def __init__(self, business: Sequence[Sample]) -> None:
        self._business = business

    def collect(self) -> Iterator[Family]:
        yield from _business_families(self._business)
        yield from process_families()


def _business_families(samples: Iterable[Sample]) -> Iterable[Family]:
    families: dict[str, Family] = {}
    for sample in samples:
        metric = sample.metric
        # prometheus_client puts the `_total` of a counter's name back by itself.
        name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
        family = families.setdefault(name, Family(name, metric.help, metric.kind.value))
        labels = {key: _writable(value) for key, value in sample.labels.items()}
        family.add_sample(sample.name, labels, sample.value)
    return families.values()


def _writable(text: str) -> str:
    """A label value that UTF-8 can carry: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""Metrics: each declared once, under a name that follows the conventions."""

import pytest

from app import metrics
from app.cache_breaker import CacheMode
from app.metrics import CACHE_MODES, INGESTION_FRESHNESS, METRICS, Kind, Sample


@pytest.mark.parametrize("labels", [{}, {"market": "x", "other": "y"}, {"marked": "x"}])
def test_sample_with_other_labels_than_declared_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="ingestion_freshness_seconds"):
        Sample(INGESTION_FRESHNESS, 1, labels)


def test_names_follow_the_conventions() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name
        assert name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.help.endswith(".")


def test_metrics_the_dashboard_promises_are_declared() -> None:
    assert {
        "ingestion_success_total",
        "ingestion_failure_total",
        "ingestion_partial_total",
        "ingestion_duration_ms",
        "ingestion_last_success_timestamp_seconds",
        "ingestion_freshness_seconds",
        "cache_mode",
        "http_requests_total",
        "http_request_duration_seconds",
        "provider_calls_total",
        "provider_call_duration_seconds",
    } <= METRICS.keys()


def test_a_metric_declared_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="cache_mode"):
        metrics._gauge("cache_mode", "Again.")


def test_the_modes_are_those_of_the_cache() -> None:
    assert set(CACHE_MODES) == set(CacheMode)

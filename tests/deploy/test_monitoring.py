"""Prometheus' rules and Grafana's dashboard ask for what Tapedeck exposes, and for nothing else."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from app.metrics import METRICS, Kind, Metric
from app.paths import ROOT

RULES = ROOT / "deploy/prometheus-rules.yml"
RULES_TEST = ROOT / "tests/deploy/prometheus-rules.test.yml"
DASHBOARD = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text("utf-8"))
# What of PromQL the two files use.
FUNCTIONS = {"absent", "histogram_quantile", "increase", "label_values", "rate", "time"}
WORDS = FUNCTIONS | {"and", "by", "max", "min", "on", "or", "sum", "topk", "without"}
OF_PROMETHEUS = {"instance", "job"}
ASKED_FOR = {
    "freshness": "ingestion_freshness_seconds",
    "last success": "ingestion_last_success_timestamp_seconds",
    "runs by status": "ingestion_runs_total",
    "stage durations": "ingestion_stage_duration_seconds",
    "rows": "ingestion_rows_inserted_total",
    "rejected": "ingestion_rows_rejected_total",
    "provider calls": "provider_calls_total",
    "provider latency": "provider_call_duration_seconds",
    "requests": "http_requests_total",
    "latency": "http_request_duration_seconds",
    "cache reads": "cache_reads_total",
    "cache mode": "cache_mode",
    "alerts": "alerts_open",
    "deliveries": "alert_deliveries",
    "breakers": "provider_breaker_open",
}


def expressions_of_rules() -> Iterator[tuple[str, str]]:
    """The name of each alert with its expression, as far as this file's YAML goes."""
    text = RULES.read_text("utf-8")
    for part in text.split("- alert: ")[1:]:
        found = re.search(r"^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", part, re.MULTILINE)
        assert found, part
        yield part.partition("\n")[0], found[1] or found[2]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions_of_dashboard() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


EXPRESSIONS = [*expressions_of_rules(), *expressions_of_dashboard()]


def exposed_names() -> dict[str, tuple[Metric, set[str]]]:
    """Every name that a sample can have, with its metric and its labels."""
    names = {}
    for metric in METRICS.values():
        labels = set(metric.labels)
        if metric.kind is not Kind.HISTOGRAM:
            names[metric.name] = metric, labels
            continue
        for suffix, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
            names[metric.name + suffix] = metric, labels | more
    return names


def series_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that an expression names, with the labels it is narrowed by."""
    bare = re.sub(r"\b(?:by|without|on) *\([^)]*\)", " ", expression)
    bare = re.sub(r"\[[^]]*\]", " ", bare).replace(", job)", ")")
    for name, matchers in re.findall(r"([a-zA-Z_][\w]*) *(\{[^}]*\})?", _without_strings(bare)):
        if name not in WORDS:
            yield name, set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", matchers))


def grouped_by(expression: str) -> set[str]:
    found = re.findall(r"\b(?:by|without|on) *\(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",") if label.strip()}


def _without_strings(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_every_metric_and_label_is_declared(title: str, expression: str) -> None:
    known, series = exposed_names(), list(series_in(expression))
    assert series
    labels: set[str] = set()
    for name, matched in series:
        assert name in known, f"{title} asks for {name}"
        assert matched <= known[name][1] | OF_PROMETHEUS
        labels |= known[name][1]
    assert grouped_by(expression) <= labels | OF_PROMETHEUS


def test_the_reading_of_expressions_finds_what_is_asked_for() -> None:
    expression = 'sum by (a, b) (rate(one_total{x="y", z!~"w"}[5m])) / 2 > on () two'
    assert list(series_in(expression)) == [("one_total", {"x", "z"}), ("two", set())]
    assert grouped_by(expression) == {"a", "b"}


def test_there_is_a_rule_for_every_trouble() -> None:
    assert dict(expressions_of_rules()).keys() == {
        "TapedeckDown",
        "TapedeckDatabaseDown",
        "TapedeckNoSuccessfulRun",
        "TapedeckNeverSucceeded",
        "TapedeckMarketStale",
        "TapedeckRowsRejected",
        "TapedeckSchedulerSilent",
        "TapedeckCacheFallback",
        "TapedeckAlertsUndelivered",
        "TapedeckServerErrors",
    }


def test_every_rule_says_how_bad_it_is_and_what_it_means() -> None:
    for part in RULES.read_text("utf-8").split("- alert: ")[1:]:
        for line in (
            r"for: \d+m",
            r"severity: (warning|critical)",
            r"summary: .",
            r"description: .",
        ):
            assert re.search(rf"^ +{line}", part, re.MULTILINE), (line, part)


@pytest.mark.parametrize("what", ASKED_FOR)
def test_the_dashboard_shows(what: str) -> None:
    shown = {
        name for _, expression in expressions_of_dashboard() for name, _ in series_in(expression)
    }
    assert any(name.startswith(ASKED_FOR[what]) for name in shown)


def test_the_dashboard_takes_any_prometheus_and_no_identity() -> None:
    assert (DASHBOARD["id"], DASHBOARD["schemaVersion"] >= 38) == (None, True)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {
        "datasource",
        "job",
    }
    for panel in panels():
        assert panel["description"].endswith(".")
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'job="$job"' in target["expr"]


def test_panels_have_their_own_number_and_place() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or apart, (a, b)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; it comes with Prometheus"
)
@pytest.mark.parametrize("arguments", [["check", "rules", RULES], ["test", "rules", RULES_TEST]])
def test_promtool_takes_the_rules(arguments: list[Any]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

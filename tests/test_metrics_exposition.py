"""The exposition: business and process metrics as one text that any parser takes."""

from pathlib import Path

import pytest

from app.metrics import INGESTION_DURATION_MS, INGESTION_FRESHNESS, INGESTION_SUCCESS, Sample
from app.metrics_exposition import render_prometheus
from tests.exposed import exposed


def test_business_samples_stand_in_the_exposition_under_their_names() -> None:
    body = render_prometheus([Sample(INGESTION_SUCCESS, 85), Sample(INGESTION_DURATION_MS, 1234)])
    text = body.decode()
    assert "# TYPE ingestion_success_total counter\ningestion_success_total 85.0\n" in text
    assert "# TYPE ingestion_duration_ms gauge\ningestion_duration_ms 1234.0\n" in text
    assert text.endswith("\n")


def test_samples_of_one_metric_share_one_heading() -> None:
    samples = [Sample(INGESTION_FRESHNESS, n, {"market": f"M{n}"}) for n in range(3)]
    mixed = [samples[0], Sample(INGESTION_SUCCESS, 1), *samples[1:]]
    assert render_prometheus(mixed).count(b"# TYPE ingestion_freshness_seconds") == 1


@pytest.mark.parametrize("market", ['a"b', "a\\b", "two\nlines", "ü\u2028\U0001f680", "}{,="])
def test_label_values_come_back_as_they_were(market: str) -> None:
    body = render_prometheus([Sample(INGESTION_FRESHNESS, 5, {"market": market})])
    assert exposed(body)["ingestion_freshness_seconds", (("market", market),)] == 5


def test_label_that_utf8_cannot_carry_does_not_break_the_scrape() -> None:
    body = render_prometheus([Sample(INGESTION_FRESHNESS, 5, {"market": "a\ud800"})])
    assert exposed(body)["ingestion_freshness_seconds", (("market", "a?"),)] == 5


def test_missing_folder_still_gives_the_business_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone"))
    assert exposed(render_prometheus([Sample(INGESTION_SUCCESS, 4)])) == {
        ("ingestion_success_total", ()): 4
    }

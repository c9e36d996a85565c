"""The numbers of the operation over JSON."""

from flask.testing import FlaskClient


def values(client: FlaskClient, name: str) -> list[float]:
    return [item["value"] for item in client.get("/api/metrics").json if item["name"] == name]


def test_metrics_are_a_list_of_plain_values(client: FlaskClient) -> None:
    answer = client.get("/api/metrics").json
    assert isinstance(answer, list)
    for item in answer:
        assert set(item) == {"type", "name", "value", "timestamp", "labels"}
        assert item["type"] in ("counter", "gauge", "histogram")
        assert item["timestamp"].endswith("Z")


def test_finished_runs_are_counted(client: FlaskClient) -> None:
    assert values(client, "ingestion_success_total") == [0]
    assert values(client, "ingestion_failure_total") == [0]
    client.post("/api/ingest")
    assert values(client, "ingestion_success_total") == [1]
    assert values(client, "ingestion_failure_total") == [0]
    assert values(client, "ingestion_duration_ms")[0] > 0

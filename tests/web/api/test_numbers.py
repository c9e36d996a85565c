"""Numbers at the edges of what markets have, all the way to the JSON."""

import re
from decimal import Decimal
from pathlib import Path

from tests.web.real_app import real_app

PLAIN = re.compile(r"-?\d+(\.\d+)?")


def test_tiny_prices_are_written_digit_by_digit(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"tiny_prices": True}) as app:
        client = app.test_client()
        client.post("/api/ingest")
        rows = client.get("/api/snapshots/latest").json["snapshots"]
    assert rows
    for row in rows:
        assert PLAIN.fullmatch(row["price"])
        assert 0 < Decimal(row["price"]) < Decimal("1e-9")

"""Recorded files of exchanges and vendors through `flask ingest` into a real database."""

import csv
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from tests.apps import bare_app
from tests.ingestion.making import empty

FUTURES = "cdd-binance-futures-BTCUSDT-1h-2020.csv.gz"
MINUTES = "freqtrade-UNITTEST_BTC-1m-2017-11.json.gz"
SPOT = "cdd-binance-BTCUSDT-1h-2017-2020.csv.gz"
YAHOO = "yahoo-BTC-USD-daily-2016-2021.csv.gz"
FIELDS = ("open", "high", "low", "close")
Row = tuple[Decimal, ...]


@pytest.fixture(scope="module")
def recordings() -> Path:
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if not root:
        pytest.skip("TAPEDECK_RECORDINGS is not set: no recorded data on this machine")
    return Path(root) / "ohlcv"


class Shell:
    """`flask ingest` over one folder; each call is an application of its own, as in a shell."""

    def __init__(self, database_url: str, folder: Path, now: datetime, markets: str) -> None:
        self._database_url, self._folder = database_url, folder
        self._now, self._markets = now, markets

    def open(self) -> AbstractContextManager[Flask]:
        return bare_app(
            self._database_url,
            providers={"files": {"folder": self._folder}},
            clock=lambda: self._now,
            ingestion_provider="files",
            ingestion_markets=self._markets,
            ingestion_lookback_days=3650,
        )

    def ingest(self) -> Result:
        with self.open() as app:
            return app.test_cli_runner().invoke(args=["ingest"])


@pytest.fixture
def shell(
    request: pytest.FixtureRequest, recordings: Path, tmp_path: Path, database_url: str
) -> Iterator[Shell]:
    """A shell over empty tables and recorded files: (now, markets, file names)."""
    now, markets, names = request.param
    for name in names:
        shutil.copy(recordings / name, tmp_path / name)
    shell = Shell(database_url, tmp_path, now, markets)
    with shell.open():
        empty(db.engine)
        yield shell


def stored(symbol: str, granularity: str) -> dict[datetime, Row]:
    """The final candles of a market with their prices and volume."""
    statement = text(
        "SELECT opened_at, open, high, low, close, volume FROM market_aggregate a "
        "JOIN market m ON m.id = a.market_id "
        "WHERE symbol = :symbol AND granularity = :granularity AND is_final"
    )
    with db.engine.connect() as connection:
        rows = connection.execute(statement, {"symbol": symbol, "granularity": granularity})
        return {row[0]: tuple(row[1:]) for row in rows}


def one(statement: str) -> Any:
    with db.engine.connect() as connection:
        return connection.execute(text(statement)).one()


def recorded(path: Path, volume: str) -> dict[datetime, Row]:
    """The candles of a CSV of cryptodatadownload; of a moment that is there twice the last."""
    with gzip.open(path, "rt") as file:
        next(file)
        rows = [{name.lower(): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    return {
        moment(row.get("unix") or row["unix timestamp"]): tuple(
            Decimal(row[name]) for name in (*FIELDS, volume)
        )
        for row in rows
    }


def moment(unix: str) -> datetime:
    seconds = float(unix)
    return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 12, 30, 0, 30, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_hours_of_an_exchange_are_stored_as_they_are_written_and_give_its_days(
    shell: Shell, recordings: Path
) -> None:
    result = shell.ingest()
    assert result.exit_code == 0, result.output
    theirs = recorded(recordings / FUTURES, "volume usdt")
    del theirs[datetime(2020, 12, 30, tzinfo=UTC)]  # the hour that was still open
    assert len(theirs) == 3598
    assert stored("BTC-USDT", "hourly") == theirs
    days = recorded(recordings / FUTURES.replace("1h", "1d"), "volume usdt")
    full = {day: row for day, row in stored("BTC-USDT", "daily").items() if day > min(theirs)}
    assert len(full) == 149
    assert full == {day: days[day] for day in full}
    price, observed_at = one("SELECT price, observed_at FROM market_snapshot")
    assert (price, observed_at) == (Decimal("27402.83"), datetime(2020, 12, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 12, 30, 0, 30, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_the_second_run_over_the_same_files_changes_nothing(shell: Shell) -> None:
    assert shell.ingest().exit_code == 0
    result = shell.ingest()
    assert result.exit_code == 0, result.output
    assert " 0 inserted, 0 updated, " in result.stdout


@pytest.mark.parametrize(
    "shell",
    [(datetime(2020, 9, 19, 8, 30, tzinfo=UTC), "BTC-USDT", [SPOT])],
    indirect=True,
)
def test_rows_that_are_there_twice_are_set_aside_by_their_lines(
    shell: Shell, recordings: Path
) -> None:
    result = shell.ingest()
    assert result.exit_code == 3, result.output
    theirs = recorded(recordings / SPOT, "volume usdt")
    assert len(theirs) == 27_096
    assert stored("BTC-USDT", "hourly") == theirs
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, detail, raw FROM rejected_row")).all()
    assert [row.reason for row in rows] == ["repeated"] * 4
    assert all(f"{SPOT} line 26" in row.detail for row in rows)
    assert all(f"{SPOT} line 26" in row.raw for row in rows)
    again = shell.ingest()
    assert again.exit_code == 0, "rows of the past were told by the run that asked for them"


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2017, 11, 14, 23, 5, tzinfo=UTC),
            f"UNITTEST-BTC={MINUTES}",
            [MINUTES],
        )
    ],
    indirect=True,
)
def test_minutes_are_put_together_to_hours(shell: Shell, recordings: Path) -> None:
    assert shell.ingest().exit_code == 0
    with gzip.open(recordings / MINUTES) as file:
        rows = json.load(file, parse_float=Decimal)
    hours: dict[datetime, list[list[Any]]] = {}
    for row in rows:
        at = datetime.fromtimestamp(row[0] / 1000, UTC)
        hours.setdefault(at.replace(minute=0), []).append(row)
    expected = {
        at: (
            parts[0][1],
            max(part[2] for part in parts),
            min(part[3] for part in parts),
            parts[-1][4],
            None,
        )
        for at, parts in hours.items()
    }
    assert stored("UNITTEST-BTC", "hourly") == expected


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2021, 9, 27, 18, 0, tzinfo=UTC),
            f"BTC-USD={YAHOO}",
            [YAHOO],
        )
    ],
    indirect=True,
)
def test_a_day_that_is_over_is_the_snapshot_of_a_daily_file(shell: Shell) -> None:
    assert shell.ingest().exit_code == 0
    row = one("SELECT price, volume, observed_at FROM market_snapshot")
    # 2021-09-26,42721.628906,43919.300781,40848.460938,43208.539063,43208.539063,30661222077
    midnight = datetime(2021, 9, 27, tzinfo=UTC)
    assert tuple(row) == (Decimal("43208.539063"), Decimal("30661222077"), midnight)


@pytest.mark.parametrize(
    "shell",
    [(datetime(2021, 3, 1, tzinfo=UTC), "BTC-USDT", [FUTURES])],
    indirect=True,
)
def test_a_folder_of_old_data_fails_the_run_in_words(shell: Shell) -> None:
    result = shell.ingest()
    assert result.exit_code == 1
    assert "The newest row in the files of BTC-USDT is of 2020-12-30 01:00 UTC" in result.stderr
    assert "Rows over 30 days old give candles, but no snapshot" in result.stderr


@pytest.mark.parametrize(
    "shell",
    [
        (
            datetime(2020, 12, 30, 0, 30, tzinfo=UTC),
            "BTC-USDT,OLD-USDT=BTCUSDT",
            [FUTURES, SPOT],
        )
    ],
    indirect=True,
)
def test_a_folder_with_old_and_new_data_gives_candles_of_both(shell: Shell) -> None:
    assert shell.ingest().exit_code == 3
    assert len(stored("OLD-USDT", "hourly")) == 27_096
    assert len(stored("BTC-USDT", "hourly")) == 3598
    assert one("SELECT count(*) FROM market_snapshot").count == 1
    (reason,) = one("SELECT reason FROM rejected_row WHERE kind = 'snapshot'")
    assert reason == "time_too_old"

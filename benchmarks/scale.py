"""A million rows against a hundred thousand: time and peak memory, each in a fresh process."""

import json
import subprocess
import sys
from uuid import uuid4

from app.database.bulk import merge_rows
from app.ingestion.targets import CANDLES, candle_rows
from benchmarks.figures import Figure, at_most, interleave, peak_megabytes, ratio, seconds, timed
from benchmarks.postgres import BenchServer, add_markets, connect
from benchmarks.tape import HOURS, empty_candles, make_candles

FEW, MANY = 100_000, 1_000_000


def measure(server: BenchServer) -> list[Figure]:
    """Rows made one by one, as they would come from anywhere, merged in one call."""
    url = server.database("scale")
    engine = connect(url)
    add_markets(engine, MANY // HOURS)
    peaks: dict[int, list[float]] = {FEW: [], MANY: []}

    def load(count: int) -> float:
        empty_candles(engine)
        command = [sys.executable, "-m", "benchmarks.scale", url, str(count)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        taken, peak = json.loads(answer)
        peaks[count].append(peak)
        return float(taken)

    taken = interleave({"few": lambda: load(FEW), "many": lambda: load(MANY)})
    server.drop("scale")
    few, many = taken["few"], taken["many"]
    return [
        at_most(
            "scale-time",
            ratio(many, few),
            12,
            f"1,000,000 rows in {seconds(many)}, 100,000 in {seconds(few)}, making them included",
        ),
        at_most(
            "scale-memory",
            ratio(peaks[MANY], peaks[FEW]),
            1.3,
            f"peak {max(peaks[MANY]):.0f} MB against {max(peaks[FEW]):.0f} MB",
        ),
    ]


def _load(url: str, count: int) -> tuple[float, float]:
    """Seconds and peak megabytes of loading into an empty table."""
    engine = connect(url)

    def work() -> None:
        with engine.begin() as connection:
            rows = candle_rows(make_candles(count), "mock")
            merge_rows(connection, CANDLES, rows, run_id=uuid4())

    return timed(work), peak_megabytes()


if __name__ == "__main__":
    print(json.dumps(_load(sys.argv[1], int(sys.argv[2]))))

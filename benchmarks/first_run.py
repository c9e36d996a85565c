"""The first run's memory: 1,000 markets with 30 days of hours against 100, each a process."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

from benchmarks.figures import Figure, at_most, interleave, peak_megabytes, ratio, seconds, timed
from benchmarks.postgres import BenchServer
from benchmarks.run import DAYS, run_once

FEW, MANY = 100, 1_000
ROUNDS = 3
MOST = 1.5


def measure(server: BenchServer) -> list[Figure]:
    """A new installation each time; a process starts at the same size whatever it will fetch."""
    numbers = count()
    taken: dict[int, list[float]] = {FEW: [], MANY: []}

    def peak(markets: int) -> float:
        name = f"first_run_{next(numbers)}"
        url = server.database(name)
        command = [sys.executable, "-m", "benchmarks.first_run", url, str(server.folder)]
        done = subprocess.run([*command, str(markets)], check=True, capture_output=True, text=True)
        server.drop(name)
        spent, megabytes = json.loads(done.stdout)
        taken[markets].append(spent)
        return float(megabytes)

    peaks = interleave({"few": lambda: peak(FEW), "many": lambda: peak(MANY)}, rounds=ROUNDS)
    return [
        at_most(
            "first-run-memory",
            ratio(peaks["many"], peaks["few"]),
            MOST,
            f"peak {max(peaks['many']):.0f} MB with {MANY:,} markets "
            f"({seconds(taken[MANY])}), {max(peaks['few']):.0f} MB with {FEW} "
            f"({seconds(taken[FEW])}); {DAYS} days of hours, ten times the candles",
        )
    ]


def _measure_one(url: str, folder: Path, markets: int) -> tuple[float, float]:
    """Seconds of a first run, and the most megabytes this process has had."""
    spent = timed(lambda: run_once(url, folder, markets=markets))
    return spent, peak_megabytes()


if __name__ == "__main__":
    print(json.dumps(_measure_one(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))

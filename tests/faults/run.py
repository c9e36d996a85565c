"""`make faults`: every fault at its full length, printed as a matrix; status 1 where one fails.

`python -m tests.faults.run` does all of them, with names only those; `--short` shortens each, and
`--write` puts the table into docs/reliability.md.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.paths import ROOT
from tests.faults import scenarios, scenarios_clock, scenarios_web
from tests.faults.frozen import OwnPostgres, own_postgres
from tests.faults.scenarios import Bench, Finding
from tests.faults.soak import soak

REPORT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault by name; `do` takes a number that is smaller in the short form."""

    name: str
    demand: str
    do: Callable[[Bench, OwnPostgres, int], Finding]
    full: int
    short: int


SCENARIOS = (
    Scenario(
        "instances",
        "one run or one reason a tick",
        lambda bench, server, size: scenarios_web.instances(bench, ticks=size),
        100,
        5,
    ),
    Scenario(
        "kills",
        "0 lost, 0 double, 0 partial; every run closed",
        lambda bench, server, size: scenarios.random_kills(bench, kills=size),
        1000,
        12,
    ),
    Scenario(
        "points",
        "the same",
        lambda bench, server, size: scenarios.named_points(bench, rounds=size),
        3,
        1,
    ),
    Scenario(
        "zombies",
        "every late commit refused",
        lambda bench, server, size: scenarios.zombies(bench, rounds=size),
        300,
        3,
    ),
    Scenario(
        "oracle",
        "wrong rows are seen",
        lambda bench, server, size: scenarios.oracle_sees(bench, rounds=size),
        10,
        3,
    ),
    Scenario(
        "restarts",
        "0 wrong",
        lambda bench, server, size: scenarios.server_restarts(bench, server, restarts=size),
        40,
        2,
    ),
    Scenario(
        "away",
        "newest tick late, older ones missed",
        lambda bench, server, size: scenarios.server_down_over_ticks(bench, server),
        1,
        1,
    ),
    Scenario(
        "frozen",
        "pages <= 4 s, /healthz <= 100 ms, back <= 5 s",
        lambda bench, server, size: scenarios_web.frozen(bench, server, seconds=size),
        12,
        4,
    ),
    Scenario(
        "exhausted",
        "503, back <= 5 s",
        lambda bench, server, size: scenarios_web.exhausted(bench),
        1,
        1,
    ),
    Scenario(
        "read-only",
        "0 wrong, goes on afterwards",
        lambda bench, server, size: scenarios.read_only(bench),
        1,
        1,
    ),
    Scenario(
        "claims",
        "1 winner, 49 clean refusals",
        lambda bench, server, size: scenarios.claims(bench, rounds=size),
        100,
        3,
    ),
    Scenario(
        "clock",
        "done again within 3 polls",
        lambda bench, server, size: scenarios_clock.clock_jumps(),
        1,
        1,
    ),
    Scenario(
        "cache",
        "see tests/faults/test_cache_faults.py",
        lambda bench, server, size: suite("Redis faults", "tests/faults/test_cache_faults.py"),
        1,
        1,
    ),
    Scenario(
        "alerts",
        "see tests/faults/test_alert_faults.py",
        lambda bench, server, size: suite("alert sender", "tests/faults/test_alert_faults.py"),
        1,
        1,
    ),
    Scenario(
        "soak",
        "0 wrong, memory < 5 %, files flat",
        lambda bench, server, size: soak(bench, server, seconds=size),
        900,
        45,
    ),
)


def suite(fault: str, path: str) -> Finding:
    """Tests that have a file of their own, at full length (`TAPEDECK_FAULTS=full`)."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", path]
    environment = dict(os.environ) | {"TAPEDECK_FAULTS": "full"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or ["nothing was printed"]
    measured = [line.removeprefix("figures: ") for line in lines if line.startswith("figures: ")]
    figures = "; ".join([*measured, f"{lines[-1]} ({time.monotonic() - started:.0f} s)"])
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return Finding(fault, figures, failed or [lines[-1]] * (done.returncode != 0))


def run(names: Sequence[str], *, short: bool) -> list[tuple[Scenario, Finding]]:
    """Do the scenarios, telling of each as it ends."""
    # What the processes here say of expected trouble would hide the matrix.
    logging.disable(logging.CRITICAL)
    chosen = [one for one in SCENARIOS if not names or one.name in names]
    results = []
    for scenario in chosen:
        started = time.monotonic()
        finding = _do(scenario, short=short)
        results.append((scenario, finding))
        word = "holds" if finding.holds else "FAILS"
        print(f"{word}  {finding.fault} ({time.monotonic() - started:.0f} s)", flush=True)
        print(f"       {finding.figures}", flush=True)
        for problem in finding.problems[:10]:
            print(f"       - {problem}", flush=True)
    return results


def _do(scenario: Scenario, *, short: bool) -> Finding:
    size = scenario.short if short else scenario.full
    with own_postgres() as server, tempfile.TemporaryDirectory() as folder:
        try:
            return scenario.do(Bench(server.url, Path(folder)), server, size)
        except Exception as error:
            return Finding(scenario.name, "it broke off", [f"{type(error).__name__}: {error}"])


def render(results: Sequence[tuple[Scenario, Finding]]) -> str:
    """The matrix as a table of Markdown."""
    lines = ["| fault | must hold | measured | holds |", "| --- | --- | --- | --- |"]
    for scenario, finding in results:
        word = "yes" if finding.holds else f"**no**: {finding.problems[0]}"
        cells = (finding.fault, scenario.demand, finding.figures, word)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def write(results: Sequence[tuple[Scenario, Finding]]) -> None:
    """Put the matrix into the document, in the place of the last one."""
    document = REPORT.read_text("utf-8")
    head, _, rest = document.partition(BEGIN)
    tail = rest.partition(END)[2]
    when = f"Run of {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores."
    REPORT.write_text(f"{head}{BEGIN}\n{when}\n\n{render(results)}\n{END}{tail}", "utf-8")


def main(arguments: Sequence[str]) -> int:
    """0 when everything holds, 1 when something does not, 2 for an unknown name."""
    names = [word for word in arguments if not word.startswith("--")]
    unknown = set(names) - {one.name for one in SCENARIOS}
    if unknown:
        known = ", ".join(one.name for one in SCENARIOS)
        print(f"unknown: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    results = run(names, short="--short" in arguments)
    print(f"\n{render(results)}")
    if "--write" in arguments:
        write(results)
    return int(not all(finding.holds for _, finding in results))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

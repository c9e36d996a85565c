"""`make faults`: every fault at its full length, printed as a matrix; status 1 where one fails.

`python -m tests.faults.run` does all of them, with names only those; `--short` shortens each, and
`--write` puts their rows into the table of docs/reliability.md.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from app.paths import ROOT
from tests.faults.bench import Bench, Finding
from tests.faults.frozen import own_postgres
from tests.faults.matrix import SCENARIOS, Scenario

REPORT = ROOT / "docs" / "reliability.md"
HEADING = "| name | fault | must hold | measured | holds |"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


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
        print(f"{_word(finding)}  {finding.fault} ({time.monotonic() - started:.0f} s)", flush=True)
        print(f"       {finding.figures}", flush=True)
        for problem in finding.problems[:10]:
            print(f"       - {problem}", flush=True)
    return results


def _word(finding: Finding) -> str:
    if finding.not_run:
        return f"not run ({finding.not_run})"
    return "holds" if finding.holds else "FAILS"


def _do(scenario: Scenario, *, short: bool) -> Finding:
    size = scenario.short if short else scenario.full
    with own_postgres() as server, tempfile.TemporaryDirectory() as folder:
        try:
            return scenario.do(Bench(server.url, Path(folder)), server, size)
        except Exception as error:
            return Finding(scenario.name, "it broke off", [f"{type(error).__name__}: {error}"])


def render_row(scenario: Scenario, finding: Finding) -> str:
    """A row of the matrix, as Markdown."""
    word = "yes" if finding.holds else f"**no**: {finding.problems[0]}"
    if finding.not_run:
        word = f"not run: {finding.not_run}"
    cells = (scenario.name, finding.fault, scenario.demand, finding.figures, word)
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def sum_up(findings: Sequence[Finding]) -> str:
    """How many hold, how many fail, and how many were not looked at on this machine."""
    not_run = sum(bool(one.not_run) for one in findings)
    failed = sum(not one.holds for one in findings)
    held = len(findings) - failed - not_run
    return f"{held} hold, {failed} fail, {not_run} not run"


def render(rows: Mapping[str, str]) -> str:
    """The matrix as a table, in the order of the scenarios."""
    ordered = [rows[one.name] for one in SCENARIOS if one.name in rows]
    return "\n".join([HEADING, "| --- | --- | --- | --- | --- |", *ordered])


def write(rows: Mapping[str, str]) -> None:
    """Put the rows into the document; those of other scenarios stay as they are."""
    head, _, rest = REPORT.read_text("utf-8").partition(BEGIN)
    last, _, tail = rest.partition(END)
    kept = {line.split("|")[1].strip(): line for line in last.splitlines() if line.startswith("|")}
    table = render(kept | dict(rows))
    when = (
        f"Each row is the last run of its scenario (`make faults ARGS=name`) on {os.cpu_count()} "
        f"cores,\nother work beside it; the newest is of {datetime.now(UTC):%Y-%m-%d}."
    )
    REPORT.write_text(f"{head}{BEGIN}\n{when}\n\n{table}\n{END}{tail}", "utf-8")


def main(arguments: Sequence[str]) -> int:
    """0 when all that was run holds, 1 when something does not, 2 for an unknown name."""
    names = [word for word in arguments if not word.startswith("--")]
    unknown = set(names) - {one.name for one in SCENARIOS}
    if unknown:
        known = ", ".join(one.name for one in SCENARIOS)
        print(f"unknown: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    results = run(names, short="--short" in arguments)
    rows = {scenario.name: render_row(scenario, finding) for scenario, finding in results}
    print(f"\n{render(rows)}\n\n{sum_up([finding for _, finding in results])}")
    if "--write" in arguments:
        write(rows)
    return int(not all(finding.holds for _, finding in results))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

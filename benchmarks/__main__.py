"""`python -m benchmarks`: every figure side by side with its bar; 1 when one does not hold.

Everything runs on this machine: an embedded PostgreSQL of its own, servers on loopback.
"""

import argparse
import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from benchmarks import (
    analytics,
    bulk,
    fetch,
    first_run,
    growth,
    growth_pages,
    reads,
    run,
    scale,
    web,
)
from benchmarks.figures import Figure, print_table, say, write_results
from benchmarks.postgres import BenchServer, running_postgres

STORED: Mapping[str, Callable[[BenchServer], list[Figure]]] = {
    "bulk": bulk.measure,
    "scale": scale.measure,
    "growth": growth.measure,
    "run": run.measure,
    "first": first_run.measure,
    "latest": reads.measure,
    "pages": growth_pages.measure,
    "web": web.measure,
}
UNSTORED: Mapping[str, Callable[[], list[Figure]]] = {
    "fetch": fetch.measure,
    "analytics": analytics.measure_growth,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, print it and write benchmarks/results.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    groups = [*STORED, *UNSTORED]
    parser.add_argument("only", nargs="*", help=f"{', '.join(groups)} or a figure of one of them")
    only = parser.parse_args(arguments).only
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server goes with us
    chosen = [name for name in groups if not only or any(_belongs(name, word) for word in only)]
    if not chosen:
        parser.error(f"there is no figure {' '.join(only)}")
    measured = _measure(chosen)
    figures = [figure for figure in measured if not only or _is_asked(figure, only)]
    print_table(figures)
    write_results(measured, groups=chosen)
    return 0 if all(figure.holds for figure in figures) else 1


def _belongs(group: str, word: str) -> bool:
    return word == group or word.startswith(f"{group}-")


def _is_asked(figure: Figure, only: Sequence[str]) -> bool:
    """True for a figure that was named; what could not be measured is always told."""
    is_named = any(figure.name == word or figure.name.startswith(f"{word}-") for word in only)
    return is_named or math.isnan(figure.ratio)


def _measure(chosen: Sequence[str]) -> list[Figure]:
    figures: list[Figure] = []
    with ExitStack() as stack:
        server: BenchServer | None = None
        for name in chosen:
            say(f"{name}:")
            if name in STORED and server is None:
                server = stack.enter_context(running_postgres())
            try:
                found = STORED[name](server) if name in STORED and server else UNSTORED[name]()
            except Exception as error:
                say(f"  {name} could not be measured: {error}")
                found = [Figure(name, math.nan, 0, f"not measured: {type(error).__name__}")]
            for figure in found:
                say(f"  {figure.name} {figure.ratio:.3f} ({figure.bar_text})")
            figures += found
    return figures


if __name__ == "__main__":
    raise SystemExit(main())

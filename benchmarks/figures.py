"""What a benchmark finds: ratios measured side by side, each against its bar."""

import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"
ROUNDS = 5
Task = Callable[[], float]
"""Does something once and returns what is measured, mostly the seconds it took."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio and its bar; `is_least` when the ratio must reach it, else it must not pass it."""

    name: str
    ratio: float
    bar: float
    detail: str
    is_least: bool = False

    @property
    def holds(self) -> bool:
        """True when the bar is met; a ratio that could not be measured never is."""
        return self.ratio >= self.bar if self.is_least else self.ratio <= self.bar

    @property
    def bar_text(self) -> str:
        """The bar with its direction."""
        return f"{'at least' if self.is_least else 'at most'} {self.bar:g}"


def at_least(name: str, ratio: float, bar: float, detail: str = "") -> Figure:
    """A figure that is good when it is large."""
    return Figure(name, ratio, bar, detail, is_least=True)


def at_most(name: str, ratio: float, bar: float, detail: str = "") -> Figure:
    """A figure that is good when it is small."""
    return Figure(name, ratio, bar, detail)


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleave(tasks: Mapping[str, Task], *, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """What every task measured in each round; the tasks take turns within a round."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds):
        for name, task in tasks.items():
            say(f"  round {number + 1} of {rounds}: {name}")
            taken[name].append(task())
    return taken


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the quotients of each round, so that a slow minute weighs on both sides."""
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def seconds(values: Sequence[float]) -> str:
    """The median in a unit for people."""
    middle = statistics.median(values)
    return f"{middle * 1000:.1f} ms" if middle < 1 else f"{middle:.2f} s"


def peak_megabytes() -> float:
    """The most memory this process has had; on Linux without what its parent had when it began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def say(line: str) -> None:
    """Progress, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def print_table(figures: Sequence[Figure]) -> None:
    """One line a figure."""
    print(f"{'figure':24}{'ratio':>9}  {'bar':16}{'':8}detail")
    for figure in figures:
        verdict = "holds" if figure.holds else "FAILS"
        print(
            f"{figure.name:24}{figure.ratio:>9.3f}  {figure.bar_text:16}{verdict:8}{figure.detail}"
        )


def write_results(
    figures: Sequence[Figure], *, groups: Sequence[str], path: Path = RESULTS
) -> None:
    """Write the figures as JSON in place of those of `groups`; figures of other groups stay."""
    others = [item for item in _load(path) if str(item["name"]).split("-")[0] not in groups]
    path.write_text(json.dumps({"figures": [*others, *map(_as_json, figures)]}, indent=2) + "\n")


def _as_json(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name,
        "ratio": round(figure.ratio, 4) if math.isfinite(figure.ratio) else None,
        "bar": figure.bar_text,
        "holds": figure.holds,
        "detail": figure.detail,
    }


def _load(path: Path) -> list[dict[str, object]]:
    return list(json.loads(path.read_text())["figures"]) if path.exists() else []

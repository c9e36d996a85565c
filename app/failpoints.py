"""Named points at which a test has this process kill itself; inert unless one is chosen.

`TAPEDECK_FAILPOINT=before-commit` kills the process (SIGKILL) when it gets there, and
`before-commit:3` when it gets there for the third time. For the tests of `tests/faults` only.
"""

import os
import signal

VARIABLE = "TAPEDECK_FAILPOINT"
POINTS = (
    "tick-claimed",
    "run-opened",
    "run-committed",
    "fetch",
    "mid-fetch",
    "fetched",
    "mid-merge",
    "comparisons",
    "before-close",
    "before-commit",
    "after-commit",
    "cache",
    "mid-webhook",
)
_chosen: dict[str, int] = {}


def choose(text: str) -> None:
    """Choose one point as `name` or `name:count`; an empty text chooses none."""
    name, _, count = text.partition(":")
    _chosen.clear()
    if name:
        _chosen[name] = int(count or 1)


def reach(name: str) -> None:
    """Say that the process got to a point; it goes no further when it was chosen."""
    if not _chosen or name not in _chosen:
        return
    _chosen[name] -= 1
    if _chosen[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


choose(os.environ.get(VARIABLE, ""))

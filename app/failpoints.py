"""Named points at which a test has this process kill or stop itself; inert unless one is chosen.

`TAPEDECK_FAILPOINT=before-commit` kills the process (SIGKILL) when it gets there, and
`before-commit:3` when it gets there for the third time; `before-commit:1:stop` has it stand still
(SIGSTOP) instead. For the tests of `tests/faults` only.
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
_SIGNALS = {"": signal.SIGKILL, "kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_chosen: dict[str, tuple[int, signal.Signals]] = {}


def choose(text: str) -> None:
    """Choose one point as `name`, `name:count` or `name:count:stop`; an empty text chooses none."""
    name, _, rest = text.partition(":")
    count, _, deed = rest.partition(":")
    _chosen.clear()
    if name:
        _chosen[name] = (int(count or 1), _SIGNALS[deed])


def reach(name: str) -> None:
    """Say that the process got to a point; it goes no further when it was chosen."""
    if not _chosen or name not in _chosen:
        return
    left, deed = _chosen[name]
    _chosen[name] = (left - 1, deed)
    if left == 1:
        os.kill(os.getpid(), deed)


choose(os.environ.get(VARIABLE, ""))

"""Who this process is: in the rows it owns, and towards PostgreSQL."""

import os
import secrets
import socket
from functools import lru_cache

HOST_LENGTH = 30
RUNS = "tapedeck runs "


def process_name() -> str:
    """Host, process id and a token: the token tells apart two processes that had the same id."""
    return _name(os.getpid())


def runs_name(process: str) -> str:
    """The `application_name` of the connections over which a process works on its runs."""
    return f"{RUNS}{process}"[:63]


@lru_cache(maxsize=1)
def _name(pid: int) -> str:
    # A forked child has another id, so it does not keep its parent's name.
    return f"{socket.gethostname()[:HOST_LENGTH]}:{pid}:{secrets.token_hex(3)}"

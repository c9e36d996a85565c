"""How the contract tests reach a provider: one small adapter a provider, `harness_<name>.py`.

An adapter defines `harness()`, a context manager that gives a `Harness` (and stops whatever server
it started). A provider without one fails the contract tests with the sentence that says so.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pytest

from app.domain import Listing, MarketRequest
from app.providers.base import Provider, ProviderContext


@dataclass(frozen=True, slots=True)
class Harness:
    """One provider that can be asked: `build` makes it for a context, whose clock shows `now`.

    It serves `requests` (two markets or more), ranks markets in USD if it can rank, finds
    something for `search_text` if it can search, and knows nothing of `unknown`.
    """

    now: datetime
    build: Callable[[ProviderContext], Provider]
    requests: Sequence[MarketRequest]
    unknown: Listing
    search_text: str


@contextmanager
def open_harness(name: str) -> Iterator[Harness]:
    """The harness of the provider of that name."""
    try:
        adapter = importlib.import_module(f"tests.providers.harness_{name}")
    except ModuleNotFoundError:
        pytest.fail(f"the provider {name!r} needs tests/providers/harness_{name}.py")
    with adapter.harness() as harness:
        yield harness

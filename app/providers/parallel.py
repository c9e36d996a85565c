"""Calls to one provider side by side: a few threads, answers in order, an end on the first stop."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from app.errors import ProviderError

Item = TypeVar("Item")
Result = TypeVar("Result")


def call_each(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int
) -> list[Result | ProviderError]:
    """What `work` made of each item, in their order; a ProviderError stands in its item's place.

    Any other exception (RunStopped above all) is raised as soon as it happens, and what has not
    begun by then never begins. Each call sees the context variables of the caller, so that log
    lines keep their run id.
    """

    def guarded(item: Item) -> Result | ProviderError:
        try:
            return work(item)
        except ProviderError as error:
            return error

    if len(items) < 2 or threads < 2:
        return [guarded(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="provider") as pool:
        futures = [pool.submit(copy_context().run, guarded, item) for item in items]
        return _results(pool, futures)


def _results(pool: ThreadPoolExecutor, futures: Sequence[Future[Result]]) -> list[Result]:
    done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
    if waiting:
        pool.shutdown(wait=False, cancel_futures=True)
        for future in done:
            future.result()
    return [future.result() for future in futures]

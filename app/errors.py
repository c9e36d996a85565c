"""Every exception Tapedeck raises on purpose; the class says whether trying again can help.

::

    AppError
    ├── SettingsError            the environment is wrong: every problem at once
    ├── InvalidRequest           the caller asked for something malformed or unknown
    ├── NotFound                 the thing asked for does not exist
    ├── RunAlreadyActive         another run holds the single place
    ├── TickTaken                another process claimed the tick of the schedule
    ├── RunStopped               a run was cancelled, overtook its deadline or lost its lease
    ├── StorageError             the database refused or is away
    │   └── StorageConflict          others got in the way of a transaction each time it was tried
    └── ProviderError
        ├── TransientProviderError   a later try may succeed (timeout, 429, 5xx)
        └── PermanentProviderError   asking again cannot help (401, 404, nonsense answer)
            └── PlanLimitError       the subscription does not include what was asked
"""

from collections.abc import Sequence


class AppError(Exception):
    """The root; its message is written for the person who reads it."""


class SettingsError(AppError):
    """One or more settings are wrong; `problems` holds one sentence each, naming the variable."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class InvalidRequest(AppError):
    """The request can't be carried out as asked; `details` lists what is wrong with it."""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class NotFound(AppError):
    """Nothing of that name or id exists."""


class RunAlreadyActive(AppError):
    """A run is in progress; `run_id` names it."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Run {run_id} is already active; wait for it to finish.")
        self.run_id = run_id


class TickTaken(AppError):
    """The tick has its row already, so no second run starts for it."""


class RunStopped(AppError):
    """A run had to end at a safe point; `reason` is `cancelled`, `deadline` or `lease_lost`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(AppError):
    """The database is away or refused the work; nothing of it was kept."""


class StorageConflict(StorageError):
    """Others got in the way of a transaction each time it was tried; a later try may succeed."""


class ProviderError(AppError):
    """A provider did not deliver; `status` is the HTTP status where there was one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TransientProviderError(ProviderError):
    """A later try may succeed; `retry_after` is the number of seconds the provider asked for."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class PermanentProviderError(ProviderError):
    """Asking again in the same way cannot help."""


class PlanLimitError(PermanentProviderError):
    """The key works, but its plan does not include what was asked."""

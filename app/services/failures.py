"""What went wrong, in words for people: nothing that could hold a secret or a payload."""

from psycopg2.errors import UndefinedColumn, UndefinedTable
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.domain import RunStatus
from app.errors import AppError, RunStopped
from app.ingestion.validation import storable_text

MESSAGE_LENGTH = 2000
SAID_LENGTH = 300


def describe_failure(error: Exception) -> tuple[RunStatus, str, str]:
    """Status, class and a sentence for people."""
    if isinstance(error, RunStopped):
        status = RunStatus.CANCELLED if error.reason == "cancelled" else RunStatus.FAILED
        return status, error.reason, str(error)
    if isinstance(error, AppError):
        # A provider's own words may hold what PostgreSQL does not take.
        return RunStatus.FAILED, type(error).__name__, storable_text(str(error), MESSAGE_LENGTH)
    if isinstance(error, SQLAlchemyError):
        return RunStatus.FAILED, "StorageError", _tell_storage_trouble(error)
    return (
        RunStatus.FAILED,
        "UnexpectedError",
        f"Something unforeseen went wrong ({type(error).__name__}); the log has the details.",
    )


def _tell_storage_trouble(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return "The database could not be reached."
    # Some of the driver's errors have no words at all.
    said = str(error.orig).strip().partition("\n")[0][:SAID_LENGTH] or type(error.orig).__name__
    if isinstance(error.orig, (UndefinedTable, UndefinedColumn)):
        return (
            "The database lacks what this version of Tapedeck stores in it; "
            f"`flask --app wsgi db upgrade` adds it: {said}"
        )
    is_away = getattr(error.orig, "pgcode", None) is None
    what = "could not be reached" if is_away else "refused the work"
    return f"The database {what}: {said}"

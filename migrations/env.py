"""Runs migrations on the application's own database, over a connection that may take its time."""

from alembic import context
from alembic.util.exc import CommandError
from flask import current_app
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from app.database.connect import PLACEHOLDER_URL, Database
from app.database.engine import Patience
from app.database.partitions import is_declared
from app.services.house import House

# A migration may rewrite a large table, which takes longer than a page may wait.
LONGEST_SECONDS = 86_400.0

tables = current_app.extensions["migrate"].db.metadatas[None]
place: Database = current_app.extensions["tapedeck_database"]
house: House = current_app.extensions["tapedeck"]


def run() -> None:
    """Migrate in one transaction a revision, waiting for locks no longer than the settings say."""
    patience = Patience(
        LONGEST_SECONDS, house.settings.database_lock_timeout_seconds, LONGEST_SECONDS
    )
    engine = create_engine(PLACEHOLDER_URL, **place.engine_options(patience, pool_size=1))
    try:
        with engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=tables,
                transaction_per_migration=True,
                compare_type=True,
                compare_server_default=False,
                include_name=is_declared(connection),
            )
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations need a database: run `flask db upgrade` without --sql.")
try:
    run()
except OperationalError as error:
    raise CommandError(f"The database cannot be used: {error.orig}") from None

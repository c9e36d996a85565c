"""Runs migrations on the application's own database, over the application's own connection."""

from alembic import context
from alembic.util.exc import CommandError
from flask import current_app
from sqlalchemy.exc import OperationalError

database = current_app.extensions["migrate"].db


def run() -> None:
    """Migrate in one transaction a revision, waiting for locks no longer than the settings say."""
    with database.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=database.metadatas[None],
            transaction_per_migration=True,
            compare_type=True,
            compare_server_default=False,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations need a database: run `flask db upgrade` without --sql.")
try:
    run()
except OperationalError as error:
    raise CommandError(f"The database cannot be used: {error.orig}") from None

"""What the tests with real processes prepare in the database."""

from sqlalchemy import create_engine, text

_FAILED_RUN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, lease_until, deadline_at,
                               finished_at)
    VALUES (gen_random_uuid(), 'failed', 'cli', 'mock', 'test', now(), now(), now())
"""


def note_a_run(database_url: str) -> None:
    """Have the start believe that there is data, so that it makes no first run of its own."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(_FAILED_RUN))
    engine.dispose()

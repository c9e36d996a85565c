"""Candles whose interval is over become final, though no run comes that would say so.

What a run stores it derives from all that is stored by then, so a candle made from snapshots or
from finer candles needs no more than the word. One that the provider gave unfinished waits for the
provider's own, or for the run that makes it from snapshots.
"""

from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from app.database.transactions import run_in_transaction
from app.domain import Granularity
from app.models.versions import NEW_DATA_VERSION
from app.services.job_states import MINUTE, take_turn

# The run of the tick at which an interval ends may still bring its last snapshots.
GRACE = timedelta(minutes=5)
BATCH_ROWS = 10_000
_TURN = "turn of candles"
_STEPS = " ".join(
    f"WHEN '{one.value}' THEN interval '{one.step.total_seconds():.0f} seconds'"
    for one in Granularity
)
_STEP = f"CASE c.granularity {_STEPS} END"
# A row that a run holds is left to it, so that neither waits for the other. A day is not over
# before its hours are.
_FINISH = f"""
    UPDATE market_aggregate a SET is_final = true
    FROM (SELECT market_id, provider, granularity, opened_at FROM market_aggregate c
          WHERE NOT is_final AND basis <> 'provider'
            AND opened_at + {_STEP} <= clock_timestamp() - make_interval(secs => :grace)
            AND NOT EXISTS (
                SELECT FROM market_aggregate h
                WHERE h.market_id = c.market_id AND h.provider = c.provider
                  AND h.granularity = 'hourly' AND c.granularity <> 'hourly' AND NOT h.is_final
                  AND h.opened_at >= c.opened_at AND h.opened_at < c.opened_at + {_STEP})
          LIMIT :limit FOR UPDATE SKIP LOCKED) o
    WHERE a.market_id = o.market_id AND a.provider = o.provider
      AND a.granularity = o.granularity AND a.opened_at = o.opened_at
"""  # noqa: S608 - made of the vocabulary's own words


def finish_candles(engine: Engine) -> int | None:
    """Make final what has been over for five minutes; how many candles.

    None where some process did so within the last minute.

    Raises `sqlalchemy.exc.DBAPIError` with the database away; what was committed stays done.
    """
    with engine.begin() as connection:
        if not take_turn(connection, _TURN, every_seconds=MINUTE):
            return None
    return _finish_all(engine)


def _finish_all(engine: Engine) -> int:
    total = last = run_in_transaction(engine, _finish_batch)
    while last >= BATCH_ROWS:
        last = run_in_transaction(engine, _finish_batch)
        total += last
    return total


def _finish_batch(connection: Connection) -> int:
    values = {"grace": GRACE.total_seconds(), "limit": BATCH_ROWS}
    count: int = connection.execute(text(_FINISH), values).rowcount
    if count:
        connection.execute(text(NEW_DATA_VERSION))
    return count

"""Starting a run by hand over JSON."""

from pydantic import Field

from app.domain import Trigger
from app.errors import InvalidRequest
from app.market_list import parse_symbol
from app.web.api.outcomes import (
    RunOutcome,
    outcome_headers,
    outcome_members,
    outcome_status,
    wait_for_run,
)
from app.web.house import house
from app.web.openapi import BodyModel, Reply, operation

MAX_SYMBOLS = 1_000
MAX_NAMED = 10


class IngestBody(BodyModel):
    """What to ingest; an empty body or object means every market that is followed."""

    symbols: list[str] = Field(
        default=[],
        description=f"Followed markets, 1 to {MAX_SYMBOLS}, such as BTC-USD.",
        examples=[["BTC-USD", "ETH-USD"]],
    )


@operation(
    summary="Start a run",
    body=IngestBody,
    answers={200: RunOutcome, 202: RunOutcome},
    problems=[409, 422],
)
def start_ingest(*, body: IngestBody) -> Reply:
    """Start a run and wait up to 25 s for its end.

    200 when it finished, whatever became of it: `status` says, and `error` says why it failed.
    202 when it goes on, or at once with `Prefer: respond-async` (`Prefer: wait=5` waits 5 s);
    `Location` is the run's address. 409 names the run that is active.
    """
    symbols = chosen_symbols(body) if "symbols" in body.model_fields_set else ()
    run_id = house().runner.start(trigger=Trigger.MANUAL, symbols=symbols, requested_by="api")
    run = wait_for_run(run_id)
    outcome = RunOutcome.model_validate(outcome_members(run))
    return Reply(outcome, outcome_status(run), outcome_headers(run))


def chosen_symbols(body: IngestBody) -> tuple[str, ...]:
    """The symbols asked for, in upper case, each once; `InvalidRequest` lists up to ten wrong."""
    if not 1 <= len(body.symbols) <= MAX_SYMBOLS:
        raise InvalidRequest(
            f"symbols must name 1 to {MAX_SYMBOLS} markets.",
            [f"symbols: {len(body.symbols)} given"],
        )
    wrong: list[str] = []
    symbols: dict[str, None] = {}
    for text in body.symbols:
        try:
            symbols[parse_symbol(text)] = None
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise InvalidRequest("Some symbols are not valid.", wrong[:MAX_NAMED])
    return tuple(symbols)

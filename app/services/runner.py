"""Starting, awaiting and cancelling runs; a run never executes in the thread that asks for it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from app.database.transactions import keep_brief, let_pass
from app.domain import Trigger
from app.errors import NotFound
from app.failpoints import reach
from app.ingestion.context import RunOrder
from app.ingestion.pipeline import RunReport, run_pipeline
from app.ingestion.run_row import RunTicket, open_run
from app.ingestion.tick_row import claim_tick, name_run_of_tick
from app.services.door import Door
from app.services.execution import (
    Execution,
    Listener,
    RunTools,
    build_context,
    execute,
    give_back,
)
from app.services.orders import OrderBook, fingerprint
from app.services.takeover import Takeover, succession_of
from app.settings import ProviderSettings, Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
SHUTDOWN_SECONDS = 5.0
SHUTDOWN_STEP_SECONDS = 1.0


def _ignore(name: str, counts: object) -> None:
    """A listener that does not listen."""


class Runner:
    """Runs of this process. Safe to call from any thread; one instance a process.

    `create_engine` makes the connections over which a run works; `desk` gives those for the short
    statements around it, whose callers are web requests with little time.
    """

    def __init__(
        self,
        settings: Settings,
        provider_settings: Mapping[str, ProviderSettings],
        *,
        create_engine: Callable[[], Engine],
        clock: Callable[[], datetime],
        replace_cache: Callable[[], None],
        desk: Callable[[], Engine] | None = None,
    ) -> None:
        self._settings = settings
        self._provider_settings = provider_settings
        self._create_engine = create_engine
        self._clock = clock
        self._replace_cache = replace_cache
        self._desk = desk or (lambda: self.engine)
        self._orders = OrderBook(settings, clock, self._desk)
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._door = Door()
        self._active: dict[UUID, tuple[Execution, threading.Thread]] = {}

    @property
    def engine(self) -> Engine:
        """The runs' own connections, made at first use so that a fork never shares them."""
        with self._lock:
            if self._engine is None:
                self._engine = self._create_engine()
            return self._engine

    def start(
        self,
        *,
        trigger: Trigger,
        symbols: Sequence[str] = (),
        provider: str | None = None,
        requested_by: str = "",
        due_at: datetime | None = None,
        parent_run_id: str | None = None,
        listener: Listener = _ignore,
    ) -> str:
        """Open a run and work on it in the background; its id.

        `parent_run_id` names the run that this one repeats.

        With `due_at` the run is that of a tick of the schedule: both rows appear together or not at
        all, and `TickTaken` is raised when the tick has a row already. Raises `RunAlreadyActive`
        with the id of the run that holds the place, `InvalidRequest` for symbols that are not
        followed or an unknown provider, `RunStopped` once the shutdown has begun.
        """
        name = self._orders.provider_name(provider)
        order = self._orders.write(uuid4(), provider=name, symbols=symbols)
        with self._door.passing():
            with self._desk().begin() as connection:
                keep_brief(connection)
                if due_at is not None:
                    claim_tick(connection, due_at)
                    let_pass(connection)
                    reach("tick-claimed")
                ticket = self._open(
                    connection,
                    order,
                    name,
                    trigger,
                    symbols,
                    requested_by=requested_by,
                    due_at=due_at,
                    parent_run_id=_uuid(parent_run_id) if parent_run_id else None,
                )
                reach("run-opened")
            reach("run-committed")
            self._launch(Execution(ticket, order, name, listener=listener))
        return str(order.run_id)

    def take_up_dead_runs(self) -> None:
        """Go on with runs whose process died, where that is allowed; close the others.

        Raises `RunStopped` once the shutdown has begun.
        """
        with self._door.passing():
            Takeover(self._settings, self._orders, self._desk, self._launch).look()

    def preview(
        self,
        *,
        symbols: Sequence[str] = (),
        provider: str | None = None,
        listener: Listener = _ignore,
    ) -> RunReport:
        """Fetch and validate without storing anything; raises what the provider raises."""
        name = self._orders.provider_name(provider)
        order = self._orders.write(uuid4(), provider=name, symbols=symbols, is_dry_run=True)
        execution = Execution(RunTicket(order.run_id), order, name, listener=listener)
        context = build_context(execution, self._tools())
        try:
            return run_pipeline(context, self.engine, _Listening(listener), lambda *_: None)
        finally:
            context.close()

    def wait(self, run_id: str, *, timeout_seconds: float) -> bool:
        """True once the run has a final status, False when it still runs after the time given."""
        deadline = time.monotonic() + timeout_seconds
        local = self._active.get(_uuid(run_id))
        if local is not None:
            if not local[0].is_done.wait(timeout_seconds):
                # Its thread may hang while another process closed the run.
                return not self._is_running(run_id)
            if local[0].is_closed:
                return True
        pause = threading.Event()
        while self._is_running(run_id):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            pause.wait(min(POLL_SECONDS, left))
        return True

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next safe point; nothing happens to a finished one.

        Raises `NotFound` for an unknown id.
        """
        statement = text(
            "UPDATE ingestion_run SET cancel_requested_at = CASE WHEN status = 'running' "
            "THEN coalesce(cancel_requested_at, clock_timestamp()) ELSE cancel_requested_at END "
            "WHERE id = :id RETURNING status"
        )
        with self._desk().begin() as connection:
            if connection.execute(statement, {"id": _uuid(run_id)}).scalar() is None:
                raise NotFound(f"There is no run {run_id}.")
        local = self._active.get(_uuid(run_id))
        if local is not None:
            local[0].stop.stop("cancelled")

    def shutdown(
        self, *, grace_seconds: float, still_here: Callable[[], None] = lambda: None
    ) -> None:
        """Let active runs finish within the grace time, then end them at a safe point.

        Another process goes on with them where that is allowed. Nothing is claimed any more; a
        claim that is being made is waited for, and its run handed over.

        `still_here` is called every second, for a supervisor that takes silence for death.
        """
        deadline = time.monotonic() + grace_seconds
        self._door.shut()
        self._door.await_empty(SHUTDOWN_SECONDS, still_here)
        for execution, thread in list(self._active.values()):
            _join(thread, deadline, still_here)
            if thread.is_alive():
                execution.stop.stop("shutdown")
                _join(thread, time.monotonic() + SHUTDOWN_SECONDS, still_here)
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _open(
        self,
        connection: Connection,
        order: RunOrder,
        provider: str,
        trigger: Trigger,
        symbols: Sequence[str],
        *,
        requested_by: str,
        due_at: datetime | None,
        parent_run_id: UUID | None,
    ) -> RunTicket:
        ticket = open_run(
            connection,
            order.run_id,
            trigger=trigger,
            provider=provider,
            symbols=tuple(symbols),
            requested_by=requested_by,
            due_at=due_at,
            fingerprint=fingerprint(self._settings, provider),
            succession=succession_of(self._settings),
            deadline_seconds=self._settings.run_deadline_seconds,
            parent_run_id=parent_run_id,
        )
        if due_at is not None:
            name_run_of_tick(connection, due_at, order.run_id)
        return ticket

    def _launch(self, execution: Execution) -> None:
        run_id = execution.ticket.run_id
        if self._door.is_shut:
            give_back(execution, self._tools())
            return

        def work() -> None:
            try:
                execute(execution, self._tools())
            finally:
                # A later attempt of the same run may have come to this process too.
                if self._active.get(run_id, (None,))[0] is execution:
                    self._active.pop(run_id, None)

        thread = threading.Thread(target=work, name=f"run-{run_id}", daemon=True)
        self._active[run_id] = (execution, thread)
        thread.start()

    def _tools(self) -> RunTools:
        return RunTools(
            engine=self.engine,
            provider_settings=self._provider_settings,
            clock=self._clock,
            lease_seconds=self._settings.run_lease_seconds,
            heartbeat_seconds=self._settings.run_heartbeat_seconds,
            deadline_seconds=self._settings.run_deadline_seconds,
            succession=succession_of(self._settings),
            replace_cache=self._replace_cache,
        )

    def _is_running(self, run_id: str) -> bool:
        statement = text("SELECT status = 'running' FROM ingestion_run WHERE id = :id")
        with self._desk().connect() as connection:
            return bool(connection.execute(statement, {"id": _uuid(run_id)}).scalar())


class _Listening:
    """A recorder that only passes on what it is told."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def stage_started(self, name: str) -> None:
        self._listener(name, None)

    def stage_finished(self, name: str, counts: object, *, status: str) -> None:
        """Nothing is recorded."""


def _join(thread: threading.Thread, deadline: float, still_here: Callable[[], None]) -> None:
    while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
        still_here()
        thread.join(min(SHUTDOWN_STEP_SECONDS, left))


def _uuid(run_id: str) -> UUID:
    try:
        return UUID(run_id)
    except ValueError:
        raise NotFound(f"There is no run {run_id[:80]}.") from None

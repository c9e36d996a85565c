"""Starting, awaiting and cancelling runs; a run never executes in the thread that asks for it."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Engine, text

from app.domain import MarketRequest, Trigger
from app.errors import InvalidRequest, NotFound, SettingsError
from app.ingestion.context import RunOrder
from app.ingestion.pipeline import RunReport, run_pipeline
from app.ingestion.run_row import RunTicket, open_run
from app.market_list import MarketSelection, parse_symbol
from app.providers.base import provider_class
from app.services.execution import Execution, Listener, RunTools, build_context, execute
from app.settings import ProviderSettings, Settings

POLL_SECONDS = 0.2
DETAILS_SHOWN = 10
SHUTDOWN_SECONDS = 5.0


def _ignore(name: str, counts: object) -> None:
    """A listener that does not listen."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller asks of a run; no symbols means everything the settings name."""

    trigger: Trigger
    symbols: Sequence[str] = ()
    provider: str | None = None
    requested_by: str = ""
    due_at: datetime | None = None


class Runner:
    """Runs of this process. Safe to call from any thread; one instance a process."""

    def __init__(
        self,
        settings: Settings,
        provider_settings: Mapping[str, ProviderSettings],
        *,
        create_engine: Callable[[], Engine],
        clock: Callable[[], datetime],
        replace_cache: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._provider_settings = provider_settings
        self._create_engine = create_engine
        self._clock = clock
        self._replace_cache = replace_cache
        self._engine: Engine | None = None
        self._lock = threading.Lock()
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
        listener: Listener = _ignore,
    ) -> str:
        """Open a run and work on it in the background; its id.

        Raises `RunAlreadyActive` with the id of the run that holds the place, `InvalidRequest` for
        symbols that are not followed, `SettingsError` for an unknown provider.
        """
        request = RunRequest(trigger, symbols, provider, requested_by, due_at)
        name = self._provider_name(provider)
        run_id = uuid4()
        with self.engine.begin() as connection:
            ticket = open_run(
                connection,
                run_id,
                trigger=trigger,
                provider=name,
                symbols=tuple(symbols),
                requested_by=requested_by,
                due_at=due_at,
                fingerprint=fingerprint(self._settings, name),
                lease_seconds=self._settings.run_lease_seconds,
                deadline_seconds=self._settings.run_deadline_seconds,
            )
            order = self._order(run_id, ticket.attempt, request, name)
        execution = Execution(ticket, order, name, listener=listener)
        self._launch(execution)
        return str(run_id)

    def preview(
        self,
        *,
        symbols: Sequence[str] = (),
        provider: str | None = None,
        listener: Listener = _ignore,
    ) -> RunReport:
        """Fetch and validate without storing anything; raises what the provider raises."""
        name = self._provider_name(provider)
        request = RunRequest(Trigger.CLI, symbols, provider)
        order = self._order(uuid4(), 1, request, name, is_dry_run=True)
        execution = Execution(RunTicket(order.run_id), order, name, listener=listener)
        context = build_context(execution, self._tools())
        try:
            return run_pipeline(context, self.engine, _Listening(listener), lambda *_: None)
        finally:
            context.provider.close()

    def wait(self, run_id: str, *, timeout_seconds: float) -> bool:
        """True once the run has a final status, False when it still runs after the time given."""
        deadline = time.monotonic() + timeout_seconds
        local = self._active.get(_uuid(run_id))
        if local is not None:
            return local[0].is_done.wait(timeout_seconds)
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
            "UPDATE ingestion_run SET cancel_requested_at = "
            "coalesce(cancel_requested_at, clock_timestamp()) WHERE id = :id RETURNING status"
        )
        with self.engine.begin() as connection:
            if connection.execute(statement, {"id": _uuid(run_id)}).scalar() is None:
                raise NotFound(f"There is no run {run_id}.")
        local = self._active.get(_uuid(run_id))
        if local is not None:
            local[0].stop.stop("cancelled")

    def shutdown(self, *, grace_seconds: float) -> None:
        """Let active runs finish within the grace time, then end them at a safe point."""
        deadline = time.monotonic() + grace_seconds
        for execution, thread in list(self._active.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                execution.stop.stop("shutdown")
                thread.join(SHUTDOWN_SECONDS)
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _launch(self, execution: Execution) -> None:
        run_id = execution.ticket.run_id

        def work() -> None:
            try:
                execute(execution, self._tools())
            finally:
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
            replace_cache=self._replace_cache,
        )

    def _provider_name(self, name: str | None) -> str:
        chosen = name or self._settings.ingestion_provider
        try:
            provider_class(chosen)
        except SettingsError as error:
            raise InvalidRequest(f"There is no provider {chosen!r}.", error.problems) from None
        return chosen

    def _order(
        self,
        run_id: UUID,
        attempt: int,
        request: RunRequest,
        provider: str,
        *,
        is_dry_run: bool = False,
    ) -> RunOrder:
        settings = self._settings
        return RunOrder(
            run_id=run_id,
            attempt=attempt,
            now=self._clock().replace(microsecond=0),
            selection=self._selection(request.symbols, provider),
            comparisons=settings.ingestion_comparisons,
            lookback_days=settings.ingestion_lookback_days,
            risk_free_rate=settings.risk_free_rate,
            minimum_acceptable_return=settings.minimum_acceptable_return,
            days_per_year=settings.days_per_year,
            is_dry_run=is_dry_run,
        )

    def _selection(self, symbols: Sequence[str], provider: str) -> MarketSelection:
        """What the settings name, or the part of it that was asked for."""
        configured = self._settings.ingestion_markets
        if not symbols:
            return configured
        followed = {request.symbol: request for request in configured.requests}
        known = self._listed_symbols(provider) if configured.top else set()
        wanted: dict[str, MarketRequest] = {}
        unknown = []
        for symbol in symbols:
            request = _request(symbol, followed, known)
            if request is None:
                unknown.append(symbol[:80])
            else:
                wanted[request.symbol] = request
        if unknown:
            listed = ", ".join(unknown[:DETAILS_SHOWN])
            raise InvalidRequest(
                f"{len(unknown)} of {len(symbols)} symbols are not followed: {listed}.",
                [f"{symbol} is not followed." for symbol in unknown[:DETAILS_SHOWN]],
            )
        return MarketSelection(tuple(wanted.values()))

    def _listed_symbols(self, provider: str) -> set[str]:
        statement = text(
            "SELECT m.symbol FROM market m JOIN listing l ON l.market_id = m.id "
            "WHERE l.provider = :provider"
        )
        with self.engine.connect() as connection:
            return set(connection.execute(statement, {"provider": provider}).scalars())

    def _is_running(self, run_id: str) -> bool:
        statement = text("SELECT status = 'running' FROM ingestion_run WHERE id = :id")
        with self.engine.connect() as connection:
            return bool(connection.execute(statement, {"id": _uuid(run_id)}).scalar())


def fingerprint(settings: Settings, provider: str) -> str:
    """Twelve digits that change when the settings which shape a run's data change."""
    shaping = (
        provider,
        str(settings.ingestion_markets),
        settings.ingestion_comparisons,
        settings.ingestion_lookback_days,
        settings.risk_free_rate,
        settings.minimum_acceptable_return,
        sorted(settings.days_per_year.items()),
    )
    return hashlib.sha256(repr(shaping).encode()).hexdigest()[:12]


class _Listening:
    """A recorder that only passes on what it is told."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def stage_started(self, name: str) -> None:
        self._listener(name, None)

    def stage_finished(self, name: str, counts: object, *, status: str) -> None:
        """Nothing is recorded."""


def _request(
    symbol: str, followed: Mapping[str, MarketRequest], known: set[str]
) -> MarketRequest | None:
    try:
        name = parse_symbol(symbol)
    except ValueError:
        return None
    return followed.get(name) or (MarketRequest(name) if name in known else None)


def _uuid(run_id: str) -> UUID:
    try:
        return UUID(run_id)
    except ValueError:
        raise NotFound(f"There is no run {run_id[:80]}.") from None

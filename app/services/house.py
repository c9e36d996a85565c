"""What every face finds in the house: settings, the runner, the clock and the cache's state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.cache_breaker import CacheState
from app.services.data_version import DataVersion
from app.services.pulse import Pulse
from app.services.runner import Runner
from app.settings import ProviderSettings, Settings


@dataclass(frozen=True, slots=True)
class House:
    """Put together once by the factory; `clock` returns aware UTC.

    `given_clock` is a clock that rules instead of the database's, for tests; None in the product.
    """

    settings: Settings
    provider_settings: Mapping[str, ProviderSettings]
    runner: Runner
    clock: Callable[[], datetime]
    cache_state: Callable[[], CacheState]
    data_version: DataVersion
    started_at: datetime
    pulse: Pulse = field(default_factory=Pulse)
    given_clock: Callable[[], datetime] | None = None

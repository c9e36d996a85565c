"""What the codes of the domain are called on a page."""

from datetime import timedelta

from app.domain import DAY, HOUR, WEEK, NullReason, RunStatus, Trigger

STATUS_WORDS = {
    "pending": "waiting",
    "rolled_back": "rolled back",
    **{status.value: status.value for status in RunStatus},
}
STATUS_MEANINGS = {
    RunStatus.RUNNING: "at work now",
    RunStatus.SUCCEEDED: "everything asked for was stored",
    RunStatus.PARTIAL: "some markets or rows failed; the good ones were stored",
    RunStatus.FAILED: "nothing was stored, the data is as it was before",
    RunStatus.CANCELLED: "stopped by a person; nothing was stored",
    RunStatus.ABANDONED: "its process died; nothing was stored",
}
TRIGGER_WORDS = {
    Trigger.SCHEDULER: "schedule",
    Trigger.CRON: "external cron",
    Trigger.MANUAL: "by hand",
    Trigger.CLI: "command line",
    Trigger.BACKFILL: "backfill",
}
LEVEL_WORDS = {
    "good": "Good",
    "late": "Late",
    "failing": "Failing",
    "empty": "Empty",
    "paused": "Paused",
    "stalled": "Stalled",
}
COUNT_MEANINGS = {
    "fetched": "rows the provider sent or a stage derived",
    "inserted": "rows that were new",
    "updated": "rows that replaced an older value",
    "unchanged": "rows that were already stored exactly so",
    "rejected": "rows set aside because a rule refused them",
}
NULL_REASON_WORDS = {
    NullReason.INSUFFICIENT_SAMPLES: "too few samples",
    NullReason.ZERO_VARIANCE: "the price did not move",
    NullReason.NO_DOWNSIDE: "no return below the minimum",
    NullReason.STALE_BASE: "no price near the start of the window",
    NullReason.WINDOW_TOO_SHORT: "the window is too short",
    NullReason.NO_DRAWDOWN: "the price never fell",
    NullReason.NOT_SIMULTANEOUS: "no observations at the same time",
    NullReason.NO_VOLUME: "no volume given",
}

OUTCOME_WORDS = {
    "problem": "not served",
    "lost": "no longer sent",
    "new": "new",
    "stored": "stored",
    "unchanged": "nothing newer",
    "missing": "no price yet",
}
CAUSE_WORDS = {
    "no_run": "no run in that hour, and no later one brought a sound candle",
    "run_failed": "every run in that hour failed",
    "market_failed": "this market could not be served",
    "no_data": "runs were good, but no sound candle came",
}
CHOICE_WORDS = {
    "pinned": "pinned in the settings",
    "resolved": "resolved by symbol",
    "discovered": "found by rank",
    "provider": "the provider",
}


def level_words(level: str) -> str:
    """The state of the data in one word."""
    return LEVEL_WORDS.get(level, level.capitalize())


def status_words(status: str) -> str:
    """A run's or stage's status in words."""
    return STATUS_WORDS.get(status, status.replace("_", " "))


def trigger_words(trigger: Trigger) -> str:
    """What started a run, in words."""
    return TRIGGER_WORDS[trigger]


def null_reason_words(reason: str | None) -> str:
    """Why a statistic has no number; an unknown code is shown in plain letters."""
    if not reason:
        return "no value"
    known = {key.value: words for key, words in NULL_REASON_WORDS.items()}
    return known.get(reason, reason.replace("_", " "))


def outcome_words(outcome: str) -> str:
    """What a run did for a market, in words."""
    return OUTCOME_WORDS.get(outcome, outcome)


def cause_words(cause: str) -> str:
    """Why candles are missing, in words."""
    return CAUSE_WORDS.get(cause, cause.replace("_", " "))


def choice_words(chosen_by: str) -> str:
    """Who tied a market to a provider's id, in words."""
    return CHOICE_WORDS.get(chosen_by, chosen_by)


def length_words(length: timedelta) -> str:
    """How long a candle is, in the largest unit it is whole in: `6 hours`, `1 day`."""
    units = ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"))
    unit, name = next((unit, name) for unit, name in units if unit == HOUR or not length % unit)
    number = length // unit
    return f"{number} {name}{'' if number == 1 else 's'}"

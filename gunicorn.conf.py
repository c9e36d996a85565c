"""How gunicorn serves Tapedeck: gthread workers, the scheduler started in each after the fork."""

# ruff: noqa: E402
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

# prometheus_client looks once, when it is first imported; one folder a master.
_metrics_directory = Path(tempfile.gettempdir()) / f"tapedeck-metrics-{os.getuid()}-{os.getpid()}"
# A master that takes over (SIGUSR2) inherits the name of the other's, which goes with that one.
if Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")).name.startswith("tapedeck-metrics-"):
    del os.environ["PROMETHEUS_MULTIPROC_DIR"]
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_metrics_directory))

from gunicorn.glogging import Logger
from prometheus_client import multiprocess

from app.errors import SettingsError
from app.jobs import start_jobs, stop_jobs
from app.logs import LineFormatter
from app.providers.base import provider_classes
from app.settings_loader import load_settings
from app.settings_report import format_problems

try:
    _settings = load_settings(
        {name: cls.Settings for name, cls in provider_classes().items()}
    ).settings
except SettingsError as error:
    print(format_problems(error), file=sys.stderr)
    raise SystemExit(2) from None

_sign_of_life = -1

bind = (
    f"[{_settings.host}]:{_settings.port}"
    if ":" in _settings.host
    else (f"{_settings.host}:{_settings.port}")
)
workers = _settings.web_workers
threads = _settings.web_threads
worker_class = "gthread"
preload_app = False
# Requests that wait for a run (at most 25 s) end first; then the run may finish within its grace
# time, and gets a little more to end cleanly if it does not.
graceful_timeout = 25 + _settings.run_grace_seconds + 10
timeout = 60
keepalive = 5
control_socket_disable = True
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
proc_name = "tapedeck"
# Only PROXY_HOPS says whom to believe about https.
secure_scheme_headers = {}
accesslog = None


class Quiet(Logger):
    """gunicorn's own log without a line for each request, which the application writes itself."""

    def access(self, resp, req, environ, request_time):
        """Do nothing: with `logconfig_dict` the line would be put together, then thrown away."""


logger_class = Quiet
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": LineFormatter}},
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line"}},
    # The application adds its own handler to the root of each worker.
    "root": {"level": _settings.log_level.upper(), "handlers": []},
    "loggers": {
        "gunicorn.error": {"level": "WARNING", "handlers": ["line"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": ["line"], "propagate": False},
    },
}


def on_starting(server):
    """Refuse an address that others can reach while the doors have no keys."""
    for address in server.cfg.address:
        missing = _settings.missing_for(address[0]) if isinstance(address, tuple) else []
        if missing:
            print(
                f"Tapedeck does not serve at {address[0]}, which others can reach, without "
                f"SECRET_KEY and OPERATOR_TOKEN; {' and '.join(missing)} not set.",
                file=sys.stderr,
            )
            raise SystemExit(2)
    shutil.rmtree(_metrics_directory, ignore_errors=True)
    _metrics_directory.mkdir(parents=True)


def when_ready(server):
    """Say where the dashboard is, once it answers."""
    for listener in server.LISTENERS:
        print(f"Tapedeck serves {listener!s}", flush=True)


def post_worker_init(worker):
    """Start the scheduler in the worker: threads would not survive the fork."""
    global _sign_of_life
    # gunicorn closes its own before `worker_exit`.
    _sign_of_life = os.dup(worker.tmp.fileno())
    start_jobs(worker.app.wsgi())


def _say_still_here():
    """What the master looks at: it takes a worker that is silent for `timeout` seconds for dead."""
    now = time.monotonic()
    os.utime(_sign_of_life, (now, now))


def worker_exit(server, worker):
    """Let a run finish, or end it cleanly, before the worker goes."""
    application = worker.app.callable
    if application is not None:
        stop_jobs(
            application, grace_seconds=_settings.run_grace_seconds, still_here=_say_still_here
        )


def child_exit(server, worker):
    """Drop the gauges of a worker that is gone."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    """Take the folder of counts along; the next master makes its own."""
    shutil.rmtree(_metrics_directory, ignore_errors=True)

"""The application for gunicorn and the `flask` command."""

import sys

from app import create_app
from app.errors import SettingsError
from app.settings_report import format_problems

try:
    app = create_app()
except SettingsError as error:
    print(format_problems(error), file=sys.stderr)
    raise SystemExit(2) from None

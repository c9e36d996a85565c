"""The house of the running application, for views."""

from flask import current_app

from app.services.house import House


def house() -> House:
    """What the factory put together."""
    found: House = current_app.extensions["tapedeck"]
    return found

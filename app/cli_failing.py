"""How a command of the shell fails: one line on stderr and exit status 1."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from app.errors import AppError
from app.services.failures import describe_failure

FAILED = 1
T = TypeVar("T")


def or_exit(work: Callable[[], T]) -> T:
    """What the work gives; a refusal or a database that is away ends the command."""
    try:
        return work()
    except (AppError, SQLAlchemyError) as error:
        click.echo(f"Failed: {describe_failure(error)[2]}", err=True)
        sys.exit(FAILED)

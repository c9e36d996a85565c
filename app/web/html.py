"""Small pieces of HTML: a fixed shape with escaped values in its places.

The same as `Markup(shape).format(...)`, which takes ten times as long; a page of a few dozen rows
holds hundreds of pieces.
"""

import re

from markupsafe import Markup, escape

_SPECIAL = re.compile("[&<>\"']")


class Shape:
    """A piece of HTML with `{}` for each value; called with as many values it gives the piece."""

    def __init__(self, shape: str) -> None:
        """`shape` is ours, never a text from outside; it may hold `%`, but no other braces."""
        self._pattern = shape.replace("%", "%%").replace("{}", "%s")

    def __call__(self, *values: object) -> Markup:
        """The piece, each of `values` escaped unless it is Markup itself.

        Raises TypeError where there are more or fewer values than places.
        """
        return Markup(self._pattern % tuple([_safe(value) for value in values]))  # noqa: S704


def _safe(value: object) -> str:
    if hasattr(value, "__html__"):
        return escape(value)
    text = str(value)
    return escape(text) if _SPECIAL.search(text) else text

"""The badge: the state of the data in one word, as a small picture and for shields.io."""

from dataclasses import dataclass
from typing import Any, Self

from markupsafe import Markup

LABEL = "market data"
# Dark enough for white letters (at least 4.5 to 1), and a word beside the colour in any case.
_COLOURS = {
    "good": "#136f3a",
    "late": "#825400",
    "failing": "#b0261d",
    "stalled": "#b0261d",
    "unreachable": "#b0261d",
}
_IDLE = "#625b50"
_ERRORS = ("failing", "stalled", "unreachable")
_PADDING = 7
# The mean width of a letter at 11 px; the text is then fitted to its box exactly.
_LETTER = 6.6
_DRAWING = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"'
    ' aria-label="{label}: {message}"><title>{label}: {message}</title>'
    '<clipPath id="r"><rect width="{width}" height="20" rx="4"/></clipPath>'
    '<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#1d1b18"/>'
    '<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>'
    '<g fill="#fff" font-family="Verdana, Geneva, DejaVu Sans, sans-serif" font-size="11">'
    '<text x="7" y="14" textLength="{label_length}">{label}</text>'
    '<text x="{message_x}" y="14" textLength="{message_length}">{message}</text></g></svg>\n'
)


@dataclass(frozen=True, slots=True)
class Badge:
    """What the badge says, and the colour of its right half."""

    message: str
    colour: str
    is_error: bool

    @classmethod
    def of(cls, level: str) -> Self:
        """The badge of a state: good, late, failing, stalled, empty, paused or unreachable."""
        return cls(level, _COLOURS.get(level, _IDLE), level in _ERRORS)

    @property
    def shield(self) -> dict[str, Any]:
        """The members that shields.io reads from an endpoint, and no other."""
        return {
            "schemaVersion": 1,
            "label": LABEL,
            "message": self.message,
            "color": self.colour,
            "isError": self.is_error,
        }


def draw_badge(badge: Badge) -> Markup:
    """The badge as SVG, 20 px high; needs no font, style or file of ours."""
    label_length, message_length = _length(LABEL), _length(badge.message)
    left = label_length + 2 * _PADDING
    right = message_length + 2 * _PADDING
    return _DRAWING.format(
        width=left + right,
        left=left,
        right=right,
        colour=badge.colour,
        label=LABEL,
        message=badge.message,
        label_length=label_length,
        message_length=message_length,
        message_x=left + _PADDING,
    )


def _length(text: str) -> int:
    return round(len(text) * _LETTER)

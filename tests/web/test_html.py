"""Pieces of HTML from a shape."""

from decimal import Decimal

import pytest
from markupsafe import Markup

from app.web.html import Shape

HOSTILE = "<script>'\"&amp;</script>"


@pytest.mark.parametrize("value", [HOSTILE, "plain", 12, 1.5, Decimal("0.10"), None, "50 %", "{}"])
def test_a_piece_is_what_markup_makes_of_it(value: object) -> None:
    shape = '<b title="{}" width="100%">{}</b>'
    assert Shape(shape)(value, value) == Markup(shape).format(value, value)


def test_markup_stays_as_it_is() -> None:
    piece = Shape("<p>{}{}</p>")(Markup("<b>x</b>"), "<")
    assert piece == Markup("<p><b>x</b>&lt;</p>")
    assert isinstance(piece, Markup)


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c")])
def test_a_wrong_number_of_values_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        Shape("{}{}")(*values)

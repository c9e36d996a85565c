"""The API's own description."""

from typing import Any

from flask import current_app
from pydantic import RootModel

from app.web.openapi import operation
from app.web.openapi_document import build_document


class DocumentResource(RootModel[dict[str, Any]]):
    """An OpenAPI 3.1 document."""


@operation(summary="Describe the API", answers={200: DocumentResource})
def show_document() -> DocumentResource:
    """This document."""
    return DocumentResource(build_document(current_app))

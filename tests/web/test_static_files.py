"""Static files: kept by browsers, compressed, and only those of the folder."""

import gzip

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from app.paths import STATIC

SHEET = "css/app.css"


def address(client: FlaskClient) -> str:
    with client.application.test_request_context():
        return url_for("static", filename=SHEET)


def test_address_names_the_content_and_may_be_kept_for_ever(client: FlaskClient) -> None:
    answer = client.get(address(client), buffered=True)
    assert "?v=" in address(client)
    assert "immutable" in answer.headers["Cache-Control"]
    assert (
        "immutable"
        not in client.get(f"/static/{SHEET}?v=old", buffered=True).headers["Cache-Control"]
    )


def test_compressed_file_says_the_same(client: FlaskClient) -> None:
    answer = client.get(address(client), headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == (STATIC / SHEET).read_bytes()
    assert len(answer.data) * 3 < (STATIC / SHEET).stat().st_size


def test_known_file_is_not_sent_again(client: FlaskClient) -> None:
    headers = {"Accept-Encoding": "gzip"}
    tag = client.get(address(client), headers=headers).headers["ETag"]
    again = client.get(address(client), headers=headers | {"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["../pyproject.toml", "%2e%2e/pyproject.toml", "nope.css", "css"])
def test_nothing_outside_the_folder_is_served(app: Flask, path: str) -> None:
    assert app.test_client().get(f"/static/{path}").status_code == 404

"""Static files: kept by browsers, compressed, and only those of the folder."""

import gzip
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from app.paths import STATIC, TEMPLATES
from app.web import static_files

IMPORT = re.compile(r'from "(\./\w+\.js)"')
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


def module_address(app: Flask, name: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=f"js/{name}")


def test_what_a_module_imports_is_of_its_own_version(client: FlaskClient) -> None:
    address = module_address(client.application, "candles.js")
    seen, wanted = set(), {address}
    while wanted:
        asked = wanted.pop()
        answer = client.get(asked, buffered=True)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        seen.add(asked)
        wanted |= {urljoin(asked, name) for name in IMPORT.findall(answer.text)} - seen
    assert len(seen) > 5
    assert {name.rpartition("/")[0] for name in seen} == {address.rpartition("/")[0]}


def test_a_module_that_changes_gives_all_modules_another_address(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "js").mkdir(parents=True)
    for name in ("one.js", "two.js"):
        (folder / "js" / name).write_text("export const x = 1;")
    app = Flask("modules", static_folder=None)
    static_files.init_app(app, folder)
    before = module_address(app, "one.js")
    (folder / "js" / "two.js").write_text("export const x = 22;")
    after = module_address(app, "one.js")
    assert before != after
    with app.test_client() as client:
        old, new = (client.get(address, buffered=True) for address in (before, after))
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
    assert "immutable" in new.headers["Cache-Control"]
    assert old.data == new.data


def test_an_outdated_module_is_asked_for_again_and_not_sent_again(client: FlaskClient) -> None:
    outdated = f"/static/{'0' * 16}/js/candles.js"
    headers = {"Accept-Encoding": "gzip"}
    answer = client.get(outdated, headers=headers)
    assert answer.headers["Cache-Control"] == "no-cache"
    again = client.get(outdated, headers=headers | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["js/nope.js", "js/../../pyproject.toml", "js", "", "js/"])
def test_a_version_leads_to_nothing_else(client: FlaskClient, name: str) -> None:
    assert client.get(f"/static/{'0' * 16}/{name}").status_code == 404


def test_the_market_page_loads_early_what_its_chart_imports() -> None:
    page = (TEMPLATES / "pages" / "market.html").read_text()
    names = page.split("{% for name in")[1].split("]")[0]
    early = {f"candle_{name}.js" for name in re.findall(r'"(\w+)"', names)}
    assert early == {path.name for path in (STATIC / "js").glob("candle_*.js")}


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

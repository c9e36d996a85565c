"""The browser libraries are put in place only when they are the ones that were chosen."""

import json
from pathlib import Path

import pytest

from app.assets import (
    AssetError,
    Manifest,
    accept_assets,
    are_in_place,
    copy_assets,
    integrity,
    load_manifest,
)

CODE = b"let chart = 1;"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "node_modules"
    (folder / "chart").mkdir(parents=True)
    (folder / "chart" / "chart.js").write_bytes(CODE)
    return folder


def manifest(content: bytes) -> Manifest:
    return {"sub/chart.js": {"source": "chart/chart.js", "integrity": integrity(content)}}


def test_integrity_is_written_as_browsers_expect_it() -> None:
    # The SHA-384 of nothing, from FIPS 180-4's reference implementation.
    expected = "sha384-OLBgp1GsljhM2TJ+sbHjaiH9txEUvgdDTAzHv2P24donTt6/529l+9Ua0vFImLlb"
    assert integrity(b"") == expected


def test_chosen_file_is_copied_and_then_found_in_place(modules: Path, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor"
    assert not are_in_place(manifest(CODE), vendor)
    copy_assets(manifest(CODE), modules, vendor)
    assert (vendor / "sub" / "chart.js").read_bytes() == CODE
    assert are_in_place(manifest(CODE), vendor)


def test_other_file_than_the_chosen_one_is_refused(modules: Path, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor"
    with pytest.raises(AssetError, match=r"chart/chart\.js is not the file that was chosen"):
        copy_assets(manifest(b"something else"), modules, vendor)
    assert not vendor.exists()


def test_changed_file_in_place_is_noticed(modules: Path, tmp_path: Path) -> None:
    copy_assets(manifest(CODE), modules, tmp_path)
    (tmp_path / "sub" / "chart.js").write_bytes(b"changed")
    assert not are_in_place(manifest(CODE), tmp_path)


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"npm did not deliver chart/chart\.js"):
        copy_assets(manifest(CODE), tmp_path / "node_modules", tmp_path)


def test_accepting_writes_the_hashes_of_what_was_delivered(modules: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    accept_assets(manifest(b"old"), modules, path)
    assert load_manifest(path) == manifest(CODE)


def test_libraries_are_pinned_exactly_and_without_addresses() -> None:
    root = Path(__file__).parents[1]
    pins = json.loads((root / "package.json").read_text())["dependencies"]
    locked = json.loads((root / "package-lock.json").read_text())["packages"]
    assert all(locked[f"node_modules/{name}"]["version"] == pin for name, pin in pins.items())
    assert not any("resolved" in entry for entry in locked.values())

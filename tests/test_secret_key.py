"""The key that signs sessions: given, or made once for all processes of an installation."""

import stat
import threading
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.secret_key import load_secret_key
from app.settings import Settings


def settings(folder: Path, **values: str) -> Settings:
    """Settings with this instance folder."""
    return Settings(instance_path=folder, **values)  # type: ignore[arg-type]


def test_a_given_key_is_taken_and_nothing_is_written(tmp_path: Path) -> None:
    assert load_secret_key(settings(tmp_path / "i", secret_key="k" * 32)) == "k" * 32
    assert not (tmp_path / "i").exists()


def test_a_key_is_made_once_and_kept_for_the_owner_only(tmp_path: Path) -> None:
    key = load_secret_key(settings(tmp_path / "deep" / "er"))
    assert len(key) == 64
    assert load_secret_key(settings(tmp_path / "deep" / "er")) == key
    path = tmp_path / "deep" / "er" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    assert load_secret_key(settings(tmp_path / "a")) != load_secret_key(settings(tmp_path / "b"))


def test_many_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[str] = []
    gate = threading.Barrier(12)

    def start() -> None:
        gate.wait()
        keys.append(load_secret_key(settings(tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 12
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff\xfe" * 20])
def test_a_spoilt_key_file_is_told_with_its_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret_key").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_secret_key(settings(tmp_path))
    (problem,) = caught.value.problems
    assert "SECRET_KEY" in problem
    assert str(tmp_path) in problem


def test_a_folder_that_cannot_be_made_is_told_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="INSTANCE_PATH"):
        load_secret_key(settings(tmp_path / "file"))

"""The shell's commands about settings, run as a shell would."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli_settings import check_settings_command, write_settings_docs_command
from app.settings_report import BEGIN, END


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_check_settings_prints_the_table_and_warnings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9123\nINGESTION_MARKET=SPX\n")
    result = CliRunner().invoke(check_settings_command, env={"PORT": None})
    assert result.exit_code == 0
    port = next(line for line in result.stdout.splitlines() if line.startswith("PORT "))
    assert port.split() == ["PORT", "9123", ".env"]
    assert "Warning: INGESTION_MARKET is not a setting of Tapedeck" in result.stderr


def test_check_settings_tells_every_problem_and_exits_with_two() -> None:
    environment = {"PORT": "abc", "DATABASE_URL": "mysql://u:hunter2@h/d"}
    result = CliRunner().invoke(check_settings_command, env=environment)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == "2 settings are wrong:"
    assert "  PORT is 'abc', but must be 1 to 65535." in result.stderr.splitlines()
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_the_documents_are_written_into_the_folder_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "settings.md").write_text(f"{BEGIN}\n{END}\n")
    result = CliRunner().invoke(write_settings_docs_command, ["--folder", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "| `PORT` | `8000` |" in (tmp_path / "docs" / "settings.md").read_text("utf-8")
    assert "# PORT=8000" in (tmp_path / ".env.example").read_text("utf-8")


@pytest.mark.parametrize("command", [check_settings_command, write_settings_docs_command])
def test_each_command_explains_itself(command: object) -> None:
    assert CliRunner().invoke(command, ["--help"]).exit_code == 0  # type: ignore[arg-type]

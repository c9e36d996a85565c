"""The settings of the provider `files`, all of which begin with `FILES_`."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from app.providers.files_copy import MEGABYTE
from app.settings import ProviderSettings, variable


class FilesSettings(ProviderSettings):
    """Which folder is read, and what a file in it may be like."""

    model_config = SettingsConfigDict(env_prefix="FILES_")

    folder: Path = variable(
        Path("files"),
        "Folder that files are read from; those in its subfolders are not.",
        "a folder",
    )
    max_mb: int = variable(
        256, "A file that is larger, counted unpacked, is not read.", "1 to 4096", ge=1, le=4096
    )
    max_rows: int = variable(
        1_000_000, "A file with more rows is not read.", "1 to 20000000", ge=1, le=20_000_000
    )
    allow_open_end: bool = variable(
        False,
        "Whether the last line of a CSV file may lack its end, as in exports of Yahoo. If not, "
        "such a file counts as still being written; of a packed one it is always known.",
        "true or false",
    )

    @property
    def max_bytes(self) -> int:
        """The most bytes that a file may have, unpacked."""
        return self.max_mb * MEGABYTE

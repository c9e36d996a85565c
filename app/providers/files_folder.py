"""Which files a folder holds, and which rows of them belong to which market."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial

from app.errors import PermanentProviderError, TransientProviderError
from app.providers.files_cache import tables
from app.providers.files_copy import Check, FileTrouble, copy_file, identify, peek_file
from app.providers.files_layout import find_layout
from app.providers.files_settings import FilesSettings
from app.providers.files_table import Series, Table, read_table
from app.providers.files_values import key_of, loose_key, read_interval

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
LONGEST_NAME = 200
_INTERVAL = re.compile(r"(.+)[-_]([0-9A-Za-z]{1,8})")
_DATED = re.compile(r"(?<=.)[-_](?:\d{4}(?:-\d\d(?:-\d\d)?)?|\d{8})$")


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one market: those of a symbol in a file, or (None) all of a file."""

    name: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """One series with the table that it is part of."""

    table: Table
    series: Series


def split_name(name: str) -> tuple[str, timedelta | None]:
    """The market that a file's name tells, and its step: `BTC-USD_1h_2026-11.csv.gz`."""
    stem = name.removesuffix(".gz")
    stem = stem[: stem.rindex(".")]
    step = None
    while True:
        shorter = _DATED.sub("", stem)
        interval = _INTERVAL.fullmatch(stem) if shorter == stem and step is None else None
        if interval:
            shorter, step = interval[1], read_interval(interval[2])
        if shorter == stem or (interval and step is None):
            return key_of(stem), step
        stem = shorter


def is_data_file(name: str) -> bool:
    """True for the endings that are read; a name that begins with a dot is none."""
    ending = name.lower().removesuffix(".gz")
    fits = ending.endswith(ENDINGS) and not name.startswith(".")
    return fits and name.isprintable() and len(name) <= LONGEST_NAME


class Folder:
    """The folder as one run finds it; files are read when their markets are asked for."""

    def __init__(self, settings: FilesSettings, check: Check) -> None:
        self._settings = settings
        self._check = check
        self._path = settings.folder
        self.unreadable: dict[str, str] = {}

    @cached_property
    def names(self) -> Sequence[str]:
        """The data files in the order of their names; raises `ProviderError`."""
        try:
            with os.scandir(self._path) as entries:
                return sorted(
                    each.name
                    for each in entries
                    if is_data_file(each.name) and not each.is_dir(follow_symlinks=False)
                )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise PermanentProviderError(
                f"FILES_FOLDER is {self._path}, which cannot be read: {error.strerror}."
            ) from error
        except OSError as error:
            raise TransientProviderError(
                f"The folder {self._path} cannot be read now: {error.strerror}."
            ) from error

    @cached_property
    def sources(self) -> Mapping[str, Sequence[Source]]:
        """By the key of each market, where its rows are."""
        found: dict[str, list[Source]] = defaultdict(list)
        for name in self.names:
            self._check()
            for key, source in self._sources_of(name):
                found[key].append(source)
        return found

    def find(self, provider_id: str) -> Sequence[Source]:
        """Where the rows of a listing are: its id is a file's name, or a market's key."""
        if provider_id in self.names:
            return [Source(provider_id)]
        return self.sources.get(key_of(provider_id), ())

    def keys_like(self, symbol: str) -> Sequence[str]:
        """The keys that a symbol may mean: its own, else those that differ in separators only."""
        key = key_of(symbol)
        if key in self.sources:
            return [key]
        loose = loose_key(key)
        return sorted(each for each in self.sources if loose_key(each) == loose)

    def rows_of(self, source: Source) -> Sequence[Rows]:
        """The series of a source; raises `FileTrouble`."""
        table = self._table(source.name)
        symbols = {series.symbol for series in table.series}
        if source.symbol is None and len(symbols) > 1:
            raise FileTrouble(
                f"{source.name} holds {len(symbols)} markets ({', '.join(sorted(symbols)[:5])}); "
                "pin one of them instead of the file."
            )
        chosen = [each for each in table.series if source.symbol in (None, each.symbol)]
        for series in chosen:
            if series.trouble:
                raise FileTrouble(series.trouble)
        return [Rows(table, series) for series in chosen]

    def _sources_of(self, name: str) -> list[tuple[str, Source]]:
        """The markets of a file: those of its symbol column, else the one in its name."""
        try:
            if not find_layout(name, peek_file(self._path, name)).has_symbols:
                return [(split_name(name)[0], Source(name))]
        except FileTrouble:
            # Whoever asks for the market that its name tells is told why.
            return [(split_name(name)[0], Source(name))]
        try:
            symbols = {series.symbol for series in self._table(name).series}
        except FileTrouble as error:
            self.unreadable[name] = str(error)
            return []
        return [(symbol, Source(name, symbol)) for symbol in sorted(symbols)]

    def _table(self, name: str) -> Table:
        settings = self._settings
        limits = (settings.max_mb, settings.max_rows, settings.allow_open_end)
        key = (self._path.absolute(), name, *limits)
        return tables.get(key, identify(self._path, name), partial(self._read, name))

    def _read(self, name: str) -> Table:
        copy = copy_file(self._path, name, most_bytes=self._settings.max_bytes, check=self._check)
        return read_table(
            copy,
            tag=split_name(name)[1],
            most_rows=self._settings.max_rows,
            allow_open_end=self._settings.allow_open_end,
            check=self._check,
        )

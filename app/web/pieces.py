"""The rendered pieces of the overview, kept by the state of data and runs that they show.

A piece is drawn by its fragment's template from what a service reads, and holds nothing personal:
no form token, no session. Its ages grow old, so it is kept for a few seconds only.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flask import render_template
from markupsafe import Markup

from app.cache import Entry, Scalar, key, lifetime_seconds, read_through
from app.extensions import db
from app.services.data_version import Versions
from app.services.markets import load_latest_snapshots
from app.services.overview import load_overview
from app.services.views import Overview
from app.web.addresses import SnapshotQuery
from app.web.house import house

# What is looked at in one go; the rest is a search, an order or a page away.
SNAPSHOTS_A_PAGE = 25


class OverviewPieces:
    """The pieces for one request; what several of them need is read once."""

    def __init__(self, query: SnapshotQuery | None = None) -> None:
        self._query = query or SnapshotQuery()
        # No cached_property: before Python 3.12 all its instances wait for each other.
        self._versions: Versions | None = None
        self._loaded: Overview | None = None

    @property
    def versions(self) -> Versions:
        """The state of data and runs at the beginning of the request."""
        if self._versions is None:
            self._versions = house().data_version.read_all()
        return self._versions

    @property
    def _overview(self) -> Overview:
        if self._loaded is None:
            self._loaded = load_overview(db.session, house())
        return self._loaded

    def state(self) -> Markup:
        """Is the data good now, and why not."""
        generation = f"{self.versions.data}.{self.versions.runs}"
        return _kept(
            "fragments/_state.html",
            generation,
            {"cache": house().cache_state().mode},
            lambda: {"overview": self._overview},
        )

    def recent_runs(self) -> Markup:
        """The strip and list of recent runs."""
        template = "fragments/_recent_runs.html"
        return _kept(template, self.versions.runs, {}, lambda: {"overview": self._overview})

    def snapshots(self) -> Markup:
        """One page of the latest snapshots."""
        query = self._query
        parts = {"search": query.search, "sort": query.sort, "cursor": query.cursor}
        return _kept("fragments/_snapshots.html", self.versions.data, parts, self._load_snapshots)

    def _load_snapshots(self) -> dict[str, Any]:
        query = self._query
        rows = load_latest_snapshots(
            db.session,
            provider=house().settings.ingestion_provider,
            search=query.search,
            sort=query.sort,
            cursor=query.cursor,
            limit=SNAPSHOTS_A_PAGE,
        )
        return {"snapshots": rows, "query": query}


def _kept(
    template: str,
    generation: str,
    parts: Mapping[str, Scalar],
    load: Callable[[], Mapping[str, Any]],
) -> Markup:
    """The piece of `template` at `generation`, drawn now or a moment ago."""
    named = key(Entry.OVERVIEW, generation=generation, template=template, **parts)
    ttl = lifetime_seconds(Entry.OVERVIEW, ttl_seconds=house().settings.cache_ttl_seconds)
    # Jinja escaped every value when it drew the piece.
    return Markup(  # noqa: S704
        read_through(named, ttl_seconds=ttl, build=lambda: str(render_template(template, **load())))
    )

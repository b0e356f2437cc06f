"""rsd, an engine for roadside remote-sensing emission records.

The public interface; everything is imported when it is first used.

>>> import rsd
>>> lake = rsd.Lake.open("lake")  # doctest: +SKIP
>>> rsd.run(lake, ["dumps/"]).totals()  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from rsd.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from rsd.lake import Lake
    from rsd.pipeline.as_of import open_at
    from rsd.pipeline.difference import difference
    from rsd.pipeline.explain import explain
    from rsd.pipeline.ingest import ingest
    from rsd.pipeline.inspections import add_inspections
    from rsd.pipeline.nightly import find_all, run
    from rsd.pipeline.reading import aggregate, export_list, quarantine, query
    from rsd.pipeline.setup import init_lake
    from rsd.pipeline.summary import RunSummary
    from rsd.synthetic import simulate

__all__ = [
    "Lake", "RunSummary", "__version__", "add_inspections", "aggregate", "difference", "explain",
    "export_list", "find_all", "ingest", "init_lake", "open_at", "quarantine", "query", "run",
    "simulate",
]  # fmt: skip

_HOME = {
    "add_inspections": "rsd.pipeline.inspections", "difference": "rsd.pipeline.difference",
    "Lake": "rsd.lake", "RunSummary": "rsd.pipeline.summary", "aggregate": "rsd.pipeline.reading",
    "explain": "rsd.pipeline.explain", "export_list": "rsd.pipeline.reading",
    "find_all": "rsd.pipeline.nightly", "ingest": "rsd.pipeline.ingest",
    "init_lake": "rsd.pipeline.setup", "open_at": "rsd.pipeline.as_of",
    "quarantine": "rsd.pipeline.reading", "query": "rsd.pipeline.reading",
    "run": "rsd.pipeline.nightly", "simulate": "rsd.synthetic",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'rsd' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

"""Law, settings and lists of before: whole, all there, and what they were when last looked at."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsd.errors import RsdError
from rsd.keeping.problem import ERROR, RESTORE, WARNING, Problem
from rsd.lake import Lake
from rsd.pipeline import kept
from rsd.pipeline.nightly import regulations_of

_HASH = re.compile(r"[0-9a-f]{64}")


def check(lake: Lake, visits: list[dict[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong; ``visits`` are the details of what the doctor wrote down before."""
    yield from _changed(lake)
    wanted: dict[Path, str] = {}
    for file in kept.state_files(lake):
        try:
            state = kept.state_of(file)
        except RsdError as error:
            yield Problem(ERROR, None, str(file), f"{error.what}: {error.found}",
                          "what stood from that instant on", RESTORE)
            continue
        wanted |= dict.fromkeys(kept.texts_of(lake, state), "what stood once")
    judged = lake.table("findings").scan().select("regulation_id", "regulation_sha256").unique()
    for name, sha256 in judged.drop_nulls().collect().iter_rows():
        wanted.setdefault(kept.law_folder(lake, sha256) / f"{name}.toml",
                          "the law that findings were made by")
    yield from _missing(lake, wanted)
    yield from _rolled_back(lake, visits)


def head(lake: Lake, number: int | None = None) -> list[Any]:
    """Return how many states were noted, by default all, and a hash over them."""
    files = kept.state_files(lake)[:number]
    digests = [[f.name, hashlib.sha256(f.read_bytes()).hexdigest()] for f in files]
    return [len(files), hashlib.sha256(json.dumps(digests).encode()).hexdigest()]


def _changed(lake: Lake) -> Iterator[Problem]:
    """Find texts that are not what their name, a hash, says."""
    for folder in ("law", "settings"):
        for path in sorted((lake.path / "open" / folder).rglob("*.*")):
            named = path.parent.name if folder == "law" else path.stem
            if path.is_file() and _HASH.fullmatch(named):
                found = hashlib.sha256(path.read_bytes()).hexdigest()
                if found != named:
                    yield Problem(ERROR, None, str(path), f"content {found[:12]}…",
                                  f"{named[:12]}…, as it was kept", RESTORE)


def _missing(lake: Lake, wanted: dict[Path, str]) -> Iterator[Problem]:
    gone = {path: why for path, why in wanted.items() if not path.is_file()}
    if not gone:
        return
    regulations = regulations_of(lake)
    now = {kept.settings_file(lake, kept.settings_hash(lake.configuration)),
           *(kept.law_folder(lake, r.sha256) / f"{r.id}.toml" for r in regulations)}
    for path, why in sorted(gone.items()):
        if path in now:
            yield Problem(WARNING, None, str(path), "missing", f"{why}, and stands today",
                          "Run: rsd doctor --repair", lambda: kept.keep(lake, regulations))
        else:
            yield Problem(ERROR, None, str(path), "missing", why,
                          f"{RESTORE} --as-of that time cannot be answered without it.")


def _rolled_back(lake: Lake, visits: list[dict[str, Any]]) -> Iterator[Problem]:
    """Find that states which an earlier visit saw are gone, or others now."""
    told = [v["states"] for v in visits if isinstance(v.get("states"), list)]
    place = str(lake.path / "open" / "settings")
    for number, digest in told:
        if head(lake, int(number)) != [number, digest]:
            yield Problem(ERROR, None, place, "what is noted of the law and settings of before is "
                          "not what it was", f"the {number} states that an earlier visit saw",
                          RESTORE)
            return
    texts = [p for n in ("law", "settings") for p in (lake.path / "open" / n).rglob("*.toml")]
    if texts and not kept.state_files(lake):
        yield Problem(ERROR, None, place, "nothing says when the kept law and settings stood",
                      "a note from the lake's first day on", RESTORE)

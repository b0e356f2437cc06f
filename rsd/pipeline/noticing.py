"""The notices of a lake: which findings may be told to whom, and what goes with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from rsd.errors import PolicyRefusal, UsageError
from rsd.exports.notices import Letter, choose_font, notices, overview, write_notices
from rsd.exports.safety import BOM, Progress, csv_blocks, printable, storage_error
from rsd.exports.words import words
from rsd.lake import Lake
from rsd.pipeline import as_of, exporting, trail
from rsd.pipeline.reading import findings_of, resolve_vehicle
from rsd.pipeline.staleness import without_stale
from rsd.privacy import is_military_plate_expr, mask_plate_expr
from rsd.review.flow import CURRENT
from rsd.version import VERSION

INDEX = "index.csv"
"""Beside the notices: which file is about which vehicle and cases."""

CONFIRMED = ("confirmed", "notified", "referred", "retested_fail")
"""States of a review whose finding a person has confirmed, and which is not settled."""

UNDECIDED = ("auto_flagged", "pending_review")
_UNDATED = datetime(1980, 1, 1, tzinfo=UTC)  # of an empty table; no file is dated by it
_FOLDER_MODE = 0o700


@dataclass(frozen=True)
class Noticed:
    """What an export of notices came to.

    ``notices`` were written, ``drafts`` of them not reviewed; ``unreviewed`` findings were left
    out because nobody confirmed them, and ``exempt`` vehicles because their plates are military.
    """

    notices: int
    drafts: int
    unreviewed: int
    exempt: int


def export_notices(lake: Lake, folder: Path, *, regulations: Sequence[str] = (),
                   vehicle: str | None = None, language: str | None = None,
                   font: Path | None = None, show_plates: bool = False, unreviewed: bool = False,
                   reason: str | None = None, progress: Progress | None = None) -> Noticed:
    """Write a PDF a vehicle into a new folder, with an index of them.

    Only findings that a person has confirmed, by some ``regulations`` or of one ``vehicle`` where
    these are named. With ``unreviewed`` those that nobody decided upon too: such a notice is
    marked as a draft on every page. Plates are masked unless ``show_plates``. The export is
    audited, with the ``reason``, before the folder appears; it appears whole or not at all, and
    the same state of the lake gives the same bytes.

    Raises:
        PolicyRefusal: no right to read ``restricted/``; nothing is confirmed; no reason where the
            lake wants one; the findings are not those of the passes.
        UsageError: the folder is not empty; no such regulation, vehicle or language; no font.
        StorageError: the disk.
    """
    spoken = words(exporting.language_of(lake, language))
    _refuse_occupied(folder)
    if not lake.may_read_restricted:
        raise PolicyRefusal("notices need the reviews, which this user may not read",
                            where=str(lake.path / "restricted"), found="no right to read it",
                            remedy="Ask who holds the right.")
    if show_plates:
        trail.require_reason(lake, reason)
    view = as_of.now(lake)
    ids = None if vehicle is None else resolve_vehicle(view, vehicle, reason=reason)
    listed = exporting.chosen(findings_of(view), regulations, view.regulations)
    if ids is not None:
        listed = listed.filter(pl.col("vehicle_id").is_in(ids))
    listed = listed.filter(pl.col("kind") != "clean")
    if ids is not None and listed.is_empty():
        raise UsageError("nothing to tell about this vehicle", found="no finding",
                         remedy="Take a vehicle of the list: rsd export findings LAKE -o FILE")
    told = exporting.detailed(view, without_stale(view, listed), show_plates=show_plates)
    told, exempt = _with_plates(view, told, show_plates)
    kept, left = _permitted(told, unreviewed)
    made = as_of.provenance(view, command="export notices", plates=show_plates)
    made_at = datetime.fromisoformat(made["created_at"]) if "created_at" in made else _UNDATED
    letter = Letter(spoken, str(view.settings["notice_authority"]),
                    str(view.settings["notice_address"]), view.timezone, made_at,
                    {"version": VERSION, "findings": str(made["tables"].get("findings")),
                     "passes": str(made["tables"].get("passes"))})
    seen = overview(notices(kept, letter))
    named = font or (Path(text) if (text := str(view.settings["notice_font"])) else None)
    chosen = choose_font(seen.characters, named)
    as_of.keep_law(view)
    trail.record(view, "export notices", {
        "folder": folder.name, "rows": kept.height, "notices": seen.index.height,
        "plates": show_plates, "plates_shown": seen.index["plate"].count() if show_plates else 0,
        "unreviewed": unreviewed, "findings_version": view.table("findings").version(),
    }, reason=reason)
    with _appearing(folder) as room:
        write_notices(notices(kept, letter), room, chosen, made_at, seen.index.height, progress)
        with (room / INDEX).open("wb") as file:
            file.write(BOM)
            file.writelines(csv_blocks(seen.index))
    return Noticed(seen.index.height, int(seen.index["is_draft"].sum()), left, exempt)


def _permitted(told: pl.DataFrame, unreviewed: bool) -> tuple[pl.DataFrame, int]:
    """Return the findings that notices may be about, and how many wait for a person.

    Raises PolicyRefusal where findings wait and none may be told.
    """
    stands = pl.col("review_standing") == CURRENT
    confirmed = (pl.col("review_state").is_in(CONFIRMED) & stands).fill_null(value=False)
    waiting = (~confirmed & (pl.col("review_state").is_in(UNDECIDED) | ~stands)).fill_null(True)
    marked = told.with_columns(confirmed.alias("is_confirmed"), waiting.alias("_waiting"))
    kept = marked.filter(pl.col("is_confirmed") | (pl.col("_waiting") & pl.lit(unreviewed)))
    left = 0 if unreviewed else int(marked["_waiting"].sum())
    if kept.is_empty() and left:
        raise PolicyRefusal(
            "no finding is confirmed, and a machine's verdict is never final",
            found=f"{left} findings that nobody has confirmed",
            remedy="Review them: rsd review list LAKE, then rsd review confirm. For drafts that "
            "are marked on every page: --unreviewed.")
    return kept.drop("_waiting"), left


def _with_plates(lake: Lake, told: pl.DataFrame, show_plates: bool) -> tuple[pl.DataFrame, int]:
    """Add plates, masked unless shown, without vehicles whose plates are exempt; count these."""
    plate = pl.col("plate") if show_plates else mask_plate_expr("plate")
    known = lake.table("vehicles").scan().select(
        "vehicle_id", plate, is_military_plate_expr("plate").alias("_exempt")).collect()
    joined = told.join(known.unique("vehicle_id", keep="first", maintain_order=True),
                       on="vehicle_id", how="left", maintain_order="left")
    is_exempt = pl.col("_exempt").fill_null(value=False)
    exempt = joined.filter(is_exempt)["vehicle_id"].n_unique()
    return joined.filter(~is_exempt).drop("_exempt"), exempt


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("the folder of the notices is taken", where=printable(str(folder)),
                         expected="a new or empty folder", remedy="Name another: old notices "
                         "among new ones would be served again.")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a private folder beside ``folder``; it takes that name once all in it is on the disk."""
    target = folder.resolve()
    try:
        with TemporaryDirectory(prefix=".rsd-", dir=target.parent) as room:
            inner = Path(room) / "notices"
            inner.mkdir(mode=_FOLDER_MODE)
            yield inner
            for path in sorted(inner.iterdir()):
                _sync(path)
            os.replace(inner, target)
            _sync(target.parent)
    except OSError as error:
        raise storage_error(str(folder), error) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Notices: one PDF a vehicle, set by typst from data alone.

The template `notice.typ` is fixed; what it shows comes to it as JSON, so that no text of a dump is
ever markup. Texts go through `printable` first: no control or direction mark reaches the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from rsd.errors import RsdError, UsageError
from rsd.exports import fonts
from rsd.exports.evidence import PLACES
from rsd.exports.fonts import Font
from rsd.exports.safety import Progress, printable
from rsd.exports.words import Words

TEMPLATE = Path(__file__).with_name("notice.typ")

_SHOWN_OF_HASH = 16  # characters of a hash that a reader compares
_LONGEST = 400  # characters of one text
_CELL, _FRAME, _LINE = 32, 44, 60  # characters that fit side by side into a place of the page
_DIGITS = 5  # of what is told beside the value
_TEMPLATE_WORDS = ("draft_mark", "draft_note", "subtitle", "vehicle", "introduction", "page",
                   "what_to_do")


@dataclass(frozen=True)
class Letter:
    """What all notices of one export share.

    ``authority``, ``address``: the letterhead. ``made_at``: when the findings were made; it dates
    the files, so that the same lake gives the same bytes. ``provenance``: facts for the last line.
    ``plates``: shown or masked, as the column ``plate`` has them.
    """

    words: Words
    authority: str
    address: str
    timezone: str
    made_at: datetime
    provenance: Mapping[str, str]


def notices(findings: pl.DataFrame, letter: Letter) -> Iterator[dict[str, Any]]:
    """Yield what each notice says: a vehicle each, in the order of their ids.

    ``findings``: the columns of FINDINGS, with evidence and ``plate``, ``finding_id``,
    ``review_due``, ``is_confirmed``. A notice with a finding that is not confirmed is a draft.
    """
    ordered = findings.sort("vehicle_id", "found_at", "pollutant", "regulation_id")
    for (vehicle,), rows in ordered.group_by("vehicle_id", maintain_order=True):
        told = [_clean(row) for row in rows.iter_rows(named=True)]
        yield _notice(str(vehicle), told, letter)


@dataclass(frozen=True)
class Overview:
    """What is known of some notices before they are written: every character, and their index."""

    characters: frozenset[str]
    index: pl.DataFrame


def overview(documents: Iterable[Mapping[str, Any]]) -> Overview:
    """Return what some notices show and are about; they are looked at one by one."""
    seen = set("0123456789/.")
    rows = []
    for document in documents:
        seen |= _characters(document)
        vehicle = str(document["vehicle_id"])
        rows.append((file_name(vehicle), vehicle, document["plate"], ";".join(document["cases"]),
                     document["draft"]))
    return Overview(frozenset(seen), pl.DataFrame(
        rows, orient="row", schema={"file": pl.String, "vehicle_id": pl.String, "plate": pl.String,
                                    "cases": pl.String, "is_draft": pl.Boolean}))


def file_name(vehicle_id: str) -> str:
    """Return the name of a vehicle's notice: its pseudonym, never its plate."""
    return f"notice-{re.sub(r'[^A-Za-z0-9._-]', '_', vehicle_id)}.pdf"


def write_notices(documents: Iterable[Mapping[str, Any]], folder: Path, font: Font,
                  made_at: datetime, total: int, progress: Progress | None = None) -> None:
    """Write the PDF of each notice into ``folder``; ``total`` is for the progress.

    Raises:
        UsageError: typst is not installed.
        RsdError: typst could not set a notice.
        OSError: of the disk.
    """
    typst = _typst()
    template = TEMPLATE.read_bytes()
    with TemporaryDirectory(prefix="rsd-font-") as room:
        if font.path is not None:  # typst takes folders of fonts: one with this font alone
            (Path(room) / f"font{font.path.suffix}").symlink_to(font.path.resolve())
        known = typst.Fonts(include_system_fonts=False, include_embedded_fonts=font.path is None,
                            font_paths=[room])
        compiler = typst.Compiler(font_paths=known, root=room)
        for number, document in enumerate(documents, 1):
            data = json.dumps({**document, "font": font.family}, ensure_ascii=False).encode()
            try:
                page = compiler.compile({"main.typ": template, "notice.json": data}, format="pdf",
                                        timestamp=made_at.replace(microsecond=0))
            except typst.TypstError as error:
                raise RsdError("a notice could not be set", where=str(document["vehicle_id"]),
                               found=printable(str(error.message))) from None
            (folder / file_name(str(document["vehicle_id"]))).write_bytes(page)
            if progress is not None:
                progress(number, total)


def _typst() -> Any:
    try:
        import typst
    except ImportError:
        raise UsageError("notices need the package typst", found="not installed",
                         remedy='Run: pip install "rsd-engine[notices]"') from None
    return typst


def choose_font(characters: frozenset[str], wanted: Path | None) -> Font:
    """Return a font for notices; errors as `rsd.exports.fonts.choose`."""
    _typst()
    return fonts.choose(characters, wanted)


def _characters(value: Any) -> set[str]:
    """Return all characters of the texts inside a value of JSON."""
    if isinstance(value, str):
        return set(value)
    inner = value.values() if isinstance(value, Mapping) else value
    is_nest = isinstance(value, (Mapping, list, tuple))
    return set().union(*map(_characters, inner)) if is_nest else set()


def _breakable(text: str, length: int) -> str:
    """Return a text with a line end inside each word that is too long for its place."""
    return re.sub(rf"(\S{{{length}}})(?=\S)", r"\1\n", text)


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with every text made printable, and cut visibly where it fills a page."""
    def clean(value: Any) -> Any:
        if isinstance(value, str):
            short = printable(value[:2 * _LONGEST])
            return short if len(short) <= _LONGEST else f"{short[:_LONGEST]} …"
        return [clean(part) for part in value] if isinstance(value, list) else value

    return {name: clean(value) for name, value in row.items()}


def _notice(vehicle: str, rows: list[dict[str, Any]], letter: Letter) -> dict[str, Any]:
    words, last = letter.words, rows[-1]
    unknown = words.text("unknown")
    draft = not all(row["is_confirmed"] for row in rows)
    due = min((row["review_due"] for row in rows if row["review_due"]), default=None)
    when = words.text("due", date=due.isoformat()) if due else words.text("no_due")
    head = [(words.text("to"), words.text("addressee")),
            (words.text("date"), _local_date(letter)),
            (words.text("case_number"), ", ".join(row["finding_id"] for row in rows))]
    about = [(words.text(name), words.value(name, str(last[name])).replace("_", " ")
              if last[name] is not None else unknown)
             for name in ("plate", "plate_color", "vehicle_class", "fuel", "emission_stage")]
    return {
        "vehicle_id": vehicle, "lang": words.language, "title": words.text("title"),
        "authority": printable(letter.authority) or words.text("authority_missing"),
        "address": printable(letter.address), "draft": draft,
        "words": {key: words.text(key) for key in _TEMPLATE_WORDS},
        "head": [(what, _breakable(told, _LINE)) for what, told in head],
        "vehicle": [(what, _breakable(told, _LINE))
                    for what, told in (*about, (words.text("vehicle_id"), vehicle))],
        "findings": [_finding(row, number, len(rows), letter)
                     for number, row in enumerate(rows, 1)],
        "todo": [f"{words.text('do_repair')} ({when})", f"{words.text('do_retest')} ({when})",
                 words.text("do_object")],
        "provenance": words.text("provenance", **_provenance(rows, letter)),
        "plate": last["plate"], "cases": [row["finding_id"] for row in rows],
    }


def _provenance(rows: list[dict[str, Any]], letter: Letter) -> dict[str, str]:
    law = {row["regulation_id"]: row["regulation_sha256"] for row in rows}
    return {**letter.provenance, "regulations": "; ".join(
        f"{name} {(sha256 or '')[:_SHOWN_OF_HASH]}" for name, sha256 in law.items())}


def _local_date(letter: Letter) -> str:
    from zoneinfo import ZoneInfo

    return letter.made_at.astimezone(ZoneInfo(letter.timezone)).date().isoformat()


def _finding(row: dict[str, Any], number: int, total: int, letter: Letter) -> dict[str, Any]:
    words = letter.words
    places = [place for place in PLACES if row[f"{place}_record_id"] is not None]
    told = [_reading(row, place, letter) for place in places]
    labels = list(told[0]) if told else []
    key = "verified" if row["is_verified"] else "unverified"
    remarks = [f"{words.text('verification')}{words.text('colon')}{words.text(key)}"]
    if row["evidence_missing"]:
        items = "; ".join(words.missing(code) for code in row["evidence_missing"])
        remarks.append(words.text("missing", items=items))
    return {
        "heading": words.text("finding", number=number, total=total),
        "facts": [
            (words.text("pollutant"), words.value("pollutant_name", row["pollutant"])),
            (words.text("kind"), words.value("kind_name", row["kind"])),
            (words.text("limit"), _amount(row["limit"], row["unit"], words)),
            (words.text("regulation"), _breakable(row["regulation_id"], _LINE)),
            (words.text("clause"), _breakable(row["clause"] or words.text("unknown"), _LINE)),
        ],
        "columns": len(places), "labels": labels,
        "readings": [[_breakable(reading[label], _CELL) for reading in told] for label in labels],
        "remarks": remarks,
        "photos": [_photo(row, place, words) for place in places],
    }


def _reading(row: dict[str, Any], place: str, letter: Letter) -> dict[str, str]:
    """Return what one record of proof says, label by label."""
    words, unknown = letter.words, letter.words.text("unknown")

    def of(name: str) -> Any:
        return row[f"{place}_{name}"]

    def several(*amounts: tuple[str, str]) -> str:
        return ", ".join(_amount(of(name), unit, words, digits=_DIGITS)
                         for name, unit in amounts)

    def listed(*values: Any) -> str:
        return ", ".join(str(value) for value in values if value is not None) or unknown

    local, checked = of("measured_local"), of("device_checked_at")
    when = f"{local.isoformat(sep=' ', timespec='seconds')} ({letter.timezone})" if local else (
        f"{of('measured_at').isoformat(sep=' ', timespec='seconds')}")
    check = listed(checked.isoformat(sep=" ", timespec="minutes") if checked else None,
                   of("device_check"))
    weather = (("air_temperature_c", "°C"), ("relative_humidity_pct", "% RH"),
               ("pressure_kpa", "kPa"), ("wind_speed_m_s", "m/s"))
    return {
        words.text("reading"): words.value("place", place),
        words.text("time"): when,
        words.text("place"): listed(of("site_name")),
        words.text("instrument"): listed(of("site_id"), of("line_id")),
        words.text("value"): _amount(of("value"), row["unit"], words),
        words.text("limit"): _amount(of("limit"), row["unit"], words),
        words.text("excess"): _amount(of("excess_ratio"), "", words, digits=_DIGITS),
        words.text("checks"): _checks(of("is_valid"), of("is_valid_pollutant"), of("reasons"),
                                      words),
        words.text("speed"): several(("speed_km_h", "km/h"), ("acceleration_m_s2", "m/s²")),
        words.text("power"): several(("vsp_device_kw_t", "kW/t"), ("vsp_kw_t", "kW/t")),
        words.text("weather"): several(*weather),
        words.text("confidence"): _amount(of("plate_confidence_pct"), "%", words),
        words.text("last_check"): check,
        words.text("source"): words.text(
            "source_line", line=listed(of("source_line")), file=listed(of("source_file"))),
        "SHA-256": listed(of("source_sha256")),
    }


def _amount(value: float | None, unit: str | None, words: Words, *, digits: int = 10) -> str:
    """Return a number with its unit; ten digits, so that nothing above a limit looks like it."""
    if value is None:
        return words.text("unknown")
    return f"{value:.{digits}g} {words.value('unit', unit or '')}".rstrip()


def _checks(is_valid: bool | None, is_valid_pollutant: bool | None, reasons: list[str] | None,
            words: Words) -> str:
    told = "; ".join(words.value("reasons", code) for code in reasons or [])
    if is_valid is None or is_valid_pollutant is None:
        return words.text("unknown")
    if not (is_valid and is_valid_pollutant):
        return words.text("checks_invalid", remarks=told or words.text("unknown"))
    return words.text("checks_valid", remarks=told) if told else words.text("checks_passed")


def _photo(row: dict[str, Any], place: str, words: Words) -> tuple[str, str]:
    """Return the frame of a photograph: what belongs there, and its reference."""
    slot = words.text("photo_slot", place=words.value("place", place))
    count, shown = row[f"{place}_n_photos"], row[f"{place}_photos"]
    if shown:
        return slot, _breakable(words.text("photo_reference", reference=", ".join(shown)), _FRAME)
    return slot, words.text("photo_none" if count == 0 else "photo_withheld")

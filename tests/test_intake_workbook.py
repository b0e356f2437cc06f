"""A small workbook is read as the CSV that its sender would have written from it."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time, timedelta
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
from intake_reading import read, read_path
from packing import workbook

from rsd.errors import InputRefused
from rsd.intake import workbook as reading
from rsd.intake.source import beginning, fingerprint, stream_chunks

HEAD: list[object] = ["site_id", "measured_at", "plate", "speed_km_h", "note"]
ROW: list[object] = ["S1", datetime(2024, 5, 1, 10, 0, 5), "闽D12345", 50.0, "x"]


def written(folder: Path, data: bytes, name: str = "dump.xlsx") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def text_of(folder: Path, data: bytes) -> str:
    parts = stream_chunks(fingerprint(written(folder, data)), 64)
    return b"".join(p.data for p in parts).decode("utf-8-sig")


def changed(data: bytes, part: str, old: str, new: str) -> bytes:
    """A workbook with other text in one of its parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as was, zipfile.ZipFile(out, "w") as now:
        for info in was.infolist():
            text = was.read(info)
            if info.filename == part:
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            now.writestr(info, text)
    return out.getvalue()


@pytest.mark.parametrize(("value", "shape", "text"), [
    (7, "General", "7"), (7.0, "General", "7"), (-0.5, "0.00", "-0.5"), (0.1, "General", "0.1"),
    (1 / 3, "0.00", "0.3333333333333333"), (1e-7, "General", "1e-07"), (7, "000", "007"),
    (0.125, "0.0%", "12.5%"), (1, '0"%"', "1"), (123456789012345, "0", "123456789012345"),
    ("007", "General", "007"), ("a,b", "@", '"a,b"'), ('a"b', "@", '"a""b"'),
    ("two\nlines", "@", "two lines"), (" x ", "@", " x "), (True, "General", "TRUE"),
    (None, "General", ""), ("#N/A", "General", "#N/A"),
    (datetime(2024, 5, 1, 10, 0, 5), "yyyy-mm-dd hh:mm:ss", "2024-05-01 10:00:05"),
    (datetime(2024, 5, 1, 10, 0, 5, 250_000), "yyyy-mm-dd hh:mm:ss.000", "2024-05-01 10:00:05.250"),
    (datetime(2024, 5, 1), "yyyy-mm-dd hh:mm", "2024-05-01 00:00:00"),
    (datetime(2024, 5, 1), 'yyyy"年"m"月"d"日"', "2024-05-01"),
    (date(2019, 5, 31), "yyyy/mm/dd", "2019-05-31"), (time(8, 30, 5), "hh:mm:ss", "08:30:05"),
    (timedelta(hours=26, minutes=3), "[hh]:mm:ss", "26:03:00"),
])  # fmt: skip
def test_a_cell_is_the_text_that_csv_has(
        tmp_path: Path, value: object, shape: str, text: str) -> None:
    data = workbook([["site_id", "measured_at"], ["S1", value, "."]], B2=shape)
    assert text_of(tmp_path, data) == f"site_id,measured_at\nS1,{text},.\n"


def test_the_line_of_a_record_is_its_row(tmp_path: Path) -> None:
    bad = [*ROW[:3], "abc"]
    rows = [HEAD, ROW, [], bad, ROW[:4], [*ROW, "one more"], [None] * 5, ROW, [], []]
    account = read_path(written(tmp_path, workbook(rows)))
    assert account.accepted == [2, 5, 8]
    assert account.bad == [(4, "not_a_number", "speed_km_h"), (6, "wrong_field_count", None)]
    assert account.blank == 2  # those at the end are no part of the sheet
    assert account.quarantine["raw"].to_list()[0] == (
        "S1,2024-05-01 10:00:05,闽D12345,abc,".encode())


def test_a_title_above_the_header_is_passed_over_and_said(tmp_path: Path) -> None:
    rows = [["遥感监测数据"], [], HEAD, ROW, [*ROW[:3], "x"]]
    found = fingerprint(written(tmp_path, workbook(rows)))
    assert found.notices == ("the header is row 3 of sheet 'Sheet'; what stands above it was not "
                             "read",)
    account = read_path(found.path, size=64)
    assert account.accepted == [4]
    assert [line for line, *_ in account.bad] == [5]


def test_the_sheet_with_a_known_header_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    data = workbook([["what", "this", "is"]], [], [HEAD, ROW], [HEAD, ROW, ROW])
    found = fingerprint(written(tmp_path, data))
    assert found.notices == ("of 3 filled sheets only 'Sheet2' was read, not 'Sheet', 'Sheet3'",)
    assert read_path(found.path).frame.height == 1
    with pytest.raises(InputRefused, match=r"line 1: the header is of no known format"):
        read(workbook([["what", "this", "is"]], [["a"]]))


def test_formulas_give_what_was_stored_with_them(tmp_path: Path) -> None:
    data = workbook([HEAD[:2], ["S1", "=1+1"]])
    data = changed(data, "xl/worksheets/sheet1.xml", "</f><v />", "</f><v>2.5</v>")
    assert text_of(tmp_path, data) == "site_id,measured_at\nS1,2.5\n"


def test_dates_from_1904(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.active.append(["site_id", "measured_at"])
    book.active.append(["S1", datetime(2024, 5, 1, 8)])
    out = io.BytesIO()
    book.save(out)
    assert text_of(tmp_path, out.getvalue()).splitlines()[1] == "S1,2024-05-01 08:00:00"


def test_a_cell_far_away_costs_nothing(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEAD)
    book.active["A1048576"] = "S1"
    out = io.BytesIO()
    book.save(out)
    account = read_path(written(tmp_path, out.getvalue()))
    assert account.blank == 1048574
    assert account.bad[0][0] == 1048576


@pytest.mark.parametrize(("old", "new", "what"), [
    ('<row r="2"', '<row r="2000000"', "too large"),
    ("<v>50</v>", "<v>1e999</v>", ""), ("<v>50</v>", "<v>fifty</v>", "broken"),
    ("</sheetData>", "", "broken"),
])  # fmt: skip
def test_a_hostile_sheet_is_refused_in_a_sentence(
        tmp_path: Path, old: str, new: str, what: str) -> None:
    data = changed(workbook([HEAD, ROW]), "xl/worksheets/sheet1.xml", old, new)
    path = written(tmp_path, data)
    if not what:
        assert [(line, column) for line, _, column in read_path(path).bad] == [(2, "speed_km_h")]
        return
    with pytest.raises(InputRefused, match=f"the workbook is {what}.*CSV") as caught:
        read_path(path)
    assert str(path) in str(caught.value)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet'
    data = changed(workbook([HEAD, ROW]), "xl/worksheets/sheet1.xml", "<worksheet", entity)
    with pytest.raises(InputRefused, match=r"declares a document type.*sheet1\.xml"):
        fingerprint(written(tmp_path, data))


def test_limits_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = workbook([HEAD, *[ROW] * 50])
    path = written(tmp_path, data)
    for name, value, limit in [("MAX_PACKED_BYTES", len(data) - 1, "at most 0 MiB.*as CSV"),
                               ("MAX_PARTS_BYTES", 100, "256 MiB unpacked"),
                               ("MAX_ROWS", 20, "at most 20 rows"),
                               ("MAX_COLUMNS", 4, "rows of 4 columns")]:
        with monkeypatch.context() as patch:
            patch.setattr(reading, name, value)
            with pytest.raises(InputRefused, match=f"the workbook is too large.*{limit}"):
                read_path(path)
    found = fingerprint(path)
    monkeypatch.setattr(reading, "MAX_PARTS_BYTES", 200_000)
    book = xlsxwriter.Workbook(tmp_path / "long.xlsx")
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEAD)
    for row in range(1, 10):  # one string in many cells
        sheet.write_row(row, 0, ["S1", "2024-05-01 10:00:00", "", "", "x" * 30_000])
    book.close()
    with pytest.raises(InputRefused, match="256 MiB as text"):
        read_path(tmp_path / "long.xlsx")
    assert found.unpacked > len(data)


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    data = workbook([HEAD, ROW])
    part = data.index(b"xl/worksheets/sheet1.xml") + 40
    broken = data[:part] + b"\xff\xff\xff" + data[part + 3:]
    with pytest.raises(InputRefused, match=r"(workbook|archive) is broken"):
        fingerprint(written(tmp_path, broken))
    with pytest.raises(InputRefused, match="archive is broken"):
        fingerprint(written(tmp_path, data[:-30]))
    with pytest.raises(InputRefused, match="the workbook is empty"):
        fingerprint(written(tmp_path, workbook([[]])))
    word = changed(data, "xl/workbook.xml", "", "").replace(b"xl/workbook.xml", b"xl/document.xml")
    with pytest.raises(InputRefused, match="an Office file, but no workbook"):
        fingerprint(written(tmp_path, word))


def test_the_beginning_is_text(tmp_path: Path) -> None:
    found = fingerprint(written(tmp_path, workbook([HEAD, ROW])))
    assert beginning(found, 10).decode("utf-8-sig") == "site_id"

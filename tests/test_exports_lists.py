"""The list of findings: one content in five formats, and nothing in it that acts or leaks."""

import csv
import hashlib
import io
import json
import resource
import tracemalloc
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd.columns import FINDINGS, SITES, VEHICLES, empty, schema
from rsd.errors import StorageError, UsageError
from rsd.exports import lists, xlsx
from rsd.exports.lists import export_findings

CONTRACT = [
    "regulation_id", "kind", "pollutant", "vehicle_id", "plate", "plate_color", "vehicle_class",
    "fuel", "emission_stage", "found_at", "first_record_id", "first_measured_at", "first_value",
    "second_record_id", "second_measured_at", "second_value", "limit", "unit", "exceedances",
    "passes", "road_segment", "clause", "is_verified", "regulation_sha256",
]
SUFFIXES = (".csv", ".xlsx", ".parquet", ".json", ".geojson")
T0 = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
ATTACKS = ["=HYPERLINK(\"http://a.example\")", "+1+1", "@SUM(A1)", "＝1", "\tx", "\rx", "-1",
           "<script>x()</script>", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "00123", "1e5", "TRUE",
           "http://a.example", "{=1+1}", "<r><t>x</t></r>", "_x0041_", "\ufffe", " a ", "'s & <b>"]


def finding(**changes):
    row = {
        "regulation_id": "cn_hj845_2017", "kind": "violation", "pollutant": "opacity",
        "vehicle_id": "v1.a", "plate_color": "yellow", "vehicle_class": "heavy_truck",
        "fuel": "diesel", "emission_stage": 4, "found_at": T0, "first_record_id": "r1",
        "first_measured_at": T0 - timedelta(days=9), "first_value": 41.25,
        "second_record_id": "r2", "second_measured_at": T0, "second_value": 38.5, "limit": 30.0,
        "unit": "%", "exceedances": 2, "passes": 7, "road_segment": "环岛路", "clause": "5.1",
        "is_verified": True, "regulation_sha256": "ab" * 32,
    }
    return row | changes


def findings(*rows):
    return pl.DataFrame(list(rows), schema=schema(FINDINGS))


def vehicles(**plates):
    rows = [{"vehicle_id": key.replace("_", "."), "plate": plate} for key, plate in plates.items()]
    return pl.DataFrame(rows, schema=schema(VEHICLES))


def sites(*rows):
    return pl.DataFrame(list(rows), schema=schema(SITES))


def export(path, frame, **changes):
    options = {"vehicles": None, "sites": None, "show_plates": False, "provenance": {}} | changes
    return export_findings(frame, path, **options)


def read_rows(path):
    """Rows of any of the formats, as texts and numbers."""
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".geojson":
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        return [feature["properties"] for feature in features]
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    sheet = openpyxl.load_workbook(path).worksheets[0]
    head, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV"])
def test_each_format_has_the_contract_s_columns_in_order(tmp_path, suffix):
    path = tmp_path / f"list{suffix}"
    assert export(path, findings(finding(), finding(vehicle_id="v1.b"))) == 2
    rows = read_rows(path.rename(path.with_suffix(suffix.lower())))
    assert [list(row) for row in rows] == [CONTRACT, CONTRACT]
    assert [row["vehicle_id"] for row in rows] == ["v1.a", "v1.b"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_finding_is_a_list_too(tmp_path, suffix):
    path = tmp_path / f"list{suffix}"
    assert export(path, empty(FINDINGS), vehicles=empty(VEHICLES), sites=empty(SITES)) == 0
    assert read_rows(path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_order_is_found_at_vehicle_pollutant(tmp_path, suffix):
    later = T0 + timedelta(microseconds=1)
    rows = [finding(found_at=later, vehicle_id="v1.a"), finding(vehicle_id="v1.b"),
            finding(vehicle_id="v1.a", pollutant="opacity"),
            finding(vehicle_id="v1.a", pollutant="no")]
    path = tmp_path / f"list{suffix}"
    export(path, findings(*rows))
    found = [(row["vehicle_id"], row["pollutant"]) for row in read_rows(path)]
    assert found == [("v1.a", "no"), ("v1.a", "opacity"), ("v1.b", "opacity"), ("v1.a", "opacity")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_plate_is_masked_shown_or_withheld(tmp_path, suffix):
    path, known = tmp_path / f"list{suffix}", vehicles(v1_a="闽D12345")
    frame = findings(finding())
    export(path, frame, vehicles=known)
    masked = read_rows(path)[0]["plate"]
    assert masked.startswith("闽D")
    assert masked.endswith("5")
    assert "***" in masked
    assert "234" not in masked
    assert b"12345" not in everything(path)
    export(path, frame, vehicles=known, show_plates=True)
    assert read_rows(path)[0]["plate"] == "闽D12345"
    export(path, frame, vehicles=None, show_plates=True)
    assert read_rows(path)[0]["plate"] in (None, "")


def everything(path):
    """Bytes of a file, unpacked where it is a ZIP."""
    if path.suffix != ".xlsx":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def test_a_plate_twice_in_the_registry_doubles_no_finding(tmp_path):
    twice = pl.concat([vehicles(v1_a="闽D12345"), vehicles(v1_a="闽D12345")])
    assert export(tmp_path / "a.json", findings(finding()), vehicles=twice) == 1
    assert len(read_rows(tmp_path / "a.json")) == 1


def test_csv_is_for_excel_with_instants_in_utc(tmp_path):
    path = tmp_path / "a.csv"
    export(path, findings(finding(clause="=1+1", first_value=-0.5, second_value=None,
                                  second_record_id=None, second_measured_at=None)))
    assert path.read_bytes().startswith(b"\xef\xbb\xbfregulation_id,")
    row = read_rows(path)[0]
    assert row["found_at"] == "2026-03-01T00:30:00Z"
    assert row["clause"] == "'=1+1"
    assert row["first_value"] == "-0.5"
    assert row["second_value"] == row["second_measured_at"] == row["second_record_id"] == ""
    assert row["is_verified"] == "true"
    export(path, findings(finding(clause="=1+1")), raw_csv=True)
    assert read_rows(path)[0]["clause"] == "=1+1"


def test_json_says_null_and_utf8(tmp_path):
    path = tmp_path / "a.json"
    export(path, findings(finding(second_value=float("nan"), emission_stage=None)))
    row = read_rows(path)[0]
    assert (row["second_value"], row["emission_stage"], row["limit"]) == (None, None, 30.0)
    assert row["found_at"] == "2026-03-01T00:30:00Z"
    assert "环岛路" in path.read_text(encoding="utf-8")


def test_parquet_keeps_types_and_provenance(tmp_path):
    path = tmp_path / "a.parquet"
    export(path, findings(finding()), provenance={"lake_version": "7"})
    back = pl.read_parquet(path)
    assert back.drop("plate").equals(findings(finding()))
    assert pl.read_parquet_metadata(path)["rsd.lake_version"] == "7"


def test_geojson_stands_at_the_first_known_site_of_the_segment(tmp_path):
    path = tmp_path / "a.geojson"
    known = sites(
        {"site_id": "s3", "road_segment": "环岛路", "lon_wgs84": 118.3, "lat_wgs84": 24.3},
        {"site_id": "s1", "road_segment": "环岛路"},
        {"site_id": "s2", "road_segment": "环岛路", "lon_wgs84": 118.1, "lat_wgs84": 24.5},
        {"site_id": "s9", "lon_wgs84": 118.9, "lat_wgs84": 24.9},
    )
    segments = ["环岛路", "s9", "elsewhere", None]
    rows = [finding(road_segment=s, found_at=T0 + timedelta(hours=h))
            for h, s in enumerate(segments)]
    export(path, findings(*rows), sites=known, provenance={"lake": "x"})
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert document["provenance"] == {"lake": "x"}
    assert {feature["type"] for feature in document["features"]} == {"Feature"}
    assert [feature["geometry"] for feature in document["features"]] == [
        {"type": "Point", "coordinates": [118.1, 24.5]},
        {"type": "Point", "coordinates": [118.9, 24.9]},
        None, None,
    ]
    export(path, findings(*rows), sites=None)
    assert all(f["geometry"] is None for f in json.loads(path.read_text("utf-8"))["features"])


def test_xlsx_has_a_sheet_a_regulation_and_typed_cells(tmp_path):
    path = tmp_path / "a.xlsx"
    rows = [finding(), finding(regulation_id="xx/[1]:*?\\" + "long" * 9),
            finding(regulation_id="Provenance"), finding(regulation_id="history")]
    export(path, findings(*rows), provenance={"lake": "=1+1", "plates": "none at all"},
           withdrawn=findings(finding(vehicle_id="v1.gone")))
    book = openpyxl.load_workbook(path)
    assert "cn_hj845_2017" in book.sheetnames
    assert {"Provenance (2)", "history (2)"} <= set(book.sheetnames)
    assert book.sheetnames[-2:] == ["withdrawn", "provenance"]
    assert len(book.sheetnames) == 6
    assert all(len(name) <= 31 for name in book.sheetnames)
    sheet = book["cn_hj845_2017"]
    cell = {head.value: sheet.cell(2, head.column) for head in sheet[1]}
    assert cell["found_at"].value == datetime(2026, 3, 1, 0, 30)
    assert cell["found_at"].number_format == 'yyyy-mm-dd hh:mm:ss"Z"'
    assert (cell["first_value"].value, cell["first_value"].data_type) == (41.25, "n")
    assert (cell["passes"].value, cell["emission_stage"].value) == (7, 4)
    assert cell["is_verified"].value is True
    assert cell["plate"].value is None
    assert cell["vehicle_id"].number_format == "@"
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:X2"
    assert sheet.column_dimensions["J"].width > 20
    assert book["withdrawn"]["D2"].value == "v1.gone"
    facts = dict(book["provenance"].iter_rows(values_only=True))
    assert (facts["instants"], facts["plates"], facts["lake"]) == ("UTC", "withheld", "=1+1")
    assert facts["unverified"].startswith("0 of 4 ")


def formulas_and_links(path):
    cells = [cell for sheet in openpyxl.load_workbook(path) for line in sheet for cell in line]
    return [cell for cell in cells if cell.data_type == "f" or cell.hyperlink is not None]


@pytest.mark.parametrize("text", ATTACKS)
def test_a_text_in_a_workbook_stays_that_text(tmp_path, text):
    path = tmp_path / "a.xlsx"
    export(path, findings(finding(clause=text, road_segment=text, regulation_id=text)),
           provenance={text: text})
    sheet = openpyxl.load_workbook(path).worksheets[0]
    cell = {head.value: sheet.cell(2, head.column) for head in sheet[1]}["clause"]
    assert cell.data_type in {"s", "inlineStr"}
    shown = openpyxl.utils.escape.unescape(cell.value)
    # The library would take this one for markup: an apostrophe keeps it text.
    assert shown == ("'" + text if text.startswith("<r>") else text)
    assert formulas_and_links(path) == []
    assert b"<f>" not in everything(path)
    assert b"<script>" not in everything(path)


@settings(max_examples=15)
@given(st.text(max_size=40), st.floats())
def test_any_text_and_number_make_a_readable_workbook(tmp_path_factory, text, value):
    path = tmp_path_factory.mktemp("any") / "a.xlsx"
    export(path, findings(finding(clause=text, regulation_id=text, first_value=value)))
    row = read_rows(path)[0]
    shown = "'" + text if text.startswith("<r>") else text
    assert openpyxl.utils.escape.unescape(row["clause"] or "") == shown
    # A workbook holds sixteen digits, as Excel does.
    is_finite = abs(value) < float("inf")
    assert row["first_value"] == (pytest.approx(value, rel=1e-15) if is_finite else None)


def test_a_text_too_long_for_a_cell_says_that_it_was_cut(tmp_path):
    path = tmp_path / "a.xlsx"
    export(path, findings(finding(first_record_id="\U00020000" * 40_000)))
    shown = read_rows(path)[0]["first_record_id"]
    assert shown.endswith(" … (cut)")
    assert len(shown) == xlsx.CELL_CHARACTERS + len(" … (cut)")


def test_unverified_numbers_are_marked_wherever_they_go(tmp_path):
    rows = findings(finding(), finding(is_verified=False, vehicle_id="v1.b"),
                    finding(is_verified=None, vehicle_id="v1.c"))
    for suffix, expected in ((".csv", ["true", "false", ""]), (".json", [True, False, None])):
        export(tmp_path / f"a{suffix}", rows)
        assert [r["is_verified"] for r in read_rows(tmp_path / f"a{suffix}")] == expected
    export(tmp_path / "a.xlsx", rows)
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    sheet = book.worksheets[0]
    clause = next(cell for cell in sheet[1] if cell.value == "clause")
    assert "not verified" in clause.comment.text
    (coloured,) = sheet.conditional_formatting
    assert str(coloured.sqref) == "A2:X4"
    assert coloured.rules[0].formula == ["$W2<>TRUE"]
    assert sheet["W1"].value == "is_verified"
    assert book["provenance"]["B4"].value.startswith("2 of 3 findings rest on regulatory numbers")


def test_verified_numbers_bear_no_mark(tmp_path):
    export(tmp_path / "a.xlsx", findings(finding()))
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    assert not list(sheet.conditional_formatting)
    assert all(cell.comment is None for cell in sheet[1])


def test_a_long_list_goes_on_in_another_sheet(tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "SHEET_ROWS", 2)
    rows = [finding(vehicle_id=f"v{n}") for n in range(5)]
    told = []
    export(tmp_path / "a.xlsx", findings(*rows), progress=lambda *state: told.append(state))
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    names = ["cn_hj845_2017", "cn_hj845_2017 (2)", "cn_hj845_2017 (3)"]
    assert book.sheetnames == [*names, "provenance"]
    ids = [row[3] for name in names for row in book[name].iter_rows(min_row=2, values_only=True)]
    assert ids == [f"v{n}" for n in range(5)]
    assert told == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_input_gives_the_same_bytes(tmp_path, suffix):
    rows = [finding(vehicle_id=f"v{n}", regulation_id=f"reg{n % 3}") for n in range(9)]
    hashes = set()
    for shuffle in (0, 1):
        path = tmp_path / f"list{shuffle}{suffix}"
        frame = findings(*rows).sample(fraction=1, shuffle=True, seed=shuffle)
        export(path, frame, provenance={"created_at": "2026-03-02T03:04:05+08:00"})
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("said", "made"),
    [("2026-03-02T03:04:05+08:00", datetime(2026, 3, 1, 19, 4, 5)),
     ("2026-03-02T03:04:05", datetime(2026, 3, 2, 3, 4, 5)), ("soon", datetime(1980, 1, 1))],
)
def test_the_workbook_is_dated_by_its_provenance(tmp_path, said, made):
    export(tmp_path / "a.xlsx", findings(finding()), provenance={"created_at": said})
    assert openpyxl.load_workbook(tmp_path / "a.xlsx").properties.created == made


@pytest.mark.parametrize("name", ["list.xls", "list", "list.csv.gz", "x\x1b[31m.txt"])
def test_another_suffix_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.csv, \.xlsx, \.parquet, \.json, \.geojson") as caught:
        export(tmp_path / name, findings(finding()))
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_findings_without_a_column_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unit, clause"):
        export(tmp_path / "a.csv", findings(finding()).drop("clause", "unit"))


@contextmanager
def small_files():
    """Let no file grow beyond 4 KiB, as on a full disk; no fixture, which would hold the test
    runner's own output to it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_list_and_says_where(tmp_path, suffix, count):
    path = tmp_path / f"list{suffix}"
    path.write_text("old")
    rows = pl.concat([findings(finding())] * count).with_columns(
        vehicle_id=pl.int_range(count).hash().cast(pl.String))
    with small_files(), pytest.raises(StorageError, match=f"list{suffix}.*disk"):
        export(path, rows)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StorageError, match="Make the folder first"):
        export(tmp_path / "no" / "a.csv", findings(finding()))


def many(count):
    one = pl.concat([findings(finding())] * 10)
    return pl.concat([one] * (count // 10)).with_columns(
        vehicle_id="v" + pl.int_range(count).cast(pl.String),
        first_record_id="r" + pl.int_range(count).hash(1).cast(pl.String))


@pytest.mark.parametrize(("suffix", "count", "slice_rows", "bound_mib"), [
    (".csv", 50_000, 2_000, 6), (".json", 50_000, 2_000, 6), (".geojson", 50_000, 2_000, 6),
    (".xlsx", 1_600, 200, 2)])
def test_a_long_list_takes_little_memory(tmp_path, monkeypatch, suffix, count, slice_rows,
                                         bound_mib):
    """Python's own memory stays that of a slice, whatever the length of the list."""
    monkeypatch.setattr("rsd.exports.safety.SLICE_ROWS", slice_rows)
    frame = many(count)
    export(tmp_path / f"warm{suffix}", frame.head(10))
    tracemalloc.start()
    told = []
    assert export(tmp_path / f"a{suffix}", frame, progress=lambda *s: told.append(s)) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == [(n, count) for n in range(slice_rows, count + 1, slice_rows)]
    assert peak < bound_mib * 2**20


def test_the_order_of_columns_is_that_of_a_finding():
    assert list(lists.COLUMNS) == CONTRACT


# Evidence behind the columns of the contract.


def proven(*rows):
    """Findings with the evidence of the records that `proofs` has."""
    from proofs import sources

    from rsd.exports.evidence import with_evidence

    return with_evidence(findings(*rows), sources())


def proven_row(**changes):
    from proofs import LAW, T1, T2

    return finding(regulation_sha256=LAW, first_record_id="p1", first_measured_at=T1,
                   first_value=45.0, second_record_id="p2", second_measured_at=T2,
                   second_value=36.0) | changes


@pytest.mark.parametrize("suffix", [".csv", ".json", ".geojson", ".parquet"])
def test_the_evidence_stands_behind_the_contract_s_columns(tmp_path, suffix):
    path = tmp_path / f"list{suffix}"
    export(path, proven(proven_row()))
    (row,) = read_rows(path)
    assert list(row)[:len(CONTRACT)] == CONTRACT
    assert str(row["evidence_incomplete"]).lower() == "false"
    assert row["first_site_name"] == "桥"
    assert float(row["second_wind_speed_m_s"]) == 1.5
    assert str(row["first_source_line"]) == "7"


def test_a_workbook_has_a_row_a_record_of_proof(tmp_path):
    path = tmp_path / "list.xlsx"
    export(path, proven(proven_row(), proven_row(vehicle_id="v1.b", second_record_id=None)),
           vehicles=vehicles(v1_a="闽D12345", v1_b="闽D67890"), provenance={"timezone": "X/Y"},
           withdrawn=empty(FINDINGS))
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["cn_hj845_2017", "evidence", "columns", "withdrawn", "provenance"]
    head, *rows = book["evidence"].iter_rows(values_only=True)
    rows = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(r["vehicle_id"], r["place"], r["record_id"], r["value"]) for r in rows] == [
        ("v1.a", "first", "p1", 45), ("v1.a", "second", "p2", 36), ("v1.b", "first", "p1", 45)]
    assert rows[0]["plate"] == "闽D****5"
    assert rows[0]["photos"] == "x.jpg;y.jpg"
    assert rows[0]["measured_local"] == datetime(2026, 9, 1, 7, 30)
    first = [cell.value for cell in book["cn_hj845_2017"][1]]
    assert first == [*CONTRACT, "evidence_incomplete", "evidence_missing", "days_between"]
    meanings = {row[0]: row[3] for row in book["columns"].iter_rows(values_only=True)}
    assert meanings["excess_ratio"] == "value divided by that limit"
    assert set(first) - {"plate"} <= set(meanings)
    for name in book.sheetnames[:2]:
        assert book[name].freeze_panes == "A2"
        assert book[name].auto_filter.ref
    facts = dict(book["provenance"].iter_rows(values_only=True))
    assert facts["instants"] == "UTC; measured_local is the clock of X/Y"
    assert facts["evidence"].startswith("0 of 2 findings lack")


def test_a_chinese_workbook(tmp_path):
    path = tmp_path / "list.xlsx"
    export(path, proven(proven_row(is_verified=False)), language="zh", withdrawn=empty(FINDINGS))
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["cn_hj845_2017", "证据", "列说明", "已撤回", "来源说明"]
    sheet = book["cn_hj845_2017"]
    row = dict(zip([c.value for c in sheet[1]], [c.value for c in sheet[2]], strict=True))
    assert (row["法规"], row["燃料"], row["号牌颜色"], row["污染物"], row["类别"]) == (
        "cn_hj845_2017", "柴油", "黄", "不透光度", "超标")
    assert row["首次检测值"] == 45
    facts = dict(book["来源说明"].iter_rows(values_only=True))
    assert "法规数值未与原文核对" in facts["未核对"]
    widths = sheet.column_dimensions
    assert widths["A"].width > len("cn_hj845_2017")
    assert book["证据"].cell(2, 8).value == "首次"


def test_other_formats_keep_their_columns_in_every_language(tmp_path):
    for language in ("en", "zh"):
        export(tmp_path / f"{language}.csv", proven(proven_row()), language=language)
    assert (tmp_path / "en.csv").read_bytes() == (tmp_path / "zh.csv").read_bytes()


def test_long_evidence_goes_on_in_another_sheet(tmp_path, monkeypatch):
    monkeypatch.setattr(xlsx, "SHEET_ROWS", 4)
    told = []
    rows = [proven_row(vehicle_id=f"v{n}") for n in range(5)]
    export(tmp_path / "a.xlsx", proven(*rows), progress=lambda *state: told.append(state))
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert [n for n in book.sheetnames if "evidence" in n] == ["evidence", "evidence (2)",
                                                              "evidence (3)"]
    assert [book[n].max_row - 1 for n in book.sheetnames[2:5]] == [4, 4, 2]
    assert told[-1] == (10, 10)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_regulation_called_evidence_takes_no_other_sheet_s_name(tmp_path):
    path = tmp_path / "a.xlsx"
    export(path, proven(proven_row(regulation_id="evidence"), proven_row(regulation_id="Columns")))
    assert openpyxl.load_workbook(path).sheetnames == [
        "Columns (2)", "evidence (2)", "evidence", "columns", "provenance"]


def shapes(path):
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [feature["geometry"] for feature in features]


def test_geojson_shows_where_each_pass_happened(tmp_path):
    path = tmp_path / "a.geojson"
    export(path, proven(proven_row(), proven_row(first_record_id="gone", second_record_id=None)))
    assert shapes(path) == [None, {"type": "MultiPoint", "coordinates": [[118.1, 24.5]]}]
    moved = proven(proven_row()).with_columns(second_lon_wgs84=pl.lit(118.2))
    export(path, moved)
    assert shapes(path) == [{"type": "MultiPoint", "coordinates": [[118.1, 24.5], [118.2, 24.5]]}]
    export(path, moved.with_columns(first_lat_wgs84=pl.lit(float("nan"))))
    assert shapes(path) == [{"type": "MultiPoint", "coordinates": [[118.2, 24.5]]}]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_the_evidence_acts(tmp_path, suffix, attack):
    path = tmp_path / f"list{suffix}"
    frame = proven(proven_row()).with_columns(
        pl.lit(attack).alias("first_site_name"), pl.lit([attack]).alias("first_photos"))
    export(path, frame)
    if suffix == ".csv":
        cell = read_rows(path)[0]["first_site_name"]
        assert cell.lstrip("'")[:1] not in "=+-@＝\t\r" or cell.startswith("'")
    elif suffix == ".xlsx":
        sheet = openpyxl.load_workbook(path)["evidence"]
        cell = sheet.cell(2, [c.value for c in sheet[1]].index("site_name") + 1)
        assert cell.data_type == "s"
        assert cell.hyperlink is None
    else:
        assert read_rows(path)[0]["first_site_name"] == attack

"""A synthetic city from raw dumps to the exported list, against plain readings of both ends.

Nothing here asks the engine what is right: dumps and registry are read with the csv module, the
rule with `oracle`, and what really happened with the simulator's truth.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import oracle
import polars as pl
import pytest
from chain import (
    HIGH_NO,
    REGISTRY,
    SITES,
    Answer,
    balances,
    dump,
    record,
    rsd,
    versions,
)

from rsd import audit
from rsd.lake import Lake
from rsd.synthetic import SimulationSummary, simulate

VEHICLES, DAYS, SEED = 3000, 12, 7
FUEL = {"A": "gasoline", "B": "diesel", "C": "electric", "D": "other", "E": "cng", "F": "lpg",
        "O": "hybrid", "": None}
COLOR = {"0": "blue", "1": "yellow", "2": "white", "3": "black", "4": "green", "5": "other"}


@dataclass(frozen=True)
class City:
    folder: Path
    made: SimulationSummary
    run: Answer

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def dumps(self) -> list[Path]:
        return sorted((self.folder / "city" / "dumps").iterdir())

    @cached_property
    def records(self) -> list[dict[str, str]]:
        """The records of all dumps as the csv module reads them."""
        return [row for path in self.dumps for row in csv.DictReader(
            io.StringIO(path.read_bytes().decode("gb18030"), newline=""))]

    @cached_property
    def registry(self) -> dict[tuple[str, str], dict[str, str]]:
        text = (self.folder / "city" / "registry.csv").read_bytes().decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return {(r["plate"], COLOR.get(r["plate_color"], r["plate_color"])): r for r in rows}

    @cached_property
    def passes(self) -> pl.DataFrame:
        out = self.folder / "passes.parquet"
        answer = rsd("query", self.lake, "SELECT * FROM passes", "--format", "parquet", "-o", out)
        assert answer.code == 0, answer.err
        return pl.read_parquet(out)

    def exported(self, *options: str) -> pl.DataFrame:
        out = self.folder / "list.parquet"
        answer = rsd("export", "findings", self.lake, "-o", out, *options)
        assert answer.code == 0, answer.err
        return pl.read_parquet(out)


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> City:
    folder = tmp_path_factory.mktemp("city")
    made = simulate(folder / "city", vehicles=VEHICLES, days=DAYS, seed=SEED)
    files = ("sites.csv", "segments.geojson", "registry.csv")
    options = [x for name in files for x in (f"--{name.split('.')[0]}", folder / "city" / name)]
    assert rsd("init", folder / "lake", *options).code == 0
    answer = rsd("run", folder / "lake", folder / "city" / "dumps", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    return City(folder, made, answer)


# The account


def test_every_record_of_every_file_is_accounted_for(city: City):
    files = city.run.json["files"]
    assert len(files) == len(city.dumps) == city.made.files
    assert all(f["state"] == "done" and balances(f) for f in files)
    lines = Counter(len(p.read_bytes().splitlines()) - 1 for p in city.dumps)
    assert Counter(f["records"] for f in files) == lines
    totals = city.run.json["totals"]
    assert totals["records"] == city.made.records == len(city.records)
    assert totals["duplicates"] == city.made.duplicates > 20
    assert totals["accepted"] == city.made.passes
    assert (totals["quarantined"], totals["corrected"], totals["refused"]) == (0, 0, 0)


def test_each_files_duplicates_are_the_records_that_stand_twice_in_it(city: City):
    told = {f["file"]: f["duplicates"] for f in city.run.json["files"]}
    seen: set[tuple[str, ...]] = set()
    for path in city.dumps:
        lines = path.read_bytes().decode("gb18030").splitlines()[1:]
        assert told[path.name] == len(lines) - len(set(lines)), path.name
        assert not seen & {tuple(lines)} or not lines
        seen.add(tuple(lines))


def test_the_passes_are_those_that_really_happened(city: City):
    truth = pl.read_parquet(city.folder / "city" / "truth" / "passes.parquet")
    assert sorted(city.passes["record_id"]) == sorted(truth["pass_id"])
    assert city.passes["record_id"].n_unique() == city.passes.height
    joined = city.passes.join(truth, left_on="record_id", right_on="pass_id", suffix="_true")
    assert joined["site_id"].equals(joined["site_id_true"].alias("site_id"))
    has_no_vehicle = joined["vehicle_id"].is_null()
    assert has_no_vehicle.sum() == city.made.plates_unreadable > 50
    raw = {r["jlbh"]: (r["hphm"], r["cpys"]) for r in city.records}
    pairs = {(raw[i], v) for i, v in joined.select("record_id", "vehicle_id").iter_rows() if v}
    assert len(pairs) > 1500
    assert len({plate for plate, _ in pairs}) == len({v for _, v in pairs}) == len(pairs)
    vehicles = pl.read_parquet(city.folder / "city" / "truth" / "vehicles.parquet")
    plates = dict(vehicles.select("vehicle", "plate").iter_rows())
    shown = joined.filter(pl.col("plate_reading").is_in(["right", "other_vehicle"]))
    assert all(raw[i][0] == plates[v] for i, v in
               shown.select("record_id", "shown_vehicle").iter_rows())


def test_the_summary_is_kept_in_the_lake(city: City):
    rows = rsd("query", city.lake, "SELECT file, records, accepted, quarantined, duplicates, state "
               "FROM runs", "--format", "json").json
    told = {f["file"]: f for f in city.run.json["files"]}
    assert len(rows) >= len(told)
    for row in rows[:len(told)]:
        if row["state"] == "done":
            assert row == {name: told[row["file"]][name] for name in row}


def test_the_same_night_again_says_already_and_changes_nothing(city: City):
    before = versions(city.lake)
    answer = rsd("run", city.lake, city.folder / "city" / "dumps", "--format", "json")
    assert answer.code == 0
    assert {f["state"] for f in answer.json["files"]} == {"already"}
    assert answer.json["totals"]["already"] == city.made.files
    before_it, told = city.run.json["findings"], answer.json["findings"]
    assert (told["total"], told["new"], told["withdrawn"]) == (before_it["total"], 0, 0)
    assert versions(city.lake) == before


def test_the_order_and_number_of_runs_do_not_matter(city: City, tmp_path: Path):
    """Four runs in reverse order end at the same list as one; only pseudonyms are by the key."""
    lake = tmp_path / "lake"
    files = ("sites.csv", "segments.geojson", "registry.csv")
    options = [x for name in files
               for x in (f"--{name.split('.')[0]}", city.folder / "city" / name)]
    assert rsd("init", lake, *options).code == 0
    dumps = city.dumps[::-1]
    for start in range(0, len(dumps), 60):
        assert rsd("run", lake, *dumps[start:start + 60]).code == 0
    columns = ["pollutant", "found_at", "first_record_id", "second_record_id", "passes",
               "exceedances"]
    mine = Lake.open(lake).table("findings").scan().select(columns).collect()
    theirs = Lake.open(city.lake).table("findings").scan().select(columns).collect()
    assert mine.sort(columns).equals(theirs.sort(columns))


# The list


def readings(passes: pl.DataFrame) -> list[dict[str, Any]]:
    wanted = ["record_id", "vehicle_id", "measured_at", "fuel", "is_valid", "opacity_pct",
              "ringelmann", "no_ppm", "vsp_device_kw_t", "vsp_kw_t", "wind_speed_m_s",
              "road_segment", *(f"is_valid_{p}" for p in oracle.LIMITS)]
    return passes.select(wanted).drop_nulls("vehicle_id").sort("vehicle_id").to_dicts()


def convicted(passes: pl.DataFrame) -> list[dict[str, Any]]:
    return [finding for _, mine in groupby(readings(passes), key=lambda r: r["vehicle_id"])
            for finding in oracle.judge(list(mine))]


def test_the_list_has_the_vehicles_that_the_rule_convicts_and_no_others(city: City):
    listed = city.exported()
    shared = ["vehicle_id", "pollutant", "kind", "found_at", "first_record_id", "first_value",
              "second_record_id", "second_value", "road_segment", "exceedances", "passes"]
    expected = sorted((tuple(f[n] for n in shared) for f in convicted(city.passes)), key=repr)
    assert sorted(listed.select(shared).rows(), key=repr) == expected
    by_pollutant = Counter(listed["pollutant"])
    assert by_pollutant["opacity"] >= 3
    assert by_pollutant["no"] >= 5
    assert by_pollutant["ringelmann"] >= 1
    assert set(zip(listed["pollutant"], listed["kind"], strict=True)) == {
        ("opacity", "violation"), ("ringelmann", "violation"), ("no", "screening")}
    assert listed.height == city.run.json["findings"]["total"]


def test_each_finding_is_proven_by_two_records_of_its_vehicle(city: City):
    listed, passes = city.exported("--plates"), city.passes
    by_id = {p["record_id"]: p for p in passes.iter_rows(named=True)}
    value = {"opacity": "opacity_pct", "no": "no_ppm", "ringelmann": "ringelmann"}
    limit = {"opacity": 30.0, "no": 1500.0, "ringelmann": 1.0}
    for f in listed.iter_rows(named=True):
        first, second = by_id[f["first_record_id"]], by_id[f["second_record_id"]]
        assert {first["vehicle_id"], second["vehicle_id"]} == {f["vehicle_id"]}
        assert first["measured_at"] < second["measured_at"] == f["found_at"]
        assert f["limit"] == limit[f["pollutant"]] < min(f["first_value"], f["second_value"])
        assert f["first_value"] == first[value[f["pollutant"]]]
        assert f["second_value"] == second[value[f["pollutant"]]]
        assert first["fuel"] == second["fuel"] == "diesel"
        assert first["is_valid"]
        assert second["is_valid"]
        assert f["is_verified"] is False


def test_the_plates_of_the_list_are_those_of_the_raw_records(city: City):
    plate_of = {r["jlbh"]: r["hphm"] for r in city.records}
    listed = city.exported("--plates")
    assert listed.height > 0
    for plate, record_id in listed.select("plate", "second_record_id").iter_rows():
        assert plate == plate_of[record_id]
    masked = city.exported()["plate"].to_list()
    assert masked == [f"{p[:2]}{'*' * (len(p) - 3)}{p[-1]}" for p in listed["plate"]]


def test_the_list_is_ordered(city: City):
    keys = city.exported().select("found_at", "vehicle_id", "pollutant").rows()
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_explain_tells_the_same_verdicts(city: City):
    finding = city.exported().row(0, named=True)
    told = rsd("explain", city.lake, finding["vehicle_id"], "--format", "json").json
    mine = [r for r in readings(city.passes) if r["vehicle_id"] == finding["vehicle_id"]]
    for reading in mine:
        for pollutant in oracle.LIMITS:
            (row,) = [t for t in told if t["record_id"] == reading["record_id"]
                      and t["pollutant"] == pollutant]
            verdict = oracle.exceeds(reading, pollutant, oracle.ZoneInfo("Asia/Shanghai"))
            assert (row["verdict"] == "exceeds") == (verdict is True)
            assert (row["verdict"] == "within the limit") == (verdict is False)


# What a pass is made of


def test_fuel_and_class_come_from_the_registry_first_then_from_the_dump(city: City):
    raw = {r["jlbh"]: r for r in city.records}
    conflicts = differing = silent = 0
    for p in city.passes.iter_rows(named=True):
        cells = raw[p["record_id"]]
        known = city.registry.get((cells["hphm"], COLOR[cells["cpys"]])) if cells["cpys"] else None
        registered = known and FUEL.get(known["fuel"], known["fuel"])
        reported = FUEL.get(cells["rlzl"], "other")
        assert p["fuel"] == (registered or reported or "unknown"), p["record_id"]
        conflict = bool(registered and reported and registered != reported)
        assert ("fuel_conflict" in p["reasons"]) == conflict
        conflicts += conflict
        silent += known is None
        differing += p["fuel"] != reported
    assert conflicts >= 10
    assert silent >= 200
    assert differing >= 10


def test_a_conflict_of_fuels_unsets_nothing(city: City):
    told = rsd("query", city.lake, "SELECT bool_or(is_valid) AS some FROM passes WHERE "
               "list_contains(reasons, 'fuel_conflict')", "--format", "json").json
    assert told == [{"some": True}]


def test_readings_are_stored_as_they_came(city: City):
    raw = {r["jlbh"]: r for r in city.records}
    columns = {"cojg": "co_pct", "nojg": "no_ppm", "hcjg": "hc_ppm", "btgdjg": "opacity_pct",
               "clsd": "speed_km_h", "cljsd": "acceleration_m_s2", "vsp": "vsp_device_kw_t",
               "fs": "wind_speed_m_s", "co2jg": "co2_pct"}
    codes = {-999.0, -9999.0, 9999.0, 65535.0}
    sentinels = 0
    for p in city.passes.iter_rows(named=True):
        cells = raw[p["record_id"]]
        for source, column in columns.items():
            value = float(cells[source]) if cells[source] else None
            if value in codes:
                sentinels += 1
                assert "SENTINEL" in p["reasons"]
                continue
            if value is not None:
                assert p[column] == value, (p["record_id"], column)
    assert sentinels > 0


def test_own_vsp_is_the_devices(city: City):
    both = city.passes.select("vsp_kw_t", "vsp_device_kw_t").drop_nulls()
    error = (both["vsp_kw_t"] - both["vsp_device_kw_t"]).abs()
    assert both.height > 8000
    assert (error < 0.1).mean() > 0.99


def test_aggregates_count_every_pass_once(city: City):
    rows = rsd("aggregate", city.lake, "--by", "vehicle_class,road_segment,month", "--format",
               "json").json
    assert sum(r["n_records"] for r in rows) == city.passes.height
    assert {r["month"] for r in rows} == {"2026-09"}
    total = rsd("aggregate", city.lake, "--by", "fuel", "--format", "json").json
    tested = [oracle.exceeds(r, "opacity", oracle.ZoneInfo("Asia/Shanghai"))
              for r in [*readings(city.passes), *readings(city.passes.with_columns(
                  vehicle_id=pl.when(pl.col("vehicle_id").is_null()).then(pl.lit("x"))))]]
    assert sum(r["n_tested_opacity"] for r in total) == sum(t is not None for t in tested)
    assert sum(r["n_exceed_opacity"] for r in total) == sum(t is True for t in tested)


# Privacy

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
PLATE = re.compile(rf"[{PROVINCES}][A-Za-z][A-Za-z0-9]{{5}}")


def plates_in_bytes(data: bytes) -> set[str]:
    """Whatever looks like a plate in UTF-8 or GB18030."""
    found = set()
    for encoding in ("utf-8", "gb18030"):
        heads = b"|".join(re.escape(p.encode(encoding)) for p in PROVINCES)
        for match in re.finditer(b"(?:" + heads + b")[A-Za-z][A-Za-z0-9]{5}", data):
            found.add(match[0].decode(encoding))
    return found


def texts_of(path: Path) -> list[str]:
    """Every text that a file holds, unpacked: Parquet cells, members of an archive, plain text."""
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as archive:
            return [archive.read(name).decode("utf-8", "replace") for name in archive.namelist()]
    if path.suffix != ".parquet":
        return [path.read_bytes().decode("utf-8", "replace")]
    frame = pl.read_parquet(path, glob=False)
    names = [n for n, t in frame.schema.items() if t in (pl.String, pl.Binary)]
    return [str(v) for n in names for v in frame[n].drop_nulls().unique()]


def leaks(lake: Path, known: set[str]) -> dict[str, set[str]]:
    """What looks like a plate in the texts outside restricted/, and known plates in the bytes.

    (Packed bytes may look like a plate by chance: literals of masked plates stand in a row.)
    """
    found = {}
    for path in (p for p in lake.rglob("*") if p.is_file()):
        if path.relative_to(lake).parts[0] == "restricted":
            continue
        hits = plates_in_bytes(path.read_bytes()) & known
        hits |= {m[0] for text in texts_of(path) for m in PLATE.finditer(text)}
        if hits:
            found[str(path.relative_to(lake))] = hits
    return found


def answers_without_plates(lake: Path, folder: Path, vehicle: str) -> dict[str, str]:
    """Everything that commands say and write without --plates."""
    said = {}
    for name, command in {
        "query": ["query", lake, "SELECT * FROM passes", "--format", "csv"],
        "runs": ["query", lake, "SELECT * FROM runs", "--format", "json"],
        "findings": ["query", lake, "SELECT * FROM findings", "--format", "json"],
        "aggregate": ["aggregate", lake, "--by", "site_id,lane,line_id", "--format", "json"],
        "quarantine": ["quarantine", lake, "--format", "json"],
        "quarantine table": ["quarantine", lake],
        "explain": ["explain", lake, vehicle, "--format", "csv"],
        "find": ["find", lake],
        **{f"export {s}": ["export", "findings", lake, "-o", folder / f"list.{s}"]
           for s in ("csv", "json", "parquet", "xlsx", "geojson")},
    }.items():
        answer = rsd(*command)
        assert answer.code == 0, answer.err
        said[name] = answer.out + answer.err
    for path in folder.glob("list.*"):
        said[path.name] = "\n".join(texts_of(path))
    return said


def test_no_plate_of_the_city_lies_outside_the_restricted_side(city: City, tmp_path: Path):
    known = {r["hphm"] for r in city.records if PLATE.fullmatch(r["hphm"][:7])}
    assert len(known) > 1500
    assert plates_in_bytes(city.dumps[0].read_bytes()) <= {k[:7] for k in known}
    assert plates_in_bytes(city.dumps[0].read_bytes())
    assert leaks(city.lake, {k[:7] for k in known}) == {}
    inside = (city.lake / "restricted").rglob("*.parquet")
    assert any(PLATE.search(t) for p in inside for t in texts_of(p))
    vehicle = city.exported()["vehicle_id"][0]
    for name, text in answers_without_plates(city.lake, tmp_path, vehicle).items():
        assert not PLATE.search(text), name
    assert not PLATE.search(city.run.out + city.run.err)


SEEDED = {
    "cell": "闽D12345", "photo": "闽D23456", "long line": "闽D34567", "bad number": "闽D45678",
    "small letters": "闽d56789", "wide": "闽Ｄ６７８９０", "dot": "闽D·78901", "space": "闽D 89012",
    "torn": "闽D90123", "quoted": "闽D01234", "no text": "闽D11223", "registry": "闽D22334",
    "time": "闽D33445", "unreadable": "闽D1234I", "nul": "闽D44556",
}


def digits(plate: str) -> str:
    return "".join(c for c in plate.translate(
        {ord("０") + k: str(k) for k in range(10)}) if c.isdigit())


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake into which plates came on every way that a dump has; and all that was said."""
    folder, s = tmp_path_factory.mktemp("seeded"), SEEDED
    (folder / "registry.csv").write_text(
        REGISTRY + f"{s['registry']},1,01,H11,B,3,2014-05-06,F\n", encoding="utf-8")
    (folder / "sites.csv").write_text(SITES, encoding="utf-8")
    lines = [
        record(jlbh="1", hphm=s["cell"], **HIGH_NO),
        record(jlbh="2", hphm=s["cell"], jcsj="2026-09-02 08:00:00", **HIGH_NO),
        record(jlbh="3", hphm="闽D77777", tp1=f"{s['photo']}_1.jpg"),
        record(hphm=s["long line"]) + ",more",
        record(hphm=s["bad number"], clsd="fast"), record(jlbh="4", hphm=s["small letters"]),
        record(jlbh="5", hphm=s["wide"]), record(jlbh="6", hphm=s["dot"]),
        record(jlbh="7", hphm=s["space"], clsd="x"), record(hphm=f'"{s["quoted"]}'),
        record(hphm=s["time"], jcsj="yesterday"), record(jlbh="8", hphm=s["unreadable"]),
        record(hphm=s["nul"], wxyy="\0"),
    ]
    said = rsd("init", folder / "lake", "--registry", folder / "registry.csv", "--sites",
               folder / "sites.csv").err
    for encoding in ("utf-8", "gb18030"):
        path = dump(folder / f"{encoding}.csv", lines, encoding=encoding)
        bad = record(hphm=s["no text"]).encode(encoding) + b"\xff\n"
        path.write_bytes(path.read_bytes() + bad + record(hphm=s["torn"]).encode(encoding)[:60])
        for options in ([], ["--format", "json"]):
            answer = rsd("run", folder / "lake", path, "--max-quarantine", 1, *options)
            assert answer.code == 0, answer.err
            said += answer.out + answer.err
    return folder / "lake", said


def test_seeded_plates_are_on_the_restricted_side_alone(seeded: tuple[Path, str], tmp_path: Path):
    lake, said = seeded
    vehicle = rsd("query", lake, "SELECT DISTINCT vehicle_id FROM findings", "--format",
                  "csv").out.split()[1]
    answers = answers_without_plates(lake, tmp_path, vehicle) | {"run": said}
    for path in (p for p in lake.rglob("*") if p.is_file()):
        if path.relative_to(lake).parts[0] != "restricted":
            answers[str(path)] = "\n".join([path.read_bytes().decode("latin-1"), *texts_of(path)])
    for way, plate in SEEDED.items():
        number = digits(plate)
        assert len(number) >= 4
        for name, text in answers.items():
            hits = [m.start() for m in re.finditer(rf"(?i)d[ ·]?{number}", text)]
            assert not hits, f"{way} in {name}: {text[max(0, hits[0] - 30):hits[0] + 20]!r}"


def test_quarantined_plates_are_shown_to_who_asks_and_that_is_audited(seeded: tuple[Path, str]):
    lake, _ = seeded
    reasons = Counter(r["reason"].split(" ")[0] for r in rsd(
        "quarantine", lake, "--format", "json").json)
    assert {"wrong_field_count", "not_a_number", "impossible_time", "not_text", "nul_byte",
            "torn_last_record"} <= set(reasons), reasons
    shown = rsd("quarantine", lake, "--format", "json", "--plates").out
    for way in ("long line", "bad number", "time", "no text"):
        assert SEEDED[way] in shown, way
    last = json.loads(audit.audit_path(lake).read_text(encoding="utf-8").splitlines()[-1])
    assert (last["action"], last["details"]["plates"]) == ("show quarantine", True)


def test_an_export_with_plates_is_audited_and_the_audit_names_none(
    seeded: tuple[Path, str], tmp_path: Path
):
    lake, _ = seeded
    out = tmp_path / "list.json"
    assert rsd("export", "findings", lake, "-o", out, "--plates").code == 0
    assert SEEDED["cell"] in out.read_text(encoding="utf-8")
    log = audit.audit_path(lake)
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["action"], last["details"]["plates"], last["details"]["rows"]) == (
        "export findings", True, 1)
    assert audit.verify(log) == []
    assert plates_in_bytes(log.read_bytes()) == set()

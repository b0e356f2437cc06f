"""The finding step: a day's new data and the whole history end with the same findings."""

from __future__ import annotations

import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from chain import dump, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsd import findings
from rsd.columns import INSPECTIONS, PASSES, POLLUTANTS, schema
from rsd.lake import BATCH, COMPACTED, Lake
from rsd.law.rulebook import BUILT_IN, Regulation
from rsd.pipeline import finding, nightly
from rsd.pipeline.inspections import passed_inspections
from rsd.pipeline.nightly import find_all, regulations_of, run
from rsd.pipeline.setup import init_lake

HJ845 = "cn_hj845_2017"
LAWS = (HJ845, "platform_observed_gasoline", "us_clean_screen", "xm_375_2019_registration")
START = datetime(2024, 1, 10, 1, 0, tzinfo=UTC)
FLAGS = {"is_valid": True, **{f"is_valid_{p}": True for p in POLLUTANTS}}


def a_pass(number: int, vehicle: str | None, day: float, **values: object) -> dict:
    return {"record_id": f"r{number:05}", "vehicle_id": vehicle, "site_id": "A350203001",
            "measured_at": START + timedelta(days=day),
            "date": (START + timedelta(days=day, hours=8)).date(), "fuel": "diesel",
            "vehicle_class": "heavy_truck", "is_current": True, "source_sha256": "a",
            "source_line": number, "vsp_device_kw_t": 5.0, **FLAGS, **values}


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema(PASSES))


def commit(lake: Lake, added: list[pl.DataFrame], remove: list[Path] = (), **info: object) -> None:
    """Commit passes as a batch, or, with an operation, as what keeps the lake."""
    table, batch = lake.table("passes"), uuid.uuid4().hex
    name = f"{COMPACTED}-{batch}" if "operation" in info else batch
    with lake.writer():
        table.commit([table.write(rows, name) for rows in added], remove=list(remove), info=info,
                     transactions=[] if "operation" in info else [BATCH + batch])


def inspect(lake: Lake, rows: list[tuple[str, datetime]]) -> None:
    table = lake.table("inspections")
    given = pl.DataFrame([(v, at, False, "passed", "f") for v, at in rows],
                         schema=schema(INSPECTIONS), orient="row")
    with lake.writer():
        table.commit([table.write(pl.concat([table.scan().collect(), given]), "inspections")],
                     overwrite=True, info={"operation": "inspections"})


def anew(lake: Lake, regulations: list[Regulation] | None = None) -> pl.DataFrame:
    """The findings over the whole history, nothing remembered."""
    return findings.find(
        finding.current_passes(lake), regulations or regulations_of(lake), timezone=lake.timezone,
        inspections=passed_inspections(lake))


def asked(lake: Lake) -> int | None:
    """Return how many vehicles the last entry of the findings looked at."""
    return lake.table("findings").history()[-1].info["vehicles_asked"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake", regulations=LAWS)[0]


def two_over(number: int, vehicle: str, day: float) -> pl.DataFrame:
    return frame([a_pass(number + k, vehicle, day + k, opacity_pct=40.0) for k in (0, 1)])


# What is looked at


def test_a_day_of_new_data_asks_its_vehicles_alone(lake: Lake):
    commit(lake, [two_over(1, "v1", 0), two_over(3, "v2", 0)])
    found, counts = find_all(lake)
    assert (counts["total"], asked(lake)) == (2, None)
    commit(lake, [two_over(5, "v3", 30), frame([a_pass(7, None, 30, opacity_pct=90.0)])])
    found, counts = find_all(lake)
    assert (counts["new"], counts["total"], asked(lake)) == (1, 3, 1)
    assert found.equals(anew(lake))


def test_a_pass_that_no_law_judges_asks_nobody_and_the_entry_says_how_far_it_is(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    files = lake.table("findings").files()
    commit(lake, [frame([a_pass(9, "v1", 5, opacity_pct=99.0, is_valid=False)])])
    find_all(lake)
    assert asked(lake) == 0
    assert lake.table("findings").files() == files
    assert lake.table("findings").history()[-1].info["passes_version"] == 1


def test_without_news_nothing_is_written(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    version = lake.table("findings").version()
    assert find_all(lake)[1] == {"total": 1, "new": 0, "changed": 0, "withdrawn": 0}
    assert lake.table("findings").version() == version


def test_a_correction_asks_its_vehicle_and_not_the_others_of_the_rewritten_file(lake: Lake):
    rows = pl.concat([two_over(1, "v1", 0), two_over(3, "v2", 0)])
    commit(lake, [rows])
    find_all(lake)
    correct(lake, "r00002", opacity_pct=3.0)
    found, counts = find_all(lake)
    assert (counts["withdrawn"], counts["total"], asked(lake)) == (1, 1, 1)
    assert found["vehicle_id"].to_list() == ["v2"]


def correct(lake: Lake, record_id: str, **values: object) -> None:
    """Send a record again with other values: the version of before stays, and counts no more."""
    is_it = (pl.col("record_id") == record_id) & pl.col("is_current")
    (old,) = [f for f in lake.table("passes").files()
              if not pl.scan_parquet(f).filter(is_it).collect().is_empty()]
    rows = pl.read_parquet(old)
    again = rows.filter(is_it).with_columns(
        pl.lit(v).cast(schema(PASSES)[n]).alias(n) for n, v in values.items())
    commit(lake, [rows.with_columns(is_current=pl.col("is_current") & ~is_it), again], [old])


def test_a_vehicle_that_is_given_another_plate_takes_its_pass_along(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    correct(lake, "r00002", vehicle_id="v2")
    found, counts = find_all(lake)
    assert (counts["withdrawn"], found.height, asked(lake)) == (1, 0, 2)


def compact(lake: Lake, **info: object) -> None:
    files = lake.table("passes").files()
    rows = pl.concat([pl.read_parquet(f) for f in files])
    commit(lake, [rows.sample(fraction=1, shuffle=True, seed=1)], files,
           **({"operation": "compact"} | info))


def test_compaction_asks_nobody(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    commit(lake, [two_over(3, "v2", 0)])
    find_all(lake)
    compact(lake)
    find_all(lake)
    assert asked(lake) == 0
    assert finding.changed_files(lake.table("passes"), 1) == ([], [])


def test_what_was_compacted_after_it_came_is_looked_at(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    commit(lake, [two_over(3, "v2", 0)])
    compact(lake)
    correct(lake, "r00001", opacity_pct=1.0)
    found, _ = find_all(lake)
    assert (found["vehicle_id"].to_list(), asked(lake)) == (["v2"], 2)


def test_a_file_that_came_and_went_again_is_no_news(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    commit(lake, [two_over(3, "v2", 0)])
    passing = lake.table("passes").files()[-1]
    commit(lake, [], [passing], operation="purge")
    assert finding.changed_files(lake.table("passes"), 0) == ([], [])
    passing.unlink()
    find_all(lake)
    assert asked(lake) == 0


def test_an_entry_that_only_calls_itself_a_compaction_is_none(lake: Lake):
    commit(lake, [two_over(1, "v1", 0), two_over(3, "v2", 0)])
    find_all(lake)
    commit(lake, [], lake.table("passes").files()[:1], operation="compact")
    found, counts = find_all(lake)
    assert (counts["withdrawn"], found["vehicle_id"].to_list()) == (1, ["v2"])


def test_rows_that_changed_places_with_others_are_told_by_what_they_say(lake: Lake):
    commit(lake, [two_over(1, "v1", 0), two_over(3, "v2", 0)])
    find_all(lake)
    files = lake.table("passes").files()
    mild = two_over(3, "v2", 0).with_columns(opacity_pct=pl.lit(2.0))
    commit(lake, [pl.concat([two_over(1, "v1", 0), mild])], files, operation="rotate")
    _, counts = find_all(lake)
    assert (counts["withdrawn"], asked(lake)) == (1, 1)


# When everything is looked at


def test_other_law_another_zone_or_another_code_asks_everybody(lake: Lake, monkeypatch):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    folder = lake.path / "regulations"
    folder.mkdir(exist_ok=True)
    text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8")
    (folder / f"{HJ845}.toml").write_text(text.replace("value = 30.0", "value = 45.0"),
                                          encoding="utf-8")
    _, counts = find_all(lake)
    assert (counts["withdrawn"], asked(lake)) == (1, None)
    lake.configure(timezone="Europe/London")
    find_all(lake)
    assert asked(lake) is None
    monkeypatch.setattr(findings, "REVISION", findings.REVISION + 1)
    find_all(lake)
    assert asked(lake) is None
    version = lake.table("findings").version()
    find_all(lake)
    assert lake.table("findings").version() == version


def test_only_the_regulation_that_changed_is_made_anew(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    before = finding.made_from(lake)
    commit(lake, [two_over(3, "v2", 0)])
    find_all(lake, [HJ845])
    after = finding.made_from(lake)
    assert {r for r in LAWS if before[r] != after[r]} == {HJ845}
    assert (before[HJ845].passes, after[HJ845].passes) == (0, 1)
    _, counts = find_all(lake)
    assert counts["total"] == 2
    assert {made.passes for made in finding.made_from(lake).values()} == {1}


def test_everything_is_asked_on_demand(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    table = lake.table("findings")
    with lake.writer():  # what nobody but a fault could write
        wrong = table.scan().collect().with_columns(first_value=pl.lit(99.0))
        table.commit([table.write(wrong, "findings")], overwrite=True,
                     info=finding.note(finding.made_from(lake)))
    assert find_all(lake)[1]["changed"] == 0
    assert find_all(lake, everything=True)[1]["changed"] == 1


def test_findings_that_another_hand_changed_are_made_anew(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    table = lake.table("findings")
    with lake.writer():
        table.commit([], info={"operation": "vacuum"})  # changes no file: looked past
    assert set(finding.made_from(lake)) == set(LAWS)
    with lake.writer():
        table.commit([table.write(table.scan().collect().clear(), "x")], overwrite=True,
                     info={"operation": "purge"})
    assert finding.made_from(lake) == {}
    assert find_all(lake)[1]["new"] == 1


def test_a_file_that_was_removed_for_good_asks_everybody(lake: Lake):
    commit(lake, [two_over(1, "v1", 0)])
    commit(lake, [two_over(3, "v2", 0)])
    find_all(lake)
    gone = lake.table("passes").files()[0]
    commit(lake, [], [gone], operation="purge")
    gone.unlink()
    found, _ = find_all(lake)
    assert (found["vehicle_id"].to_list(), asked(lake)) == (["v2"], None)


def test_too_much_news_asks_everybody(lake: Lake, monkeypatch):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    monkeypatch.setattr(finding, "MOST_CHANGED_ROWS", 1)
    commit(lake, [two_over(3, "v2", 0)])
    find_all(lake)
    assert asked(lake) is None


def test_an_inspection_asks_its_vehicle(lake: Lake):
    commit(lake, [two_over(1, "v1", 0), two_over(3, "v2", 0)])
    find_all(lake)
    inspect(lake, [("v1", START + timedelta(hours=3)), ("v9", START)])
    found, counts = find_all(lake)
    assert (counts["withdrawn"], found["vehicle_id"].to_list(), asked(lake)) == (1, ["v2"], 2)


def test_a_crash_before_the_entry_leaves_the_findings_of_before(lake: Lake, monkeypatch):
    commit(lake, [two_over(1, "v1", 0)])
    find_all(lake)
    before = lake.table("findings").scan().collect()
    commit(lake, [two_over(3, "v2", 0)])

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(nightly, "keep", crash)
        with pytest.raises(KeyboardInterrupt):
            find_all(lake)
    assert Lake.open(lake.path).table("findings").scan().collect().equals(before)
    assert find_all(Lake.open(lake.path))[1]["new"] == 1


@pytest.fixture
def many(lake: Lake) -> Lake:
    """A lake with more findings than are held in memory at a time."""
    commit(lake, [two_over(10 * k, f"v{k}", 0) for k in range(30)])
    return lake


def test_more_findings_than_memory_holds_are_stored_part_by_part(many: Lake, monkeypatch):
    monkeypatch.setattr(finding, "HELD_FINDINGS", 7)
    monkeypatch.setattr(finding, "PIECE_ROWS", 5)
    monkeypatch.setattr(findings, "SHORT", 0)
    found, counts = find_all(many)
    assert counts == {"total": 30, "new": 30, "changed": 0, "withdrawn": 0}
    assert len(many.table("findings").files()) > 3
    assert found.equals(anew(many))
    files = many.table("findings").files()
    assert find_all(many, everything=True)[1]["new"] == 0
    assert many.table("findings").files() == files  # what did not change is not written again
    correct(many, "r00010", opacity_pct=2.0)
    correct(many, "r00020", opacity_pct=90.0)
    commit(many, [two_over(900, "w1", 0)])
    found, counts = find_all(many)
    assert counts == {"total": 30, "new": 1, "changed": 1, "withdrawn": 1}
    assert found.equals(anew(many))
    assert many.table("findings").scan().collect().sort(findings.ORDER).equals(found)
    assert not [p for p in many.path.iterdir() if p.name.startswith(".findings")]
    with many.writer():
        assert many.sweep() == []  # no staged file is left


# Any order of anything

VEHICLES = ("v1", "v2", "v3", None)
PASS = st.fixed_dictionaries({
    "vehicle_id": st.sampled_from(VEHICLES), "day": st.sampled_from([0, 1, 2, 100, 200, 0.5]),
    "opacity_pct": st.sampled_from([None, 5.0, 40.0, 40.0, 80.0]),
    "no_ppm": st.sampled_from([None, 100.0, 1600.0]), "co_pct": st.sampled_from([0.1, 3.0]),
    "hc_ppm": st.just(50.0), "emission_stage": st.sampled_from([2, 5, None]),
    "fuel": st.sampled_from(["diesel", "diesel", "gasoline"]),
    "is_valid": st.sampled_from([True, True, True, False]),
})
STEP = st.one_of(
    st.tuples(st.just("day"), st.lists(PASS, min_size=1, max_size=8)),
    st.tuples(st.just("day"), st.lists(PASS, min_size=1, max_size=8)),
    st.tuples(st.just("correct"), st.tuples(st.integers(0, 99), PASS)),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("purge"), st.tuples(st.integers(0, 99), st.booleans())),
    st.tuples(st.just("inspect"), st.tuples(st.sampled_from(VEHICLES[:3]),
                                            st.sampled_from([0.25, 1.5, 150]))),
    st.tuples(st.just("law"), st.sampled_from([30.0, 45.0])),
    st.tuples(st.just("find"), st.sampled_from([None, *LAWS])),
)


def take(lake: Lake, kind: str, what: object, number: int) -> None:
    """Do one thing to a lake."""
    current = finding.current_passes(lake).select("record_id").collect()["record_id"].sort()
    files = lake.table("passes").files()
    match kind, what:
        case "day", list():
            rows = [a_pass(number * 100 + k, r["vehicle_id"], r["day"],
                           **{n: v for n, v in r.items() if n not in ("vehicle_id", "day")})
                    for k, r in enumerate(what)]
            commit(lake, [frame(rows)])
        case "correct", (int(which), dict(values)) if len(current):
            values = {n: v for n, v in values.items() if n != "day"}
            correct(lake, current[which % len(current)], **values)
        case "compact", _ if files:
            compact(lake)
        case "purge", (int(which), bool(erases)) if files:
            old = files[which % len(files)]
            stays = pl.read_parquet(old).filter(pl.int_range(pl.len()) % 2 == 0)
            commit(lake, [stays], [old], operation="purge")
            if erases:
                old.unlink()
        case "inspect", (str(vehicle), day):
            inspect(lake, [(vehicle, START + timedelta(days=day))])
        case "law", float(limit):
            text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8")
            (lake.path / "regulations").mkdir(exist_ok=True)
            (lake.path / "regulations" / f"{HJ845}.toml").write_text(
                text.replace("value = 30.0", f"value = {limit}"), encoding="utf-8")
        case "find", one:
            find_all(lake, None if one is None else [one])


@pytest.fixture(scope="module")
def new_lake(tmp_path_factory) -> Path:
    return init_lake(tmp_path_factory.mktemp("lakes") / "new", regulations=LAWS)[0].path


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(STEP, st.booleans()), min_size=2, max_size=7))
def test_whatever_comes_in_whatever_order_the_findings_are_those_of_the_whole_history(
        new_lake: Path, steps: list[tuple[tuple[str, object], bool]]):
    place = new_lake.with_name(uuid.uuid4().hex)
    shutil.copytree(new_lake, place)
    lake = Lake.open(place)
    for number, ((kind, what), is_found) in enumerate(steps):
        take(lake, kind, what, number)
        if is_found or number == len(steps) - 1:
            found, _ = find_all(lake)
            assert found.equals(anew(lake))
            assert lake.table("findings").scan().collect().equals(found)
    shutil.rmtree(place)


def test_the_days_of_an_office_in_any_order_end_alike(tmp_path: Path):
    """Through the whole chain: late days, a record sent again, and a day that was there before."""
    days = {day: dump(tmp_path / f"{day}.csv", [
        record(jlbh=f"{plate}-{day}", hphm=f"闽D1234{plate}", jcsj=f"2026-09-{day:02} 08:00:00",
               btgdjg="55" if (plate + day) % 3 else "5") for plate in range(4)])
        for day in (1, 2, 3)}
    again = dump(tmp_path / "again.csv", [
        record(jlbh="1-1", hphm="闽D12341", jcsj="2026-09-01 08:00:00", btgdjg="4")])
    ends = []
    for order in ([days[1], days[2], days[3], again], [days[3], days[1], again, days[2], days[3]]):
        lake, _ = init_lake(tmp_path / f"lake{len(ends)}")
        for path in order:
            run(lake, [path])
        found = lake.table("findings").scan().collect()
        assert found.equals(anew(lake))
        ends.append(found.drop("vehicle_id").sort(pl.all()))
    assert ends[0].equals(ends[1])
    assert ends[0].height > 0

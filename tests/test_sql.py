"""The views over the lake's files, and the gate that a statement has to pass."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from rsd.columns import FINDINGS, OPEN_TABLES, PASSES, POLLUTANTS, TABLES, schema
from rsd.errors import PolicyRefusal, RsdError, StorageError, UsageError
from rsd.reasons import REASONS, codes, mask
from rsd.sql import Session, open_session
from rsd.views import PASSES_COLUMNS

CONTRACT_TEXT = """
record_id site_id line_id lane road_segment measured_at date hour vehicle_id plate_color
vehicle_class fuel emission_stage emission_standard first_registered use is_local speed_km_h
acceleration_m_s2 slope_deg vsp_device_kw_t vsp_kw_t co_co2 hc_co2 no_co2 no2_co2 nh3_co2
co2_pct co_pct hc_ppm no_ppm no2_ppm opacity_pct ringelmann co_g_kg hc_g_kg no_g_kg nox_g_kg
nh3_g_kg convention air_temperature_c relative_humidity_pct pressure_kpa wind_speed_m_s
plate_confidence_pct is_valid is_valid_co is_valid_hc is_valid_no is_valid_no2 is_valid_nox
is_valid_nh3 is_valid_opacity reasons exceeds_co exceeds_hc exceeds_no exceeds_no2
exceeds_nox exceeds_nh3 exceeds_opacity exceeds_ringelmann source_sha256 source_line
"""
CONTRACT = CONTRACT_TEXT.split()

CO_LAW = {"co": {"applies": "fuel = 'gasoline'", "tested": "is_valid AND co_pct IS NOT NULL",
                 "exceeds": "co_pct > 2.0"}}
SECRET = "闽D12345"


def passes(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Passes with the given values, null elsewhere."""
    return pl.DataFrame(rows, schema_overrides=schema(PASSES)).select(
        pl.col(name) if name in rows[0] else pl.lit(None, dtype).alias(name)
        for name, dtype in schema(PASSES).items())


ROWS = [
    {"record_id": "a", "measured_at": datetime(2026, 10, 1, 16, 30, tzinfo=UTC),
     "date": date(2026, 10, 2), "vehicle_id": "v1.a", "fuel": "gasoline", "co_pct": 0.1 + 0.2,
     "is_valid": True, "reason_bits": 0},
    {"record_id": "b", "measured_at": datetime(2026, 10, 1, 17, 0, tzinfo=UTC),
     "date": date(2026, 10, 2), "vehicle_id": "v1.b", "fuel": "gasoline", "co_pct": 2.5,
     "is_valid": True, "reason_bits": mask("SPEED_RANGE", "DEVICE_INVALID", "OUT_OF_REGION")},
    {"record_id": "c", "measured_at": datetime(2026, 10, 1, 18, 0, tzinfo=UTC),
     "date": date(2026, 10, 2), "vehicle_id": None, "fuel": "diesel", "co_pct": 9.0,
     "is_valid": False, "reason_bits": None},
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    """A lake with open and restricted files, in a folder with an awkward name."""
    root = tmp_path_factory.mktemp("lake") / "it's [a] lake"
    for part in ("open/passes", "open/findings", "restricted/vehicles"):
        (root / part).mkdir(parents=True)
    passes(ROWS).write_parquet(root / "open/passes/p1.parquet")
    pl.DataFrame({"vehicle_id": ["v1.a"], "found_at": [datetime(2026, 10, 2, tzinfo=UTC)]}
                 ).write_parquet(root / "open/findings/f1.parquet")
    pl.DataFrame({"plate": [SECRET]}).write_parquet(root / "restricted/vehicles/v.parquet")
    (root / "restricted/vehicle.key").write_text(SECRET, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def session(lake):
    with open_session({"passes": [lake / "open/passes/p1.parquet"],
                       "findings": [lake / "open/findings/f1.parquet"]}, CO_LAW) as opened:
        yield opened


# Views


def test_passes_has_the_contracts_columns_then_every_other_stored_one(session):
    names = session.query("FROM passes").columns
    assert names[: len(CONTRACT)] == CONTRACT
    assert set(names[len(CONTRACT):]) == {c.name for c in PASSES} - set(CONTRACT)
    assert tuple(names) == PASSES_COLUMNS


def test_types_are_the_declared_ones_with_and_without_files(session):
    wanted = schema(PASSES)
    with open_session({}, {}) as bare:
        for opened in (session, bare):
            found = opened.query("FROM passes").schema
            assert {n: found[n] for n in wanted} == dict(wanted)
            assert found["reasons"] == pl.List(pl.String)
            assert all(found[f"exceeds_{p}"] == pl.Boolean for p in POLLUTANTS)
        for table in OPEN_TABLES[1:]:
            assert bare.query(f"FROM {table}").schema == schema(TABLES[table])


def test_no_view_has_a_plate(session):
    names = session.query("SELECT column_name FROM (DESCRIBE FROM judged_passes)")["column_name"]
    assert not {"plate", "photo_1", "video_1", "raw"} & set(names)


def test_a_column_that_older_files_lack_is_null(session):
    found = session.query("FROM findings")
    assert found.schema == schema(FINDINGS)
    assert found["kind"].to_list() == [None]


def test_files_of_different_columns_are_one_table(tmp_path):
    passes(ROWS).drop("ringelmann").with_columns(pl.col("co_pct").cast(pl.Float32)).write_parquet(
        tmp_path / "old.parquet")
    passes(ROWS).with_columns(ringelmann=1.5).write_parquet(tmp_path / "new.parquet")
    with open_session({"passes": [tmp_path / "old.parquet", tmp_path / "new.parquet"]},
                      {}) as opened:
        found = opened.query("SELECT ringelmann, co_pct FROM passes ORDER BY ALL")
    assert found.dtypes == [pl.Float64, pl.Float64]
    assert found["ringelmann"].to_list() == [1.5] * 3 + [None] * 3


def test_reasons_are_the_codes_in_the_order_of_their_bits(session):
    found = session.query("SELECT reasons FROM passes ORDER BY record_id")["reasons"].to_list()
    assert found == [[], ["DEVICE_INVALID", "SPEED_RANGE", "OUT_OF_REGION"], []]


def test_every_reason_code_is_decoded(tmp_path):
    masks = [1 << r.bit for r in REASONS] + [(1 << 35) - 1]
    passes([{"record_id": str(i), "source_line": i, "reason_bits": bits}
            for i, bits in enumerate(masks)]).write_parquet(tmp_path / "p.parquet")
    with open_session({"passes": [tmp_path / "p.parquet"]}, {}) as opened:
        found = opened.query("SELECT reasons FROM passes ORDER BY source_line")["reasons"]
    assert found.to_list() == [codes(bits) for bits in masks]


def test_exceedance_is_null_where_untested_and_where_no_regulation_judges(session):
    found = session.query("SELECT exceeds_co, exceeds_no FROM passes ORDER BY record_id")
    assert found["exceeds_co"].to_list() == [False, True, None]
    assert found["exceeds_no"].to_list() == [None, None, None]


def test_a_replaced_version_is_no_pass(tmp_path):
    passes([{"record_id": "a", "is_current": False}, {"record_id": "a", "is_current": True},
            {"record_id": "b", "is_current": None}]).write_parquet(tmp_path / "p.parquet")
    with open_session({"passes": [tmp_path / "p.parquet"]}, {}) as opened:
        assert opened.query("SELECT count(*) AS n FROM passes")["n"][0] == 2


def test_float64_and_instants_come_through_unchanged(session):
    found = session.query("SELECT co_pct, measured_at FROM passes ORDER BY record_id")
    assert found["co_pct"].to_list() == [0.1 + 0.2, 2.5, 9.0]
    assert found["measured_at"].dtype == pl.Datetime("us", "UTC")
    assert found["measured_at"][0] == ROWS[0]["measured_at"]


def test_the_sessions_clock_is_utc(session):
    text = "SELECT strftime(measured_at, '%H:%M') AS t FROM passes WHERE record_id = 'a'"
    assert session.query(text)["t"][0] == "16:30"


def test_no_decimals_and_no_intervals_come_out(session):
    found = session.query(
        "SELECT sum(source_line) s, 0.5 d, 2::HUGEINT h, 'x'::ENUM('x') e, "
        "170141183460469231731687303715884105727 big, max(measured_at) - min(measured_at) i "
        "FROM passes")
    assert found.dtypes == [pl.Int64, pl.Float64, pl.Int64, pl.String, pl.Float64, pl.String]
    assert found["i"][0] == "01:30:00"


def test_the_order_asked_for_is_kept_and_equal_names_are_told_apart(session):
    found = session.query("SELECT i, i * INTERVAL 1 DAY AS i FROM range(9000) t(i) ORDER BY i DESC")
    assert found.columns == ["i", "i_1"]
    assert found.dtypes == [pl.Int64, pl.String]
    assert found["i"].to_list() == list(range(8999, -1, -1))


def test_unknown_table_or_pollutant_for_a_session_is_refused():
    for files, law in (({"vehicles": []}, {}), ({}, {"co2": {}})):
        with pytest.raises(UsageError), open_session(files, law):
            pass


def test_a_missing_file_is_a_storage_error_without_its_folder(tmp_path):
    gone = tmp_path / "open" / "gone.parquet"
    with pytest.raises(StorageError) as caught, open_session({"passes": [gone]}, {}):
        pass
    assert str(tmp_path) not in str(caught.value)


def test_a_broken_file_is_a_usable_error(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"not parquet at all, whatever its name says")
    with pytest.raises(RsdError) as caught, \
            open_session({"passes": [tmp_path / "broken.parquet"]}, {}):
        pass
    assert str(tmp_path) not in str(caught.value)


def test_pyarrow_is_not_needed_and_nothing_is_said_at_the_end(lake):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom rsd.sql import open_session\n"
        "with open_session({'passes': [Path(sys.argv[1])]}, {}) as s:\n"
        "    print(s.query('SELECT measured_at, reasons, is_valid FROM passes').height)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, lake / "open/passes/p1.parquet"],
                          capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[1])
    assert (done.stdout.strip(), done.stderr) == ("3", "")


# What must work


GOOD = [
    "SELECT count(*) FROM passes", "FROM passes", "TABLE passes", "VALUES (1)",
    "  -- a comment\n SELECT 1;", "select 1;;", "/* a */ EXPLAIN SELECT * FROM passes",
    "EXPLAIN ANALYZE SELECT * FROM passes", "DESCRIBE passes", "SHOW TABLES", "SUMMARIZE passes",
    "WITH x AS (SELECT * FROM passes), y AS (FROM x) SELECT * FROM y JOIN x USING (record_id)",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r",
    "SELECT * FROM passes WHERE list_contains(reasons, 'SPEED_RANGE')",
    "SELECT unnest(reasons) AS code, count(*) AS n FROM passes GROUP BY 1 ORDER BY 1 LIMIT 3",
    "SELECT fuel, quantile_cont(co_pct, [0.5]) FROM passes GROUP BY GROUPING SETS ((fuel), ())",
    "SELECT *, row_number() OVER (PARTITION BY fuel ORDER BY hour) k FROM passes QUALIFY k = 1",
    "SELECT * FROM main.passes p, range(3) t(i) WHERE i < 2",
    "SELECT DISTINCT ON (fuel) * FROM passes",
    "SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3", "SELECT * FROM sites, segments, findings, runs",
    "SELECT * EXCLUDE (lane) REPLACE (co_pct * 2 AS co_pct) FROM passes",
    "SELECT (SELECT max(co_pct) FROM passes), EXISTS (FROM passes), 3 IN (SELECT hour FROM passes)",
    "SELECT list_transform(reasons, lambda r: lower(r)) FROM passes USING SAMPLE 50%",
    "SELECT date_trunc('month', date), strftime(measured_at, '%Y'), median(co_pct) "
    "FROM passes GROUP BY ALL",
    "SELECT count(*) FILTER (exceeds_co), avg(tested_co::INT) FROM judged_passes",
    "SELECT co_pct, lag(co_pct) OVER w FROM passes WINDOW w AS (ORDER BY measured_at)",
    "SELECT CASE WHEN co_pct > 1 THEN 'high' END, fuel LIKE 'g%', fuel ~ 'g' FROM passes",
    "SELECT COLUMNS('co_.*') FROM passes", "SELECT histogram(hour) FROM passes",
    "SELECT s.a.b FROM (SELECT {'a': {'b': 1}} AS s)", "SELECT fuel GLOB 'g*' FROM passes",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_question_is_answered(session, text):
    assert isinstance(session.query(text), pl.DataFrame)


# What must not


ATTACKS = r"""
# files, through functions and as tables
SELECT * FROM read_text('{key}')
SELECT * FROM read_blob('{key}')
SELECT * FROM read_csv('{key}')
SELECT * FROM read_csv_auto('/etc/passwd')
FROM read_parquet('{vault}')
FROM parquet_scan('{vault}')
FROM '{vault}'
FROM "{vault}"
FROM read_parquet('{mine}')
FROM '{mine}'
FROM read_parquet('{lake}/open/passes/../../restricted/vehicles/*.parquet')
FROM read_json('{key}')
FROM read_ndjson_objects('{key}')
FROM glob('{lake}/**')
FROM sniff_csv('{key}')
FROM parquet_metadata('{mine}')
FROM parquet_schema('{vault}')
FROM parquet_kv_metadata('{mine}')
FROM parquet_file_metadata('{mine}')
FROM read_duckdb('{lake}/x.duckdb')
FROM READ_TEXT('{key}')
FROM "read_text"('{key}')
FROM 'https://a.b/c.parquet'
SELECT (SELECT content FROM read_text('{key}')) FROM passes
SELECT * FROM passes WHERE EXISTS (FROM '{vault}')
WITH t AS (FROM read_text('{key}')) FROM t
WITH "{vault}" AS (FROM "{vault}") FROM "{vault}"
SELECT * FROM passes JOIN '{vault}' ON true
DESCRIBE '{vault}'
SUMMARIZE '{vault}'
SELECT * FROM (DESCRIBE FROM '{vault}')
EXPLAIN FROM read_text('{key}')
EXPLAIN ANALYZE FROM '{vault}'
# writing
COPY passes TO '{out}'
COPY (FROM passes) TO '{out}' (FORMAT parquet)
WITH x AS (COPY passes TO '{out}') SELECT * FROM x
WITH x AS (COPY passes TO '{mine}') SELECT 1
SELECT * FROM (WITH x AS (COPY passes TO '{out}') FROM x)
WITH x AS (INSERT INTO runs VALUES (1) RETURNING *) FROM x
WITH x AS (DELETE FROM runs RETURNING *) FROM x
EXPLAIN ANALYZE COPY passes TO '{out}'
EXPLAIN ANALYZE CREATE TABLE t AS FROM passes
EXPORT DATABASE '{lake}/dump'
CREATE TABLE t AS FROM passes
CREATE OR REPLACE VIEW passes AS SELECT 1
DROP VIEW passes
INSERT INTO runs VALUES (1)
UPDATE runs SET file = 'x'
DELETE FROM runs
ATTACH '{lake}/x.duckdb'
IMPORT DATABASE '{lake}'
VACUUM
CHECKPOINT
TRUNCATE runs
# settings, extensions, procedures
SET enable_external_access = true
RESET lock_configuration
SET threads = 64
PRAGMA database_list
PRAGMA enable_profiling
CALL pragma_version()
INSTALL httpfs
LOAD icu
CREATE SECRET s (TYPE s3)
USE memory
PREPARE p AS SELECT 1
EXECUTE p
CREATE MACRO m() AS 1
BEGIN
SHOW DATABASES
SHOW ALL TABLES
SET VARIABLE x = 1
EXPLAIN PRAGMA database_list
# what the engine knows of itself
FROM duckdb_settings()
FROM duckdb_views()
FROM duckdb_views
FROM sqlite_master
FROM information_schema.views
FROM pg_catalog.pg_views
FROM pg_views
FROM duckdb_databases()
FROM duckdb_logs
FROM duckdb_secrets()
FROM duckdb_external_file_cache()
FROM duckdb_temporary_files()
FROM duckdb_functions()
FROM pragma_database_list
FROM which_secret('x', 's3')
FROM system.main.duckdb_views
FROM memory.information_schema.tables
WITH duckdb_views AS (FROM duckdb_views) SELECT sql FROM duckdb_views
WITH a AS (SELECT 1), SQLITE_MASTER AS (FROM sqlite_master) FROM sqlite_master
SELECT * FROM (WITH sqlite_master AS (SELECT 1) FROM sqlite_master), sqlite_master
WITH RECURSIVE sqlite_master AS (FROM sqlite_master UNION FROM sqlite_master) FROM sqlite_master
SELECT current_setting('allowed_paths')
SELECT getenv('HOME')
SELECT Current_Setting('temp_directory')
SELECT getvariable('x')
SELECT 'allowed_paths'.current_setting()
SELECT try(current_setting('allowed_paths'))
SELECT * FROM range(length(current_setting('temp_directory')))
SELECT * FROM passes LIMIT length(current_setting('temp_directory'))
SELECT COLUMNS(lambda c: current_setting('temp_directory') > c) FROM passes
SELECT sum(hour) OVER (ORDER BY current_setting('temp_directory')) FROM passes
SELECT pg_get_viewdef(1)
SELECT sum(1) FROM passes WHERE 'a' < current_setting('x')
SELECT * FROM passes ORDER BY current_setting('allowed_paths')
SELECT list_transform([1], lambda x: current_setting('allowed_paths'))
SELECT json_serialize_plan('FROM passes')
SELECT write_log('x')
SELECT nextval('s')
SELECT system.main.current_setting('allowed_paths')
# a statement inside a text
FROM query('FROM passes')
FROM query('COPY passes TO ''{out}''')
FROM query_table('{vault}')
FROM query_table(['passes'])
FROM json_execute_serialized_sql(json_serialize_sql('FROM passes'))
FROM histogram('passes', co_pct)
FROM pragma_table_info('passes')
FROM test_all_types()
FROM python_map_function()
FROM arrow_scan(1, 2, 3)
# more than one, none, and what is no question
SELECT 1; SELECT 2
SELECT 1; COPY passes TO '{out}'
PIVOT passes ON fuel USING count(*)
SELECT $1
FROM lake
FROM attacks
FROM stored_passes
FROM vehicles
FROM restricted.vehicles
"""


def attacks(lake: Path) -> list[str]:
    """Statements that would read, write or tell what they must not."""
    paths = {"key": "restricted/vehicle.key", "vault": "restricted/vehicles/v.parquet",
             "mine": "open/passes/p1.parquet", "out": "out.parquet", "lake": ""}
    quoted = {name: str(lake / path).replace("'", "''") for name, path in paths.items()}
    listed = [line.format(**quoted) for line in ATTACKS.splitlines()
              if line and not line.startswith("#")]
    deep = "SELECT " + "(" * 5000 + "1" + ")" * 5000
    return [*listed, "", ";", "-- nothing", "SELECT 1\0; DROP VIEW passes", deep,
            "SELECT 1 UNION ALL " * 50_000 + "SELECT 1"]


def snapshot(lake: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in lake.rglob("*"))


def test_no_attack_gets_through(session, lake):
    before, escapes = snapshot(lake), []
    for text in attacks(lake):
        try:
            escapes.append((text, session.query(text, deadline_s=5.0)))
        except (PolicyRefusal, UsageError) as error:
            if SECRET in str(error) or str(lake) in str(error):
                escapes.append((text, str(error)))
    assert escapes == []
    assert snapshot(lake) == before
    assert len(attacks(lake)) > 60
    assert session.query("SELECT count(*) AS n FROM passes")["n"][0] == 3


def test_the_engine_itself_reads_nothing_but_the_named_files(session, lake):
    """The second defence, were the gate to fail."""
    import duckdb

    for path in (lake / "restricted/vehicles/v.parquet", lake / "restricted/vehicle.key"):
        quoted = str(path).replace("'", "''")
        for text in (f"FROM read_blob('{quoted}')", f"COPY (SELECT 1) TO '{quoted}.new'",
                     f"ATTACH '{quoted}.db'", "SET enable_external_access = true",
                     "INSTALL httpfs"):
            with pytest.raises(duckdb.Error):
                session.connection.execute(text).fetchall()


def test_no_path_of_the_lake_leaks_through_plans_and_errors(session, lake):
    shown = [str(session.query(f"EXPLAIN {how} SELECT * FROM passes").rows())
             for how in ("", "ANALYZE")]
    for text in ("SELECT nope FROM passes", "SELECT fuel::INT FROM passes", "SELECT 1 +"):
        with pytest.raises(UsageError) as caught:
            session.query(text)
        shown.append(str(caught.value))
    assert not any(part in text for text in shown for part in (str(lake), "p1.parquet"))


def test_a_file_that_vanishes_is_a_storage_error_without_its_path(tmp_path):
    file = tmp_path / "p.parquet"
    passes(ROWS).write_parquet(file)
    with open_session({"passes": [file]}, {}) as opened:
        file.unlink()
        with pytest.raises(StorageError) as caught:
            opened.query("FROM passes")
    assert str(tmp_path) not in str(caught.value)


# Errors speak to the person who typed


def test_a_mistyped_table_is_named_with_the_likely_one(session):
    with pytest.raises(UsageError, match=r"pases.*Did you mean passes\?"):
        session.query("SELECT * FROM pases")


def test_a_mistyped_column_comes_with_the_engines_hint(session):
    with pytest.raises(UsageError, match=r"co_pc.*Candidate bindings.*co_pct"):
        session.query("SELECT co_pc FROM passes")


def test_errors_are_one_line(session):
    with pytest.raises(UsageError) as caught:
        session.query("SELECT *\nFROM passes\nWHERE")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [
    "SELECT count(*) FROM range(1000000000000) a, range(1000000) b",
    "SELECT * FROM range(1000000000000)",
    "EXPLAIN ANALYZE SELECT count(*) FROM range(1000000000000)",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a FROM r) SELECT count(*) FROM r",
])
def test_the_deadline_stops_a_query_and_leaves_the_session_usable(session: Session, text):
    with pytest.raises(PolicyRefusal, match=r"0\.2 s"):
        session.query(text, deadline_s=0.2)
    assert session.query("SELECT 1 AS one")["one"][0] == 1


@pytest.mark.parametrize("text", [
    "SELECT list_sum(range(300000000))", "SELECT repeat('x', 4000000000)",
    "SELECT list_resize([1], 300000000)", "SELECT generate_series(1, 300000000) FROM passes",
])
def test_a_call_that_would_pass_the_memory_limit_by_is_refused(session, text):
    with pytest.raises(PolicyRefusal, match="fill the memory"):
        session.query(text)


def test_an_answer_beyond_the_limit_is_refused_not_cut(session, monkeypatch):
    monkeypatch.setattr("rsd.sql.MAX_CELLS", 10)
    assert session.query("SELECT i, i FROM range(5) t(i)").height == 5
    with pytest.raises(PolicyRefusal, match="too large"):
        session.query("SELECT i, i FROM range(6) t(i)")


def test_the_private_folder_for_spills_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_session({}, {}):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []

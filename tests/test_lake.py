"""The lake: settings, the lock, tables, and that any Delta reader understands them."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from rsd.columns import PASSES, QUARANTINE, SEGMENTS, TABLES, empty, schema
from rsd.errors import IntegrityError, LakeBusy, StorageError, UsageError
from rsd.lake import BATCH, COMPACTED, Lake

NOON = dt.datetime(2026, 10, 1, 4, 0, 0, 123456, tzinfo=dt.UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.create(tmp_path / "lake")


def passes(*ids: str, at: dt.datetime = NOON) -> pl.DataFrame:
    n = len(ids)
    blank = pl.DataFrame({c.name: pl.Series([None] * n, dtype=c.dtype) for c in PASSES})
    return blank.with_columns(
        pl.Series("record_id", ids, dtype=pl.String),
        pl.Series("measured_at", [at] * n, dtype=pl.Datetime("us", "UTC")),
        pl.lit(12, pl.Int8).alias("hour"),
        pl.lit(-0.25).alias("co_pct"),
        pl.lit(True).alias("is_valid"),
    )


def quarantined(*raw: bytes) -> pl.DataFrame:
    return empty(QUARANTINE).clear(len(raw)).with_columns(
        pl.Series("raw", raw, dtype=pl.Binary), pl.int_range(len(raw)).alias("line"))


def segments(*ids: str) -> pl.DataFrame:
    return empty(SEGMENTS).clear(len(ids)).with_columns(pl.Series("segment_id", ids))


def put(lake: Lake, name: str, frame: pl.DataFrame, batch: str, **kwargs: object) -> int:
    with lake.writer():
        table = lake.table(name)
        return table.commit([table.write(frame, batch)], **kwargs)  # type: ignore[arg-type]


# --- settings -----------------------------------------------------------------------------------


def test_create_then_open_gives_the_same_settings(tmp_path: Path) -> None:
    made = Lake.create(tmp_path / "a" / "b", timezone="Europe/London",
                       regulations=("cn_hj845_2017", "x"),
                       settings={"local_plate_prefix": '闽"D\x7f\\\n', "max_quarantine": 1})
    opened = Lake.open(tmp_path / "a" / "b")
    assert (opened.timezone, opened.regulations) == ("Europe/London", ("cn_hj845_2017", "x"))
    assert opened.settings == made.settings
    assert opened.settings["local_plate_prefix"] == '闽"D\x7f\\\n'
    assert opened.settings["max_quarantine"] == 1.0
    assert opened.settings["convention"] == ""


def test_create_refuses_a_lake_a_full_folder_and_a_file(tmp_path: Path) -> None:
    Lake.create(tmp_path / "lake")
    with pytest.raises(UsageError, match="already a lake"):
        Lake.create(tmp_path / "lake")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").touch()
    with pytest.raises(UsageError, match=r"not empty and no lake: found note\.txt"):
        Lake.create(tmp_path / "full")
    with pytest.raises(UsageError, match="no folder"):
        Lake.create(tmp_path / "full" / "note.txt")


@pytest.mark.parametrize("zone", ["Asia/Shanghia", "", "Asia", "../etc/passwd", "localtime", None])
def test_an_unknown_time_zone_is_refused_before_anything_is_made(
    tmp_path: Path, zone: str
) -> None:
    with pytest.raises(UsageError, match="unknown time zone"):
        Lake.create(tmp_path / "lake", timezone=zone)
    assert not (tmp_path / "lake").exists()


def test_a_misspelt_time_zone_is_answered_with_the_likely_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Perhaps Asia/Shanghai"):
        Lake.create(tmp_path / "lake", timezone="Asia/Shanghia")


@pytest.mark.parametrize(("line", "message"), [
    ("colour = 1", "unknown key 'colour'"),
    ("regulation = []", "Perhaps regulations"),
    ("layout = 2", "newer rsd"),
    ("layout = true", "no lake of rsd"),
    ("timezone = 8", "unknown time zone"),
    ('regulations = "cn_hj845_2017"', "no list of ids"),
    ("settings = 1", "settings is no table"),
    ("[settings]\nconvntion = 'x'", "Perhaps convention"),
    ("[settings]\nmax_quarantine = '5 %'", "wrong type"),
    ("[settings]\nmin_vehicles = true", "wrong type"),
    ("a b c", "no TOML"),
])
def test_a_wrong_settings_file_is_refused(lake: Lake, line: str, message: str) -> None:
    right = {"layout": "layout = 1", "timezone": "timezone = 'Asia/Shanghai'",
             "regulations": "regulations = []"}
    right.pop(line.partition(" ")[0], None)
    (lake.path / "rsd.toml").write_text("\n".join([*right.values(), line]))
    with pytest.raises(UsageError, match=message) as caught:
        Lake.open(lake.path)
    assert str(lake.path / "rsd.toml") in str(caught.value)


def test_open_refuses_what_is_no_lake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        Lake.open(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no rsd\.toml"):
        Lake.open(tmp_path)


def test_configure_changes_one_setting_and_keeps_the_others(lake: Lake) -> None:
    lake.configure(settings={"min_vehicles": 10})
    lake.configure(regulations=("a",))
    assert (lake.settings["min_vehicles"], lake.regulations) == (10, ("a",))
    assert Lake.open(lake.path).settings == lake.settings
    with pytest.raises(UsageError):
        lake.configure(settings={"nonsense": 1})


def test_restricted_is_closed_to_others_and_open_is_not(lake: Lake) -> None:
    put(lake, "quarantine", quarantined(b"x"), "b1")
    put(lake, "passes", passes("r1"), "b1")

    def mode(*parts: str) -> int:
        return stat.S_IMODE(lake.path.joinpath(*parts).stat().st_mode) & 0o077

    assert mode("restricted") == 0
    assert mode("restricted", "quarantine") == 0
    assert mode("restricted", "quarantine", "_delta_log") == 0
    assert mode("open", "passes") & 0o055 == 0o055 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_key_lies_in_restricted_unless_it_was_moved(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RSD_KEY_FILE", raising=False)
    assert lake.key_path == lake.path / "restricted" / "vehicle.key"
    monkeypatch.setenv("RSD_KEY_FILE", "/elsewhere/key")
    assert lake.key_path == Path("/elsewhere/key")


# --- the lock -----------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_one_is(lake: Lake) -> None:
    with lake.writer(), pytest.raises(LakeBusy, match=f"process {os.getpid()} on ") as caught, \
            Lake.open(lake.path).writer():
        pass
    assert caught.value.exit_code == 5
    with Lake.open(lake.path).writer():  # and it is free afterwards
        pass


def test_the_lock_of_the_same_lake_may_be_taken_again(lake: Lake) -> None:
    with lake.writer():
        with lake.writer():
            pass
        with pytest.raises(LakeBusy), Lake.open(lake.path).writer():
            pass


@pytest.mark.parametrize("text", [
    "", "rubbish", '{"pid": 1}', "[]",
    '{"pid": 1, "since": "2020", "host": "h", "boot_id": "x", "process_start": "y"}',
])
def test_a_stale_lock_stops_nobody(lake: Lake, text: str) -> None:
    (lake.path / ".lock").write_text(text)
    with lake.writer():
        holder = json.loads((lake.path / ".lock").read_text())
        assert holder["pid"] == os.getpid()
        (lake.path / ".lock").write_text(text)
        with pytest.raises(LakeBusy, match="a process that"), Lake.open(lake.path).writer():
            pass


def test_a_killed_writer_leaves_the_lake_free(lake: Lake) -> None:
    program = ("import sys; from rsd.lake import Lake; "
               "w = Lake.open(sys.argv[1]).writer(); w.__enter__(); print('held', flush=True); "
               "sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program, str(lake.path)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LakeBusy, match=f"process {process.pid} on"), lake.writer():
            pass
        process.kill()
        process.wait()
        with lake.writer():
            pass


def test_the_lock_survives_the_loss_of_its_file(lake: Lake) -> None:
    with lake.writer():
        pass
    (lake.path / ".lock").unlink()
    with lake.writer(), pytest.raises(LakeBusy), Lake.open(lake.path).writer():
        pass


# --- tables -------------------------------------------------------------------------------------


def test_a_table_without_commits_is_empty_and_typed(lake: Lake) -> None:
    for name, columns in TABLES.items():
        table = lake.table(name)
        assert (table.version(), table.files(), table.transactions()) == (-1, [], set())
        assert table.scan().collect_schema() == schema(columns)
        assert table.scan().collect().height == 0


def test_an_unknown_table_is_refused(lake: Lake) -> None:
    with pytest.raises(UsageError, match="passes, sites"):
        lake.table("../passes")


def test_what_is_committed_is_read_back_bit_for_bit(lake: Lake) -> None:
    frame = passes("a", "b", "c").with_columns(pl.Series("co_pct", [-0.0, 1e-300, None]))
    assert put(lake, "passes", frame, "b1", transactions=["batch:b1", "file:ff"]) == 0
    table = Lake.open(lake.path).table("passes")
    assert_frame_equal(table.scan().collect(), frame, check_exact=True)
    assert table.transactions() == {"batch:b1", "file:ff"}
    assert table.has_transaction("file:ff")
    assert not table.has_transaction("file:00")


@pytest.mark.parametrize("name", list(TABLES))
def test_every_table_takes_its_declared_columns(lake: Lake, name: str) -> None:
    frame = empty(TABLES[name]).clear(2)
    put(lake, name, frame, COMPACTED)
    assert_frame_equal(lake.table(name).scan().collect(), frame)


def test_a_staged_file_is_seen_by_nobody(lake: Lake) -> None:
    with lake.writer():
        path = lake.table("passes").write(passes("a"), "b1")
        assert path.is_file()
        assert Lake.open(lake.path).table("passes").scan().collect().height == 0


def test_add_and_remove_are_one_version(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1")
    put(lake, "passes", passes("b"), "b2")
    table = lake.table("passes")
    with lake.writer():
        new = table.write(passes("a", "b"), "all")
        assert table.commit([new], remove=table.files(), info={"rows": 2}) == 2
    assert table.files() == [new]
    assert table.scan(0).collect()["record_id"].to_list() == ["a"]
    assert table.scan(1).collect()["record_id"].to_list() == ["a", "b"]
    assert [c.info for c in table.history()] == [{}, {}, {"rows": 2}]


def test_overwrite_replaces_and_time_travel_brings_back(lake: Lake) -> None:
    put(lake, "segments", segments("s1", "s2"), "b1")
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    put(lake, "segments", segments("s3"), "b2", overwrite=True)
    table = lake.table("segments")
    assert table.scan().collect()["segment_id"].to_list() == ["s3"]
    assert table.scan(0).collect()["segment_id"].to_list() == ["s1", "s2"]
    assert table.scan(-1).collect().height == 0
    assert table.version_at(before) == -1
    assert table.version_at(dt.datetime.now(dt.UTC)) == 1
    assert table.commit([], overwrite=True) == 2
    assert table.scan().collect().height == 0
    with pytest.raises(UsageError, match="no such version"):
        table.scan(3)


def test_a_known_transaction_is_not_committed_again(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1", transactions=["batch:b1"])
    with pytest.raises(IntegrityError, match="already committed"):
        put(lake, "passes", passes("a"), "b1", transactions=["batch:b1"])
    assert lake.table("passes").version() == 0


@pytest.mark.parametrize(("frame", "message"), [
    (passes("a").drop("co_pct"), "no co_pct"),
    (passes("a").with_columns(x=1), "undeclared x"),
    (passes("a").with_columns(pl.col("hour").cast(pl.Int64)), "hour is Int64"),
])
def test_wrong_columns_are_refused(lake: Lake, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        put(lake, "passes", frame, "b1")
    assert list(lake.path.glob("**/*.parquet")) == []


def test_a_file_that_is_no_staged_one_is_refused(lake: Lake, tmp_path: Path) -> None:
    table = lake.table("passes")
    put(lake, "passes", passes("a"), "b1")
    torn = table.new_file("b2")
    torn.write_bytes(b"PAR1 torn")
    other = table.new_file("b2")
    segments("s").write_parquet(other)
    for path, message in [(tmp_path / "x.parquet", "no staged file"), (table.files()[0], "part"),
                          (table.new_file("b2"), "missing"), (torn, "no whole Parquet"),
                          (other, "not those of the table")]:
        with pytest.raises(IntegrityError, match=message):
            table.commit([path])
    with pytest.raises(IntegrityError, match="not an active file"):
        table.commit([], remove=[other])
    assert table.version() == 0


@pytest.mark.parametrize("batch", ["", "../x", "a/b", ".a", "a" * 101, "ä"])
def test_a_batch_id_that_is_no_name_is_refused(lake: Lake, batch: str) -> None:
    with pytest.raises(UsageError, match="no batch id"):
        lake.table("passes").new_file(batch)


def test_the_log_keeps_rows_and_ranges(lake: Lake) -> None:
    later = NOON + dt.timedelta(days=1)
    put(lake, "passes", pl.concat([passes("b"), passes("a", at=later)]), "b1")
    (file,) = lake.table("passes").snapshot().files.values()
    assert file.statistics == {
        "numRecords": 2,
        "minValues": {"measured_at": "2026-10-01T04:00:00.123456Z", "record_id": "a"},
        "maxValues": {"measured_at": "2026-10-02T04:00:00.123456Z", "record_id": "b"},
        "nullCount": {"measured_at": 0, "record_id": 0},
    }
    assert file.version == 0


# --- restricted tables --------------------------------------------------------------------------


def test_restricted_rows_exist_once_their_batch_does(lake: Lake) -> None:
    put(lake, "quarantine", quarantined(b"\xff\0", b"y"), "b1")
    assert len(lake.table("quarantine").files()) == 1
    assert lake.visible_files("quarantine") == []
    assert lake.table("quarantine").scan().collect().height == 0
    put(lake, "passes", passes("a"), "b1", transactions=[BATCH + "b1"])
    assert lake.committed_batches() == {"b1"}
    assert lake.table("quarantine").scan().collect()["raw"].to_list() == [b"\xff\0", b"y"]


def test_a_second_try_of_a_batch_replaces_the_first(lake: Lake) -> None:
    put(lake, "quarantine", quarantined(b"other"), "b0")
    put(lake, "quarantine", quarantined(b"x"), "b1", transactions=["batch:b1"])
    put(lake, "quarantine", quarantined(b"x"), "b1", transactions=["batch:b1"])
    put(lake, "passes", passes("a"), "b1", transactions=["batch:b0", "batch:b1"])
    assert sorted(lake.table("quarantine").scan().collect()["raw"]) == [b"other", b"x"]
    with pytest.raises(IntegrityError, match="committed already"):
        put(lake, "quarantine", quarantined(b"x"), "b1")


def test_compacted_rows_need_no_batch(lake: Lake) -> None:
    put(lake, "quarantine", quarantined(b"x"), f"{COMPACTED}-1")
    assert lake.table("quarantine").scan().collect().height == 1


# --- other readers ------------------------------------------------------------------------------


def test_plain_delta_and_duckdb_read_the_tables(lake: Lake) -> None:
    import deltalake
    import duckdb

    frame = passes("a", "b")
    put(lake, "quarantine", quarantined(b"\xff\0"), "b1")
    put(lake, "passes", frame, "b1", transactions=["batch:b1", "file:ff"], info={"n": 2})
    put(lake, "passes", passes("c"), "b2", transactions=["batch:b2"])
    delta = deltalake.DeltaTable(str(lake.path / "open" / "passes"))
    assert delta.version() == 1
    assert {Path(uri).name for uri in delta.file_uris()} == {
        p.name for p in lake.table("passes").files()}
    assert delta.transaction_version("batch:b1") == 0
    assert delta.transaction_version("batch:b2") == 1
    assert delta.transaction_version("batch:b3") is None
    types = {f.name: f.type.type for f in delta.schema().fields}
    assert (types["measured_at"], types["hour"], types["is_valid"], types["date"]) == (
        "timestamp", "byte", "boolean", "date")
    assert delta.history()[0]["operation"] == "WRITE"
    statistics = pl.DataFrame(delta.get_add_actions(flatten=True))
    assert sorted(statistics["num_records"]) == [1, 2]
    by_polars = pl.scan_delta(str(lake.path / "open" / "passes"))
    kept = by_polars.filter(pl.col("measured_at") >= NOON).collect()
    assert_frame_equal(kept.sort("record_id"), pl.concat([frame, passes("c")]))
    files = [str(p) for p in lake.table("passes").files()]
    rows = duckdb.connect().execute(
        "select count(*), min(epoch_us(measured_at)), max(hour) from read_parquet(?)", [files]
    ).fetchone()
    assert rows == (3, int(NOON.timestamp()) * 1_000_000 + 123456, 12)
    raw = pl.scan_delta(str(lake.path / "restricted" / "quarantine")).collect()["raw"]
    assert raw.to_list() == [b"\xff\0"]
    assert delta.to_pyarrow_table().num_rows == 3


def test_a_commit_by_deltalake_is_read_here(lake: Lake) -> None:
    import deltalake

    put(lake, "segments", segments("s1"), "b1")
    put(lake, "segments", segments("s2"), "b2")
    deltalake.DeltaTable(str(lake.path / "open" / "segments")).optimize.compact()
    table = lake.table("segments")
    assert (table.version(), len(table.files())) == (2, 1)
    assert sorted(table.scan().collect()["segment_id"]) == ["s1", "s2"]
    put(lake, "segments", segments("s3"), "b3")
    assert table.scan().collect().height == 3


def many_commits(lake: Lake, count: int) -> None:
    table = lake.table("segments")
    with lake.writer():
        for k in range(count):
            kept = table.files()[:1] if k % 3 == 2 else []
            table.commit([table.write(segments(f"s{k}"), f"b{k}")], remove=kept,
                         transactions=[f"batch:b{k}"])


def test_checkpoints_change_nothing_that_is_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deltalake

    from rsd.storage import checkpoint, log

    monkeypatch.setattr(checkpoint, "EVERY", 5)
    many_commits(lake, 13)
    folder = lake.path / "open" / "segments"
    assert lake.notices == []
    assert [p.name[18:20] for p in sorted(folder.glob("_delta_log/*.checkpoint.parquet"))] == [
        "05", "10"]
    by_entries = log.read(folder / "_delta_log")
    monkeypatch.setattr(log, "_WORTH_A_CHECKPOINT", 0)
    by_checkpoint = log.read(folder / "_delta_log")
    assert by_checkpoint == by_entries
    assert list(by_checkpoint.files) == list(by_entries.files)
    delta = deltalake.DeltaTable(str(folder))
    assert {Path(uri).name for uri in delta.file_uris()} == set(by_entries.files)
    assert delta.transaction_version("batch:b3") == 3
    (folder / "_delta_log" / f"{10:020d}.checkpoint.parquet").write_bytes(b"PAR1")
    assert log.read(folder / "_delta_log") == by_entries
    for version in range(5):  # as a program leaves it that cleans the log up
        (folder / "_delta_log" / f"{version:020d}.json").unlink()
    assert log.read(folder / "_delta_log") == by_entries
    assert log.read(folder / "_delta_log", 5).version == 5


def test_the_history_is_not_cleaned_up(lake: Lake) -> None:
    import deltalake

    put(lake, "segments", segments("s1"), "b1")
    delta = deltalake.DeltaTable(str(lake.path / "open" / "segments"))
    assert delta.metadata().configuration["delta.enableExpiredLogCleanup"] == "false"


# --- torn entries, tampering, faults ------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 0.5, "lines"])
def test_a_torn_last_entry_counts_as_not_committed(lake: Lake, keep: float | str) -> None:
    put(lake, "passes", passes("a"), "b1", transactions=["batch:b1"])
    reached = (lake.path / ".versions").read_bytes()
    put(lake, "passes", passes("b"), "b2", transactions=["batch:b2"])
    (lake.path / ".versions").write_bytes(reached)  # its writer died before it could say so
    entry = lake.path / "open" / "passes" / "_delta_log" / f"{1:020d}.json"
    whole = entry.read_bytes()
    cut = whole.splitlines(keepends=True)[:2] if keep == "lines" else [
        whole[: int(len(whole) * keep) if isinstance(keep, float) else int(keep)]]
    entry.write_bytes(b"".join(cut))
    reopened = Lake.open(lake.path)
    assert entry.exists() is False
    assert [p.suffix for p in entry.parent.glob("*1.json*")] == [".torn"]
    assert "torn, not committed" in reopened.notices[0]
    assert reopened.table("passes").scan().collect()["record_id"].to_list() == ["a"]
    put(reopened, "passes", passes("b"), "b2", transactions=["batch:b2"])
    assert reopened.table("passes").scan().collect().height == 2
    import deltalake

    assert deltalake.DeltaTable(str(entry.parents[1])).version() == 1


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_last_entry_that_a_writer_answered_for_is_not_taken_for_a_torn_one(
        lake: Lake, damage: str) -> None:
    put(lake, "passes", passes("a"), "b1", transactions=["batch:b1"])
    put(lake, "passes", passes("b"), "b2", transactions=["batch:b2"])
    entry = lake.path / "open" / "passes" / "_delta_log" / f"{1:020d}.json"
    whole = entry.read_bytes()
    if damage == "cut":
        entry.write_bytes(whole[:200])
    else:
        entry.unlink()
    files = sorted(lake.path.glob("open/passes/*"))
    for _ in range(2):
        reopened = Lake.open(lake.path)
        with pytest.raises(IntegrityError, match=r"committed entry .* torn or gone"), \
                reopened.writer():
            raise AssertionError
        with pytest.raises(IntegrityError, match="torn or gone"):
            reopened.pinned()
        with pytest.raises(IntegrityError, match="torn or gone"):
            put(reopened, "runs", reopened.table("runs").scan().collect(), "b3")
        assert list(reopened.lost()) == ["passes"]
    assert sorted(lake.path.glob("open/passes/*")) == files, "nothing was swept"
    entry.write_bytes(whole)  # from a backup
    with Lake.open(lake.path).writer() as mended:
        assert mended.pinned().table("passes").scan().collect().height == 2


def test_versions_are_noted_by_the_last_to_let_go(lake: Lake) -> None:
    def told() -> object:
        return json.loads((lake.path / ".versions").read_text())["passes"]

    put(lake, "passes", passes("a"), "b1")
    with lake.writer():
        put(lake, "passes", passes("b"), "b2")
        assert told() == 0
    assert told() == 1
    with contextlib.suppress(ZeroDivisionError), lake.writer():
        put(lake, "passes", passes("c"), "b3")
        raise ZeroDivisionError
    assert told() == 2, "what was committed before an error is answered for too"


def test_a_lake_of_an_earlier_rsd_has_no_word_on_its_versions(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1")
    (lake.path / ".versions").unlink()
    assert Lake.open(lake.path).lost() == {}
    put(Lake.open(lake.path), "passes", passes("b"), "b2")
    assert json.loads((lake.path / ".versions").read_text())["passes"] == 1


def test_a_torn_entry_is_only_ignored_while_another_writes(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1")
    entry = lake.path / "open" / "passes" / "_delta_log" / f"{1:020d}.json"
    with lake.writer():
        entry.touch()
        reader = Lake.open(lake.path)
        assert entry.exists()
        assert "counts as not committed" in reader.notices[0]
        assert reader.table("passes").version() == 0


def test_a_torn_entry_in_the_middle_is_an_integrity_error(lake: Lake) -> None:
    for k in range(3):
        put(lake, "passes", passes(f"r{k}"), f"b{k}")
    (lake.path / "open" / "passes" / "_delta_log" / f"{1:020d}.json").write_bytes(b"")
    with pytest.raises(IntegrityError, match="torn"):
        Lake.open(lake.path).table("passes").files()


def test_a_log_that_points_outside_its_folder_is_refused(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1")
    log = lake.path / "open" / "passes" / "_delta_log"
    for path in ["../../restricted/x.parquet", "/etc/passwd", "file:///etc/passwd", "%2e%2e/x"]:
        (log / f"{1:020d}.json").write_text(json.dumps({"add": {"path": path, "size": 1}}))
        with pytest.raises(IntegrityError, match="outside its folder"):
            Lake.open(lake.path).table("passes").files()


def test_a_raised_protocol_is_refused(lake: Lake) -> None:
    put(lake, "passes", passes("a"), "b1")
    entry = lake.path / "open" / "passes" / "_delta_log" / f"{1:020d}.json"
    entry.write_text(json.dumps({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7}}))
    with pytest.raises(IntegrityError, match="minReaderVersion 3"):
        Lake.open(lake.path).table("passes").files()


def test_a_writer_that_ignores_the_lock_is_noticed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, "passes", passes("a"), "b1")
    real = os.link

    def rival(source: str, target: Path) -> None:
        Path(target).write_text('{"commitInfo": {}}\n')
        real(source, target)

    table = lake.table("passes")
    with lake.writer():
        path = table.write(passes("b"), "b2")
        monkeypatch.setattr(os, "link", rival)
        with pytest.raises(LakeBusy, match="another program"):
            table.commit([path])
    assert [p.name for p in (table.folder / "_delta_log").glob("*.tmp")] == []


def test_problems_names_what_was_changed_behind_our_back(lake: Lake) -> None:
    for k in range(4):
        put(lake, "passes", passes(f"r{k}"), f"b{k}")
    _, missing, longer, changed = lake.table("passes").files()
    assert lake.problems() == []
    missing.unlink()
    longer.write_bytes(longer.read_bytes() + b"x")
    changed.write_bytes(bytes(reversed(changed.read_bytes())))
    assert [p.rpartition(": ")[2] for p in lake.problems()] == [
        "missing", f"{longer.stat().st_size} bytes, the log says {longer.stat().st_size - 1}",
        "content was changed"]


def test_sweep_takes_what_the_dead_left_and_nothing_else(lake: Lake) -> None:
    put(lake, "segments", segments("s1"), "b1")
    put(lake, "segments", segments("s2"), "b2", overwrite=True)
    folder = lake.path / "open" / "segments"
    litter = [
        folder / "part-b9-00001-0123abcd.parquet",
        folder / "_delta_log" / f".{2:020d}.json.0123abcd.tmp",
        folder / ".checkpoint.0123abcd.tmp" / "_delta_log" / "x",
        lake.path / ".rsd.toml.0123abcd.tmp",
    ]
    strangers = [folder / "note.parquet", folder / "_delta_log" / "x.tmp", lake.path / "README"]
    for path in [*litter, *strangers]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with lake.writer():
        pass
    assert not any(path.exists() for path in litter)
    assert not litter[2].parents[1].exists()
    assert all(path.exists() for path in strangers)
    assert lake.table("segments").scan(0).collect()["segment_id"].to_list() == ["s1"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "link", "write", "mkdir"])
def test_a_fault_of_the_disk_names_path_and_remedy(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        put(lake, "passes", passes("a"), "b1")
    monkeypatch.undo()
    assert caught.value.exit_code == 6
    assert str(lake.path) in str(caught.value)
    assert caught.value.remedy
    assert Lake.open(lake.path).table("passes").files() == []


def test_a_full_disk_leaves_no_torn_file(lake: Lake) -> None:
    import resource

    rows = 60_000
    frame = pl.concat([passes(*map(str, range(rows)))]).with_columns(
        co_pct=pl.int_range(rows, dtype=pl.Int64).cast(pl.Float64).sin())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"), lake.writer():
            lake.table("passes").write(frame, "b1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(lake.path.glob("**/*.parquet")) == []


def test_a_fault_of_the_query_is_no_fault_of_the_disk(lake: Lake) -> None:
    broken = passes("a").lazy().with_columns(
        co_pct=pl.col("record_id").cast(pl.Float64, strict=True))
    with pytest.raises(pl.exceptions.InvalidOperationError), lake.writer():
        lake.table("passes").write(broken, "b1")
    assert list(lake.path.glob("**/*.parquet")) == []


@contextlib.contextmanager
def without_right(folder: Path) -> Iterator[None]:
    """Take the right to a folder away, from the superuser by being somebody else meanwhile."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(mode)


def test_without_the_right_to_restricted_the_rest_works() -> None:
    with tempfile.TemporaryDirectory() as folder:  # every user may enter it, unlike tmp_path
        Path(folder).chmod(0o755)
        lake = Lake.create(Path(folder) / "lake")
        put(lake, "quarantine", quarantined(b"x"), "b1")
        put(lake, "passes", passes("a"), "b1", transactions=["batch:b1"])
        assert lake.may_read_restricted
        with without_right(lake.path / "restricted"):
            reader = Lake.open(lake.path)
            assert not reader.may_read_restricted
            assert reader.table("passes").scan().collect().height == 1
            with pytest.raises(StorageError, match="Permission denied"):
                reader.table("quarantine").scan()

"""The whole chain on a small city and on hostile dumps: no plate is left where it may not be.

Everything that the commands write, print and log is searched, byte by byte and unpacked, for
every plate and every photograph's name that went in. Plates may stand under ``restricted/`` and in
what was exported with ``--plates``, and each such export in the audit.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from chain import HEADER, HIGH_NO, Answer, dump, record, rsd
from plate_scan import ENCODINGS, Scanner

from rsd.exports import fonts
from rsd.lake import Lake
from rsd.synthetic import simulate

SERIALS = ("Q7X9K", "W8Y3M", "Z4V6N", "J9R2H", "T5P7G", "U3C8E", "F2B9L", "S6K4W", "N8M5X", "H7G3Z")
"""Of invented plates, such as no number or code looks like."""

PLATES = tuple(f"闽D{serial}" for serial in SERIALS)
GREEN = "闽DD8X7Q3"[:3] + "98765"  # small new-energy vehicle
SECRET_PHOTO = "geheim-photo-4711"
SMOKE = {"btgdjg": "55", "lgmhd": "3"}


@dataclass
class Chain:
    """A lake through which everything went, and all that came out beside it."""

    root: Path
    lake: Path
    plates: set[str] = field(default_factory=set)
    said: list[tuple[str, bytes]] = field(default_factory=list)

    def ask(self, *words: object, codes: tuple[int, ...] = (0,)) -> Answer:
        """Run a command, keep what it said; the plates in its own words are the caller's."""
        answer = rsd(*words)
        assert answer.code in codes, (words, answer.code, answer.err)
        command = " ".join(map(str, words))
        self.said.append((command, (answer.out + answer.err).encode()))
        return answer

    @property
    def out(self) -> Path:
        """Where exports without plates go."""
        return self.root / "open-exports"

    @property
    def entitled(self) -> Path:
        """Where exports with plates go."""
        return self.root / "entitled-exports"


def hostile_dumps(folder: Path) -> None:
    """Plates in every spelling and encoding, and where no plate belongs."""
    folder.mkdir()
    p = PLATES
    good = [line for n, plate in enumerate(p) for line in (
        record(jlbh=f"a{n}", hphm=plate, jcsj=f"2026-09-0{n % 5 + 1} 08:00:0{n % 10}", **SMOKE,
               tp1=f"{plate}_front.jpg"),
        record(jlbh=f"b{n}", hphm=plate, jcsj=f"2026-09-1{n % 5} 09:00:0{n % 10}", **SMOKE,
               **HIGH_NO, tp1=f"{SECRET_PHOTO}-{n}.jpg"))]
    dump(folder / "gb.csv", good)
    spelt = [p[0].lower(), f"{p[1][:2]}·{p[1][2:]}", "".join(
        chr(ord(c) + 0xFEE0) if c.isascii() else c for c in p[2]), f" {p[3]} ", f"\u200b{p[4]}",
        f"{p[5][:4]} {p[5][4:]}", p[6][1:], f"{p[7]}?", GREEN]
    dump(folder / "spelt.csv", [record(jlbh=f"s{n}", hphm=text, jcsj="2026-09-20 08:00:00")
                                for n, text in enumerate(spelt)], encoding="utf-8")
    cells = ("jlbh", "dwbh", "ycxbh", "cdxh", "jcsj", "wxyy", "cpys", "hpzl", "cllx", "rlzl",
             "nojg", "btgdjg", "vsp", "clsd", "sbzxd", "pdjg")
    wrong = [record(**{"jlbh": f"w{n}", "hphm": p[8], "jcsj": "2026-09-21 08:00:00", cell: p[9]})
             for n, cell in enumerate(cells)]
    dump(folder / "wrong_cells.csv", wrong, encoding="utf-8")
    shifted = [record(jlbh="q1", hphm=p[0]) + f",{p[1]}", f"{p[2]}," + record(jlbh="q2", hphm=p[3]),
               ",".join(record(hphm=p[4]).split(",")[:9]), f"\"{p[5]},", p[6],
               record(jlbh="q3", hphm=p[7]).replace(",", "\x00", 1), *(",".join(HEADER),) * 2]
    dump(folder / "shifted.csv", shifted, encoding="utf-8")
    (folder / "mixed.csv").write_bytes(
        (",".join(HEADER) + "\n" + record(jlbh="m1", hphm=p[0]) + "\n").encode()
        + record(jlbh="m2", hphm=p[1]).encode("gb18030") + b"\n"
        + record(jlbh="m3", hphm=p[2]).encode("utf-16-le") + b"\n"
        + record(hphm=p[3]).encode()[:60])
    dump(folder / "wide.csv", [record(jlbh="x1", hphm=p[8], jcsj="2026-09-22 08:00:00")],
         encoding="utf-16")
    dump(folder / "unknown.csv", [record(hphm=p[9])], header=[f"{p[9]}{n}" for n in range(32)])
    dump(folder / f"{p[0]}_2026.csv", [record(jlbh="n1", hphm=p[0], jcsj="2026-09-23 08:00:00"),
                                       f"{p[0]},broken"], encoding="utf-8")
    (folder / f"{p[1]}.csv.gz").write_bytes(gzip.compress(record(hphm=p[1]).encode())[:-9])
    (folder / f"{p[2]}.csv").write_bytes(b"")


def plates_of(city: Path) -> set[str]:
    """Every plate of a synthetic city: from its registry and its dumps."""
    found = set(pl.read_csv(city / "registry.csv", infer_schema=False)["plate"].drop_nulls())
    for path in (city / "dumps").iterdir():
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for encoding in ("utf-8", "gb18030"):
            try:
                rows = list(csv.DictReader(raw.decode(encoding).splitlines()))
                break
            except UnicodeDecodeError:
                continue
        found |= {row["hphm"] for row in rows}
    return {plate for plate in found if re.fullmatch(r"\S{2}[A-Z0-9]{4,7}\S?", plate)}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("privacy")
    city, lake, log = root / "city", root / "lake", root / "events.jsonl"
    simulate(city, vehicles=400, days=3, seed=7)
    hostile_dumps(root / "hostile")
    c = Chain(root, lake, plates=plates_of(city) | set(PLATES))
    c.out.mkdir()
    c.entitled.mkdir()
    c.ask("init", lake, "--sites", city / "sites.csv", "--segments", city / "segments.geojson",
          "--registry", city / "registry.csv")
    c.ask("--log", log, "run", lake, city / "dumps", "--format", "json")
    # each hostile file by its own folder's name, so that the command itself says no plate
    c.ask("--log", log, "run", lake, root / "hostile", "--files", codes=(3, 4))
    c.ask("--log", log, "ingest", lake, root / "hostile", "--format", "json", codes=(3, 4))
    c.ask("find", lake)
    open_exports(c)
    entitled_exports(c)
    return c


def open_exports(c: Chain) -> None:
    """Everything that an officer or an analyst asks without ``--plates``."""
    vehicle = Lake.open(c.lake).table("findings").scan().collect()["vehicle_id"][0]
    finding = json.loads(c.ask("review", "list", c.lake, "--format", "json").out)[0]["finding_id"]
    c.ask("review", "confirm", c.lake, finding, "--reason", f"{PLATES[0]} is on the photograph")
    for suffix in ("csv", "xlsx", "json", "geojson", "parquet"):
        c.ask("export", "findings", c.lake, "-o", c.out / f"list.{suffix}", "--language", "zh")
        c.ask("export", "referral", c.lake, "-o", c.out / f"referral.{suffix}")
    c.ask("export", "findings", c.lake, "-o", c.out / "bare.csv", "--no-evidence", "--raw")
    c.ask("export", "findings", c.lake, "-o", c.out / "gone.json", "--withdrawn")
    if next(fonts.installed(), None):
        pytest.importorskip("typst")
        c.ask("export", "notices", c.lake, "-o", c.out / "notices")
        c.ask("export", "notices", c.lake, "-o", c.out / "drafts", "--unreviewed", "--language",
              "zh")
    for table in ("passes", "findings", "sites", "segments", "runs"):
        for form in ("csv", "json", "parquet"):
            c.ask("query", c.lake, f"SELECT * FROM {table}", "--format", form, "-o",
                  c.out / f"{table}.{form}")
        c.ask("query", c.lake, f"SELECT * FROM {table}")
    c.ask("aggregate", c.lake, "--by", "vehicle_class,road_segment", "--format", "json")
    c.ask("explain", c.lake, vehicle, "--format", "json")
    c.ask("explain", c.lake, vehicle)
    c.ask("quarantine", c.lake, "--rows", 0)
    for form in ("json", "csv"):
        c.ask("quarantine", c.lake, "--format", form, "-o", c.out / f"quarantine.{form}")
    c.ask("review", "list", c.lake, "--rows", 0)
    c.ask("review", "show", c.lake, finding)
    c.ask("audit", "show", c.lake, "--format", "json")
    c.ask("status", c.lake)
    c.ask("doctor", c.lake)
    c.ask("export", "findings", c.lake, "-o", c.out / "no.such", codes=(2,))
    c.ask("query", c.lake, "SELECT plate FROM vehicles", codes=(2, 8))
    c.ask("query", c.lake, f"SELECT nothing FROM passes WHERE record_id = '{PLATES[3]}'",
          codes=(2,))


def entitled_exports(c: Chain) -> None:
    """The same with ``--plates``: the audit must say so."""
    for suffix in ("csv", "xlsx", "json", "geojson", "parquet"):
        c.ask("export", "findings", c.lake, "-o", c.entitled / f"list.{suffix}", "--plates")
    c.ask("export", "referral", c.lake, "-o", c.entitled / "referral.csv", "--plates")
    if next(fonts.installed(), None):
        c.ask("export", "notices", c.lake, "-o", c.entitled / "notices", "--unreviewed", "--plates")
    answer = rsd("quarantine", c.lake, "--plates", "--format", "json", "-o",
                 c.entitled / "quarantine.json")
    assert answer.code == 0


@pytest.fixture(scope="module")
def scanner(chain: Chain) -> Scanner:
    tails = [plate[1:] for plate in PLATES]  # no province: still a plate to who knows the city
    return Scanner({*chain.plates, *tails}, patterns=[SECRET_PHOTO, ".jpg", ".mp4", *SERIALS])


def none_in(found: dict[str, set[str]]) -> None:
    """Fail with every place where something stands."""
    assert not found, "\n".join(f"{place}: {sorted(texts)}" for place, texts in found.items())


def test_the_city_has_plates_and_the_dumps_were_taken(chain: Chain):
    assert len(chain.plates) > 300
    runs = Lake.open(chain.lake).table("runs").scan().collect()
    assert runs["quarantined"].sum() > 10
    assert runs.filter(pl.col("state") == "refused").height >= 3
    assert Lake.open(chain.lake).table("findings").scan().collect().height >= len(PLATES)


def test_no_plate_lies_outside_restricted(chain: Chain, scanner: Scanner):
    others = [p for p in chain.lake.iterdir() if p.name != "restricted"]
    assert len(others) >= 2
    none_in(scanner.tree(*others))


def test_no_plate_is_said(chain: Chain, scanner: Scanner):
    """Neither printed, nor in an error, nor in a file name."""
    assert len(chain.said) > 40
    said = {command: scanner.find(text) for command, text in chain.said}
    none_in({command: found for command, found in said.items() if found})


def test_no_plate_is_logged(chain: Chain, scanner: Scanner):
    log = chain.root / "events.jsonl"
    assert log.stat().st_size > 0
    none_in(scanner.tree(log))


def test_no_plate_is_exported_without_plates(chain: Chain, scanner: Scanner):
    names = {path.name for path in chain.out.rglob("*")}
    assert {"list.xlsx", "passes.parquet", "quarantine.json", "list.csv.provenance.json"} <= names
    none_in(scanner.tree(chain.out))


def test_the_audit_names_no_plate(chain: Chain, scanner: Scanner):
    none_in(scanner.tree(chain.lake / "restricted" / "audit"))


def test_what_is_exported_with_plates_has_them_and_is_in_the_audit(chain: Chain, scanner: Scanner):
    lines = (chain.lake / "restricted" / "audit" / "audit.jsonl").read_text("utf-8").splitlines()
    shown = [r["details"] for r in map(json.loads, lines) if r["details"].get("plates")]
    recorded = {r.get("file") or r.get("folder") or "quarantine.json" for r in shown}
    given = {p.name for p in chain.entitled.iterdir() if not p.name.endswith(".provenance.json")}
    assert recorded == given
    assert len(shown) == len(given)
    assert all(r["plates_shown"] > 0 for r in shown)
    for path in chain.entitled.iterdir():
        if not path.name.endswith(".provenance.json"):
            assert any(set(PLATES) & found for found in scanner.tree(path).values()), path.name


def test_what_may_hold_plates_is_closed_to_others(chain: Chain):
    restricted = chain.lake / "restricted"
    assert restricted.stat().st_mode & 0o077 == 0
    assert Scanner(PLATES).tree(restricted) != {}


# The scanner sees what it must: each hiding place, on purpose.


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_plate_is_seen_in_every_encoding(scanner: Scanner, encoding: str):
    text = f"x,{PLATES[0]},y".encode(encoding)
    assert PLATES[0] in scanner.find(text)
    assert PLATES[0] in scanner.find(b"\x01" + text)


def test_a_plate_is_seen_in_contents_and_statistics_of_parquet(tmp_path: Path, scanner: Scanner):
    frame = pl.DataFrame({"a": [PLATES[0]] * 5000 + ["x"], "b": [[PLATES[1]]] * 5001,
                          "c": [PLATES[2].encode("gb18030")] * 5001})
    frame.write_parquet(tmp_path / "x.parquet", compression="zstd", metadata={"k": PLATES[3]})
    found = set().union(*scanner.tree(tmp_path).values())
    assert set(PLATES[:4]) <= found


def test_a_plate_is_seen_in_names_and_archives(tmp_path: Path, scanner: Scanner):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sheet.xml", f"<t>{PLATES[0]}</t>" * 100)
    (tmp_path / f"{PLATES[1]}.txt").touch()
    (tmp_path / "photo").write_text(SECRET_PHOTO)
    found = set().union(*scanner.tree(tmp_path).values())
    assert {PLATES[0], PLATES[1], SECRET_PHOTO} <= found

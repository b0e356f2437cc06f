"""Key, pseudonyms, mask and plate formats. All plates are invented."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.errors import IntegrityError, PolicyRefusal, StorageError, UsageError
from rsd.privacy import (
    VehicleKey,
    hash_vehicles,
    is_military_plate_expr,
    mask_plate,
    mask_plate_expr,
    normalise_plate_expr,
    plate_status_expr,
    vehicle_ids,
)

KEY = VehicleKey(bytes(range(32)))


def plates(*pairs: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), orient="row",
                        schema={"plate": pl.String, "plate_color": pl.String})


def on(expression: pl.Expr, *values: str | None) -> list[object]:
    frame = pl.DataFrame({"p": values}, schema={"p": pl.String})
    return frame.select(expression).to_series().to_list()


# --- the key ------------------------------------------------------------------------------------


def test_a_new_key_is_random_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "restricted" / "vehicle.key"
    key = VehicleKey.create(path)
    assert VehicleKey.load(path) == key
    assert len(key.secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert VehicleKey.create(tmp_path / "other").secret != key.secret
    assert [p.name for p in path.parent.iterdir()] == ["vehicle.key"]


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    key = VehicleKey.create(tmp_path / "key")
    with pytest.raises(UsageError, match="exists already"):
        VehicleKey.create(tmp_path / "key")
    assert VehicleKey.load(tmp_path / "key") == key


def test_a_missing_key_is_a_matter_of_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="RSD_KEY_FILE") as caught:
        VehicleKey.load(tmp_path / "key")
    assert caught.value.exit_code == 6
    assert str(tmp_path / "key") in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    VehicleKey.create(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(PolicyRefusal, match=f"mode {mode:04o}.*chmod 600") as caught:
        VehicleKey.load(tmp_path / "key")
    assert caught.value.exit_code == 8


@pytest.mark.parametrize("size", [0, 31, 33, 100])
def test_a_key_of_a_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "key").write_bytes(bytes(size))
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(IntegrityError, match="expected 32 bytes"):
        VehicleKey.load(tmp_path / "key")


def test_a_key_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in (".", "pipe"):
        with pytest.raises(UsageError, match="no regular file"):
            VehicleKey.load(tmp_path / name)


def test_a_key_that_may_not_be_read_is_a_matter_of_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    VehicleKey.create(tmp_path / "key")

    def refuse(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=r"Permission denied.*right"):
        VehicleKey.load(tmp_path / "key")


def test_no_text_of_a_key_shows_it() -> None:
    secret = VehicleKey(b"0123456789abcdef0123456789abcdef")
    assert "0123" not in f"{secret} {secret!r} {secret.key_id}"


# --- pseudonyms ---------------------------------------------------------------------------------


def by_the_book(key: VehicleKey, plate: str, color: str, purpose: str = "lake") -> str:
    message = f"{purpose}\x1f{plate}\x1f{color}".encode()
    digest = hmac.digest(key.secret, message, hashlib.sha256)[:16]
    return f"v1.{key.key_id}.{base64.b32encode(digest).decode().rstrip('=')}"


@given(st.lists(st.tuples(st.none() | st.text(max_size=9), st.sampled_from(["blue", "yellow"])),
                max_size=20), st.binary(min_size=32, max_size=32))
def test_an_id_is_the_hmac_of_plate_and_colour(
    pairs: list[tuple[str | None, str]], secret: bytes
) -> None:
    key = VehicleKey(secret)
    expected = [None if p is None else by_the_book(key, p, c) for p, c in pairs]
    assert vehicle_ids(key, plates(*pairs)).to_list() == expected


def test_colour_key_and_purpose_make_different_vehicles() -> None:
    frame = plates(("闽D12345", "blue"), ("闽D12345", "yellow"), ("闽D12345", None),
                   ("闽D12345", "unknown"), (None, "blue"))
    ids = vehicle_ids(KEY, frame)
    assert ids.name == "vehicle_id"
    assert ids[0] != ids[1]
    assert ids[2] == ids[3]
    assert ids[4] is None
    other = [vehicle_ids(VehicleKey(bytes(32)), frame), vehicle_ids(KEY, frame, "research")]
    assert all(not set(ids.drop_nulls()) & set(o.drop_nulls()) for o in other)


def test_the_published_vector_of_this_version_stays() -> None:
    (found,) = vehicle_ids(KEY, plates(("闽D12345", "blue")))
    assert found == by_the_book(KEY, "闽D12345", "blue")
    assert found == "v1.CO2GLPUQ.TB2NB466DEONQ4E7O4THL74VKU"


def test_hashing_every_row_gives_what_hashing_distinct_rows_gives() -> None:
    pairs = [(f"闽D{k % 13:05d}", ["blue", "green"][k % 2]) for k in range(200)]
    frame = plates(*pairs)
    assert hash_vehicles(KEY, frame).to_list() == vehicle_ids(KEY, frame).to_list()
    assert vehicle_ids(KEY, frame).n_unique() == 26


def test_a_categorical_colour_does_no_harm() -> None:
    frame = plates(("闽D12345", "blue")).with_columns(
        pl.col("plate_color").cast(pl.Enum(["blue"])))
    assert vehicle_ids(KEY, frame).to_list() == [by_the_book(KEY, "闽D12345", "blue")]
    assert vehicle_ids(KEY, frame.clear()).to_list() == []


# --- the mask -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("plate", "masked"), [
    ("闽D12345", "闽D****5"), ("闽DD12345", "闽D*****5"), ("123456使", "12****使"),
    ("ABCDEF", "AB***F"), ("ABCDE", "*****"), ("AB1", "***"), ("", ""), (None, None),
])
def test_mask(plate: str | None, masked: str | None) -> None:
    assert mask_plate(plate) == masked


@given(st.lists(st.none() | st.text(max_size=12), min_size=1, max_size=20))
def test_both_masks_agree_and_hide(texts: list[str | None]) -> None:
    assert on(mask_plate_expr("p"), *texts) == [mask_plate(t) for t in texts]
    for text in filter(None, texts):
        masked = mask_plate(text) or ""
        assert len(masked) == len(text)
        assert masked.count("*") * 2 >= len(text)


# --- plates as texts ----------------------------------------------------------------------------


@pytest.mark.parametrize(("raw", "normal"), [
    ("闽D·12345", "闽D12345"), (" 闽 D 12345\t", "闽D12345"), ("闽Ｄ１２３４５", "闽D12345"),
    ("闽ｄa2345", "闽DA2345"), ("闽D•12345", "闽D12345"), ("闽D\u300012345", "闽D12345"),
    ("\u202e闽D12345\u200b\ufeff", "闽D12345"), ("闽DO2345", "闽DO2345"), ("", None),
    (" · ", None), (None, None), ("闽D１２３４挂", "闽D1234挂"),
])
def test_normalise(raw: str | None, normal: str | None) -> None:
    assert on(normalise_plate_expr("p"), raw) == [normal]


@given(st.text(max_size=12))
def test_normalise_twice_is_normalise_once(text: str) -> None:
    (once,) = on(normalise_plate_expr("p"), text)
    assert on(normalise_plate_expr(pl.col("p")), once) == [once]


@pytest.mark.parametrize("plate", [
    "闽D12345", "闽DD12345", "闽D12345F", "闽D1234挂", "闽D1234学", "粤Z1234港", "闽D1234警",
    "闽DA1B2C", "123456使", "使123456", "京AF12345", "京AD1234", "WJ闽12345", "VA12345",
])
def test_recognised(plate: str) -> None:
    assert on(plate_status_expr("p"), plate) == ["recognised"]


@pytest.mark.parametrize("plate", [
    "闽DI2345", "闽DO2345", "闽I12345", "闽O12345", "无牌", "未识别", "00000", "", None,
    "闽D1234", "闽D123456", "闽D12345X", "台D12345", "BD51SMR", "闽D12345\n", "闽D12345闽D12345",
    "D12345", "闽D1234五",
])
def test_unreadable(plate: str | None) -> None:
    assert on(plate_status_expr("p"), plate) == ["unreadable"]


def test_military_plates_are_marked() -> None:
    found = on(is_military_plate_expr("p"), "WJ闽12345", "VA12345", "闽D12345", None)
    assert found == [True, True, False, False]

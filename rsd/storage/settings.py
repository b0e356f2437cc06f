"""``LAKE/rsd.toml``: what a lake is set to, every key known and of a known type."""

from __future__ import annotations

import difflib
import json
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rsd.errors import UsageError
from rsd.storage import disk

LAYOUT = 1
"""Version of the layout on disk; a lake of a later one is refused."""

Value = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Setting:
    """One key of ``[settings]``: its default, which also gives its type, and its meaning."""

    default: Value
    meaning: str


SETTINGS: dict[str, Setting] = {
    "local_plate_prefix": Setting("闽D", "first characters of the city's own plates"),
    "quality_profile": Setting("", "quality profile; blank: the one of the dump's format"),
    "convention": Setting("", "named g/kg convention; blank: the one of the dump's format"),
    "max_quarantine": Setting(0.05, "quarantined share of a file above which a run ends with 4"),
    "refuse_doubtful_units": Setting(False, "refuse a file whose columns look like another unit"),
    "min_vehicles": Setting(0, "groups of fewer vehicles are suppressed"),
    "replicate_seconds": Setting(10.0, "most seconds between two passes of one event"),
    "replicate_distance_m": Setting(30.0, "most metres between two sites at one place"),
    "jurisdiction": Setting("", "the jurisdiction whose deadlines run, as Xiamen; blank: none"),
    "review_confirmations": Setting(1, "persons who must confirm a finding, 1 or more"),
    "review_shortcuts": Setting(False, "refer before a notice, re-test after one (docs/review.md)"),
    "require_reason": Setting(False, "plates are shown only with --reason"),
    "audit_head_path": Setting("", "file of another owner that gets the audit's head after a run"),
    "language": Setting("en", "language of lists and notices: en or zh"),
    "notice_authority": Setting("", "name of the authority that sends notices"),
    "notice_address": Setting("", "its address and telephone, on one line"),
    "notice_font": Setting("", "font file of notices; blank: one that is found"),
}
"""Key → setting. A new setting is one line here."""


@dataclass(frozen=True)
class Configuration:
    """The content of ``rsd.toml``."""

    timezone: str
    regulations: tuple[str, ...]
    settings: Mapping[str, Value]


def checked(
    timezone: object, regulations: object, settings: object, where: str
) -> Configuration:
    """Return a configuration whose every value can be used; UsageError names the key otherwise."""
    if not isinstance(settings, Mapping):
        raise UsageError("settings is no table", where=where, found=repr(settings))
    given = {str(key): _checked_setting(str(key), value, where) for key, value in settings.items()}
    defaults = {key: setting.default for key, setting in SETTINGS.items()}
    return Configuration(
        _checked_timezone(timezone, where), _checked_regulations(regulations, where),
        defaults | given,
    )


def read(path: Path) -> Configuration:
    """Read ``rsd.toml``; UsageError for an unknown key, a wrong type or a newer layout."""
    where = str(path)
    with disk.guard(path, "the lake's settings cannot be read"):
        raw = path.read_bytes()
    try:
        content = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("the settings are no TOML", where=where, found=str(error)) from None
    layout = content.pop("layout", None)
    if not isinstance(layout, int) or isinstance(layout, bool) or layout < 1:
        raise UsageError("no lake of rsd", where=where, found=f"layout = {layout!r}",
                         expected=f"layout = {LAYOUT}")
    if layout > LAYOUT:
        raise UsageError("the lake was made by a newer rsd", where=where, found=f"layout {layout}",
                         expected=f"at most {LAYOUT}", remedy="Install that version.")
    for key in content.keys() - {"timezone", "regulations", "settings"}:
        raise _unknown(key, ("timezone", "regulations", "settings"), where)
    return checked(content.get("timezone"), content.get("regulations"),
                   content.get("settings", {}), where)


def text(configuration: Configuration) -> bytes:
    """Return ``rsd.toml`` for a configuration. A JSON string or list is one of TOML as well."""
    lines = [
        "# A lake of rsd. Change the values, never the layout.",
        f"layout = {LAYOUT}",
        f"timezone = {_toml(configuration.timezone)}",
        f"regulations = {_toml(list(configuration.regulations))}",
        "",
        "[settings]",
    ]
    for key, value in configuration.settings.items():
        lines += [f"# {SETTINGS[key].meaning}", f"{key} = {_toml(value)}"]
    return ("\n".join(lines) + "\n").encode()


def _toml(value: Value) -> str:
    # TOML, unlike JSON, wants the delete character escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _checked_timezone(name: object, where: str) -> str:
    if isinstance(name, str):
        try:
            zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
        else:
            if "/" in name or name == "UTC":  # others are nicknames that engines disagree about
                return name
    near = difflib.get_close_matches(str(name), zoneinfo.available_timezones(), 1)
    raise UsageError(
        "unknown time zone", where=where, found=repr(name),
        expected="a name of the IANA list, as Asia/Shanghai",
        remedy=f"Perhaps {near[0]}?" if near else None,
    )


def _checked_regulations(ids: object, where: str) -> tuple[str, ...]:
    is_list = isinstance(ids, list | tuple)
    if not is_list or not all(isinstance(i, str) and i for i in ids):  # type: ignore[attr-defined]
        raise UsageError("regulations is no list of ids", where=where, found=repr(ids),
                         expected='a list, as ["cn_hj845_2017"]')
    return tuple(ids)  # type: ignore[arg-type]


def _checked_setting(key: str, value: object, where: str) -> Value:
    if key not in SETTINGS:
        raise _unknown(key, tuple(SETTINGS), where)
    default = SETTINGS[key].default
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise UsageError(f"setting {key} is of a wrong type", where=where, found=repr(value),
                         expected=f"{type(default).__name__}, as {default!r}")
    return value


def _unknown(key: str, known: tuple[str, ...], where: str) -> UsageError:
    near = difflib.get_close_matches(key, known, 1)
    return UsageError(f"unknown key {key!r}", where=where, expected=f"one of {', '.join(known)}",
                      remedy=f"Perhaps {near[0]}?" if near else None)

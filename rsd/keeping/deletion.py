"""Records of deletions: what was removed, when, by whom and why, signed with the lake's key.

``restricted/deletions/<id>.json``. The signature is HMAC-SHA-256 over the record without it, under
a key that is derived from the vehicle key; the audit log holds the record's SHA-256 as well, so
that a record still counts when the key it was signed with is gone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsd import audit
from rsd.errors import RsdError
from rsd.lake import Lake
from rsd.privacy import VehicleKey
from rsd.storage import disk

_PURPOSE = b"rsd deletion record"
_STAGED = ".staged"


def folder(lake: Lake) -> Path:
    """Return where the records of deletions are."""
    return lake.path / "restricted" / "deletions"


def signed(key: VehicleKey, record: Mapping[str, Any]) -> bytes:
    """Return the text of a record with its signature."""
    content = {**record, "key_id": key.key_id}
    content["signature"] = _signature(key, content)
    return (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def stage(lake: Lake, name: str, text: bytes) -> tuple[Path, Path]:
    """Write a record that is not valid yet; return where it is and where it belongs."""
    place = folder(lake) / f"{name}.json"
    staged = place.with_name(place.name + _STAGED)
    disk.ensure_folder(place.parent, 0o700)
    disk.replace(staged, text, 0o600)
    return staged, place


def leftovers(lake: Lake) -> list[Path]:
    """Return records that were staged for deletions which never happened."""
    return sorted(folder(lake).glob(f"*{_STAGED}"))


def records(lake: Lake) -> list[Path]:
    """Return the records of all deletions."""
    return sorted(folder(lake).glob("*.json"))


def faults(lake: Lake) -> list[tuple[Path, str]]:
    """Return which records were changed, with a sentence each; [] when all hold."""
    trail = list(audit.records(audit.audit_path(lake.path)))
    noted = {str(r["details"].get("record_sha256")): r for r in trail if r["action"] == "purge"}
    answered = {str(sha256) for r in trail if r["action"] == audit.ACCEPTED
                for sha256 in r["details"].get("deletions", ())}
    keys = _keys(lake)
    found = []
    for path in records(lake):
        text = path.read_bytes()
        is_noted = hashlib.sha256(text).hexdigest() in noted.keys() | answered
        try:
            content = json.loads(text)
            key = keys.get(str(content["key_id"]))
        except (ValueError, KeyError, TypeError):
            found.append((path, "no record of a deletion"))
            continue
        if key is not None and not hmac.compare_digest(
                str(content.get("signature")), _signature(key, content)):
            found.append((path, "the signature does not fit: the record was changed"))
        elif not is_noted:
            found.append((path, "the audit log does not know the record"))
    kept = {hashlib.sha256(p.read_bytes()).hexdigest() for p in records(lake)}
    found += [(folder(lake) / f"{r['details'].get('change')}.json", "the record is gone")
              for sha, r in noted.items() if sha not in kept and _happened(lake, r)]
    return found


def _happened(lake: Lake, record: Mapping[str, Any]) -> bool:
    """Say whether the purge that was announced came about: a kill may have come before."""
    mark = f"change:{record['details'].get('change')}:"
    return any(t.startswith(mark) for t in lake.table("passes").transactions())


def _signature(key: VehicleKey, record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "signature"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    derived = hmac.digest(key.secret, _PURPOSE, "sha256")
    return hmac.digest(derived, text.encode(), "sha256").hex()


def _keys(lake: Lake) -> dict[str, VehicleKey]:
    """Return the lake's key and those of before that are still kept, by their ids."""
    found = {}
    place = lake.key_path
    for path in [place, *place.parent.glob(f"{place.name}.*.retired")]:
        try:
            key = VehicleKey.load(path)
        except RsdError:
            continue
        found[key.key_id] = key
    return found

"""What a vehicle's story says, in English and Chinese.

The sentences stand in ``words/en.toml`` and ``words/zh.toml``, with the same keys in both.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from rsd.errors import UsageError
from rsd.law.rules import Regulation
from rsd.law.verbs import Note

LANGUAGES = ("en", "zh")
_FOLDER = Path(__file__).parent / "words"
_CLOCK = "%Y-%m-%d %H:%M:%S"
_CLAUSES = (  # how clauses are cited in the regulations' files → how Chinese cites them
    (re.compile(r"\bclauses? ([\d.]+)(?: and ([\d.]+))?"),
     lambda m: "、".join(f"第{n}条" for n in m.groups() if n)),
    (re.compile(r"\btable (\d+)"), r"表\1"),
    (re.compile(r"\bannex ([A-Z])"), r"附录\1"),
    (re.compile(r",\s*"), "，"),
)


@dataclass(frozen=True)
class Phrases:
    """The sentences of one language, on the clock of one zone.

    ``values`` gives the words for values of a column (`rsd.exports.words`): column → value → word.
    """

    language: str
    sections: Mapping[str, Mapping[str, str]]
    zone: ZoneInfo
    values: Mapping[str, Mapping[str, str]]

    def text(self, section: str, key: str, **facts: object) -> str:
        """Return a sentence with its facts; KeyError for an unknown key."""
        said = {name: self._fact(name, value) for name, value in facts.items()}
        return self.sections[section][key].format(**said)

    def step(self, note: Note) -> str:
        """Return what a judged record means."""
        return self.text("steps", note.key, **note.facts)

    def why(self, notes: list[Note]) -> str:
        """Return why a record was not judged, all reasons in one line."""
        told = [self.text("why", n.key, **self._scope(n)) for n in notes]
        return self.sections["pieces"]["separator"].join(told)

    def rule(self, regulation: Regulation) -> str:
        """Return the rule by which a regulation finds, its numbers filled in."""
        settings = regulation.verb.settings
        facts = {f.name: getattr(settings, f.name) for f in fields(regulation.how.settings)}
        if regulation.verb.name == "repeated":
            facts |= self._repeated(facts)
        return self.text("rules", regulation.verb.name, sentence=settings.sentence(), **facts)

    def clause(self, clause: str | None) -> str | None:
        """Return a clause as this language cites it."""
        if clause is None or self.language == "en":
            return clause
        for pattern, cited in _CLAUSES:
            clause = pattern.sub(cited, clause)
        return clause

    def value(self, column: str, value: object) -> str:
        """Return the word for a value of a column; the value itself where there is none."""
        if value is None:
            return self.sections["pieces"]["unknown"]
        return self.values.get(column, {}).get(str(value), str(value))

    def _repeated(self, facts: Mapping[str, object]) -> dict[str, object]:
        """Return the parts that the sentence of the verb `repeated` is put together from."""
        pieces = self.sections["pieces"]
        inclusive = pieces["inclusive_yes" if facts["inclusive"] else "inclusive_no"]
        gap = pieces["gap"].format(seconds=facts["min_gap_s"]) if facts["min_gap_s"] else ""
        return {
            "adjacent": pieces["adjacent_yes" if facts["consecutive"] else "adjacent_no"],
            "window": pieces[f"window_{facts['window']}"].format(
                months=facts["window_months"], inclusive=inclusive),
            "gap": gap, "reset": pieces["reset"] if facts["reset_on_inspection"] else "",
        }

    def _scope(self, note: Note) -> dict[str, object]:
        """Return the facts of a note, values in words."""
        facts = dict(note.facts)
        if note.key.startswith("scope_"):
            facts["found"] = self.value(note.key.removeprefix("scope_"), facts["found"])
        if note.key == "reason":
            facts["reason"] = self.value("reasons", facts["reason"])
        if "quantity" in facts:
            facts["quantity"] = self.sections["quantities"][str(facts["quantity"])]
        return facts

    def _fact(self, name: str, value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(self.zone).strftime(_CLOCK)
        if isinstance(value, date):
            return value.isoformat()
        return f"{value:g}" if isinstance(value, float) else value


def phrases(language: str, timezone: str, values: Mapping[str, Mapping[str, str]]) -> Phrases:
    """Return the sentences of a language of `LANGUAGES`; UsageError for another."""
    if language not in LANGUAGES:
        raise UsageError("no such language", where="--language", found=repr(language),
                         expected=", ".join(LANGUAGES))
    return Phrases(language, sections(language), ZoneInfo(timezone), values)


@cache
def sections(language: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sentences of a language as its file states them: section → key → sentence."""
    return tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))

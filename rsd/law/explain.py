"""A regulation in plain English, with what nobody has verified."""

from __future__ import annotations

from rsd.law.rulebook import Period, Regulation

_UNVERIFIED = " [UNVERIFIED]"


def explain_rule(regulation: Regulation) -> str:
    """Return a regulation as text: scope, limits, verb, unverified numbers, sources.

    >>> from rsd.law.rulebook import load
    >>> print(explain_rule(load("cn_hj845_2017")).splitlines()[1])
    Jurisdiction: China
    """
    verb = regulation.verb
    lines = [
        f"{regulation.id}: {regulation.title}",
        f"Jurisdiction: {regulation.jurisdiction}",
        f"Source: {regulation.citation}",
        "",
        f"Judges: {_scope(regulation)}.",
        *(line for period in regulation.periods for line in _period(period)),
        "",
        f"Verdict ({verb.clause}){_mark(verb.verified)}: {verb.settings.sentence()}",
        f"  Source: {verb.citation}",
        "",
        *_unverified(regulation),
    ]
    if regulation.notes:
        lines += ["", "Notes:", *(f"  - {note}" for note in regulation.notes)]
    return "\n".join(lines)


def _mark(verified: bool) -> str:
    return "" if verified else _UNVERIFIED


def _scope(regulation: Regulation) -> str:
    fuels = " and ".join(regulation.fuels) if regulation.fuels else "every fuel"
    classes = ", ".join(regulation.vehicle_classes) or "every vehicle class"
    return f"{fuels}, {classes}"


def _period(period: Period) -> list[str]:
    end = "" if period.until is None else f" until {period.until} (that day excluded)"
    lines = ["", f"From {period.start}{end} ({period.citation}):"]
    for b in period.validity:
        lines.append(f"  A reading counts where {b.quantity} {b.op} {b.value:g} {b.unit} or is "
                     f"unknown{_mark(b.verified)}. Source: {b.citation}")
    for x in period.limits:
        lines.append(f"  {x.pollutant} {x.op} {x.value:g} {x.unit} exceeds: {x.kind} "
                     f"({x.clause}){_mark(x.verified)}. Source: {x.citation}")
    return lines if period.limits else [*lines, "  No limits are known: it refuses to run."]


def _unverified(regulation: Regulation) -> list[str]:
    names = [f"{x.pollutant} limit" for p in regulation.periods for x in p.limits if not x.verified]
    names += [f"{b.quantity} bound" for p in regulation.periods for b in p.validity
              if not b.verified]
    names += [] if regulation.verb.verified else [f"numbers of the verb '{regulation.verb.name}'"]
    if not names:
        return ["Every number was compared with the law's own text."]
    return [f"Not compared with the law's own text: {', '.join(dict.fromkeys(names))}."]

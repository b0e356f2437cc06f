"""A regulation in plain English, with what nobody has verified."""

from __future__ import annotations

from rsd.law.rules import Group, Limit, Period, Regulation

_UNVERIFIED = " [UNVERIFIED]"
_VERIFIED = " [verified]"


def explain_rule(regulation: Regulation) -> str:
    """Return a regulation as text: scope, periods, limits or groups, verb, sources, notes.

    Each number says whether it was compared with the law's own text.

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
        f"Judges: {_scope(regulation)}. Source: {regulation.scope.citation}",
        *(line for period in regulation.periods for line in _period(period)),
        "",
        f"Verdict by the verb '{verb.name}' ({verb.clause}){_mark(verb.verified)}: "
        f"{verb.settings.sentence()}",
        f"  Source: {verb.citation}",
        "",
        *_unverified(regulation),
    ]
    if regulation.notes:
        lines += ["", "Notes:", *(f"  - {note}" for note in regulation.notes)]
    return "\n".join(lines)


def _mark(verified: bool) -> str:
    return _VERIFIED if verified else _UNVERIFIED


def _scope(regulation: Regulation) -> str:
    scope = regulation.scope
    fuels = " and ".join(scope.fuels) if scope.fuels else "every fuel"
    classes = ", ".join(scope.vehicle_classes) or "every vehicle class"
    stages = ", ".join(map(str, scope.emission_stages))
    return f"{fuels}, {classes}, " + (f"emission stage {stages}" if stages else "every stage")


def _period(period: Period) -> list[str]:
    end = "" if period.until is None else f" until {period.until} (that day excluded)"
    lines = ["", f"From {period.start}{end} ({period.citation}):"]
    for b in period.validity:
        unknown = "; unknown is not enough" if b.required else " or is unknown"
        lines.append(f"  A reading counts where {b.quantity} {b.op} {b.value:g} {b.unit}"
                     f"{unknown}{_mark(b.verified)}. Source: {b.citation}")
    rules = [*map(_limit, period.limits), *map(_group, period.groups)]
    return [*lines, *rules] if rules else [*lines, "  No limits are known: it refuses to run."]


def _limit(limit: Limit) -> str:
    return (f"  {limit.pollutant} {limit.op} {limit.value:g} {limit.unit} ({limit.basis}) "
            f"{'is not clean' if limit.role == 'clean' else 'exceeds'}: {limit.kind} "
            f"({limit.clause}){_mark(limit.verified)}. Source: {limit.citation}")


def _group(group: Group) -> str:
    asked = [
        " or ".join(group.fuels), " or ".join(group.vehicle_classes),
        f"emission stage {' or '.join(map(str, group.emission_stages))}" * bool(
            group.emission_stages),
        f"first registered before {group.registered_before}" * bool(group.registered_before),
    ]
    return (f"  {group.name}: {', '.join(filter(None, asked))}: {group.kind} "
            f"({group.clause}){_mark(group.verified)}. Source: {group.citation}")


def unverified_numbers(regulation: Regulation) -> tuple[str, ...]:
    """Return what was not compared with the law's own text, each once.

    >>> from rsd.law.rulebook import load
    >>> unverified_numbers(load("hk_dual_rse"))[-1]
    "numbers of the verb 'two_instruments'"
    """
    names = [f"{x.pollutant} limit" for p in regulation.periods for x in p.limits if not x.verified]
    names += [f"group '{x.name}'" for p in regulation.periods for x in p.groups if not x.verified]
    names += [f"{b.quantity} bound" for p in regulation.periods for b in p.validity
              if not b.verified]
    names += [] if regulation.verb.verified else [f"numbers of the verb '{regulation.verb.name}'"]
    return tuple(dict.fromkeys(names))


def _unverified(regulation: Regulation) -> list[str]:
    names = unverified_numbers(regulation)
    if not names:
        return ["Every number was compared with the law's own text."]
    return [f"Not compared with the law's own text: {', '.join(names)}."]

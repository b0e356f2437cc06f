"""Law as data: regulations, what they say of a reading, and how readings become a finding."""

from rsd.law.explain import explain_rule
from rsd.law.judge import applies, applies_sql, exceeds, exceeds_sql, tested, tested_sql
from rsd.law.rulebook import Regulation, available, load, load_file

__all__ = [
    "Regulation",
    "applies",
    "applies_sql",
    "available",
    "exceeds",
    "exceeds_sql",
    "explain_rule",
    "load",
    "load_file",
    "tested",
    "tested_sql",
]

"""How exceeding readings become a finding: one module a verb, one entry in `VERBS`.

A verb sees the tested readings of one pollutant and answers which of them prove a finding. Its
numbers come from the regulation's file: the fields of its settings class are the keys of the
file's ``[verb]`` table, so nothing has a default here.

To add a verb: write a module with a frozen settings class (with ``least_exceedances`` and
``sentence``) and a function of the type `Decide`, and one line in `VERBS`; then read the rule once
more in plain Python in ``tests/oracle_verbs.py``: the tests compare the two.
"""

from __future__ import annotations

from rsd.law.verbs.base import Context, Decide, Note, Settings, Verb
from rsd.law.verbs.clean_screen import CleanScreen, clean_screen
from rsd.law.verbs.registration import Registration, registration
from rsd.law.verbs.repeated import Repeated, repeated
from rsd.law.verbs.repeated_story import tell_repeated
from rsd.law.verbs.share import Share, share
from rsd.law.verbs.single import Single, single
from rsd.law.verbs.two_highest import TwoHighest, two_highest
from rsd.law.verbs.two_instruments import TwoInstruments, two_instruments

VERBS: dict[str, Verb] = {
    "single": Verb(Single, single),
    "repeated": Verb(Repeated, repeated, tell=tell_repeated),
    "two_instruments": Verb(TwoInstruments, two_instruments, reads=("site_id", "line_id")),
    "two_highest": Verb(TwoHighest, two_highest, reads=("date",)),
    "share": Verb(Share, share, reads=("date",)),
    "clean_screen": Verb(CleanScreen, clean_screen, reads=("date",), subject="all pollutants",
                         roles=("clean",)),
    "registration": Verb(Registration, registration, subject="registration", roles=()),
}
"""Name in a regulation's file → verb."""

__all__ = ["VERBS", "CleanScreen", "Context", "Decide", "Note", "Registration", "Repeated",
           "Settings", "Share", "Single", "TwoHighest", "TwoInstruments", "Verb"]

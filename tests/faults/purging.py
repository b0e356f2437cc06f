"""A purge that takes its date as JSON has it."""

import datetime as dt


def purge_before(lake, day: str) -> None:
    from rsd.keeping.purge import purge

    purge(lake, dt.date.fromisoformat(day), "test")

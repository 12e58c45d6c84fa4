"""Sets: a table of prompts to a folder of sounds, with a manifest and a page to listen to them.

    for event in make_set(model, read_rows("prompts.csv"), "sounds", SetSettings(n=2)):
        print(event)

`table` reads rows, `plan` turns them into the sounds that are wanted, each with a key that says all it is made of,
`manifest` knows by these keys which of them are there, `run` has the rest made (`makers`, `jobs`, `server_maker`), `overview` draws
the page. What is stopped
goes on where it was: a sound is written whole, then its line of the manifest; a sound without a line is known by its
tags.
"""

from auralith.sets.jobs import Devices, shared_devices
from auralith.sets.plan import Plan, PlannedSound, Planner, plan_set
from auralith.sets.run import Made, SetSettings, make_set
from auralith.sets.server_model import ServerModel
from auralith.sets.table import COLUMNS, Problem, PromptRow, PromptTable, UnknownColumn, read_rows

__all__ = [
    "COLUMNS",
    "Devices",
    "Made",
    "Plan",
    "PlannedSound",
    "Planner",
    "Problem",
    "PromptRow",
    "PromptTable",
    "ServerModel",
    "SetSettings",
    "UnknownColumn",
    "make_set",
    "plan_set",
    "read_rows",
    "shared_devices",
]

"""Uploads: a sound is what decodes as one, whatever it is called, in a process of its own."""

import secrets
import shutil
from dataclasses import asdict
from typing import IO

from auralith.escaping import printable
from auralith.files import file_hash, whole_file
from auralith.jobs.records import Json, Stored
from auralith.jobs.store import JobStore
from auralith.server.confined import LIMITS, probed
from auralith.server.probe import ProbeLimits

MOST_NAME = 200
"""Characters of a file's name that are kept."""


def keep_upload(
    store: JobStore,
    file: IO[bytes],
    owner: str = "",
    limits: ProbeLimits = LIMITS,
    name: str = "",
) -> Stored:
    """Keep a sound that an owner uploaded. What is made from it has the last part of its `name` in its tags.

    Raises:
        AudioError: it is no sound, damaged, too long, or more than its decoder can bear.
        StorageFull: the disk is full.
    """
    store.require_room()
    asset_id = secrets.token_hex(16)
    path = store.uploads / asset_id
    with whole_file(path) as target:
        shutil.copyfileobj(file, target)
    try:
        found = probed(path, limits)
        facts: Json = {"seconds": found.seconds, **asdict(found), "sha256": file_hash(path)}
        if own := _file_name(name):
            facts["name"] = own
        return store.add_asset(asset_id, facts, owner)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _file_name(text: str) -> str:
    """Return the last part of a client's path, as far as it can be printed; empty where nothing is left."""
    return printable(text.replace("\\", "/").rpartition("/")[2].strip())[:MOST_NAME]

"""Uploads: a sound is what decodes as one, whatever it is called, in a process of its own."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO

from auralith.errors import AudioError, InvalidRequest
from auralith.files import file_hash, whole_file
from auralith.foreign import JSON_ERRORS, SHAPE_ERRORS, parse_json
from auralith.jobs.orders import LONGEST_SECONDS
from auralith.jobs.process import module_command
from auralith.jobs.records import Json, Stored
from auralith.jobs.store import JobStore
from auralith.server.probe import NAME, OUTPUT_BYTES, Probed, ProbeLimits
from auralith.settings import build_settings
from auralith.sound.reading import MOST_VALUES

LIMITS = ProbeLimits(LONGEST_SECONDS, MOST_VALUES)
PROBE = "auralith.server.probe"
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG")
"""Variables that the process gets: none with a key in it."""
_turns = threading.BoundedSemaphore(2)
"""Uploads that are read at a time."""


def keep_upload(
    store: JobStore, file: IO[bytes], owner: str = "", limits: ProbeLimits = LIMITS
) -> Stored:
    """Keep a sound that an owner uploaded.

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
        return store.add_asset(asset_id, facts, owner)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def probed(path: Path, limits: ProbeLimits = LIMITS) -> Probed:
    """Return what a file holds, decoded in a process of its own. Raises `AudioError`."""
    command, packages = module_command(PROBE)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"PYTHONPATH": packages, "OPENBLAS_NUM_THREADS": "1"}
    with _turns, tempfile.TemporaryFile() as out:
        try:
            code = subprocess.run(
                [*command, str(path.absolute()), json.dumps(asdict(limits))],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=2 * limits.cpu_seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        out.seek(0)
        answer = out.read(OUTPUT_BYTES)
    if code != 0:
        how = "took too long" if code is None else f"ended with {code}"
        raise AudioError(
            f"{NAME} can't be read: its decoder {how}; send another file", "decoder_failed"
        )
    return _read(answer, limits)


def _read(answer: bytes, limits: ProbeLimits) -> Probed:
    """Return what a process said, which the bytes of a stranger may have taken over."""
    try:
        found = parse_json(answer)
        if "error" in found:
            raise AudioError(f"{found['error']:.500}", str(found["reason_code"]))
        sound = build_settings(Probed, found["probed"])
        if sound.fits(limits):
            return sound
    except (*SHAPE_ERRORS, *JSON_ERRORS, InvalidRequest):
        pass
    raise AudioError(f"{NAME} can't be read; send another file", "decoder_failed")

"""The training sounds that one sound is nearest to, with author and license."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auralith.data.recording import Recordings
from auralith.embedders import Embedder
from auralith.errors import Field, InvalidRequest
from auralith.files import canonical_json
from auralith.fingerprint import Occurrence, landmarks_of, search
from auralith.memorization.measure import (
    MeasuredSound,
    MeasureSettings,
    Neighbor,
    landmark_statistic,
    measure,
    measured,
    mel_findings,
    neighbors_of,
    statistic,
)
from auralith.memorization.mel import MelMatch
from auralith.memorization.report import held_out
from auralith.memorization.significance import verdicts
from auralith.memorization.store import unit_rows
from auralith.memorization.training import TrainingSounds, WorkProgress
from auralith.sound.extent import read_info
from auralith.sound.reading import read

TESTS = ("landmarks", "mel")
"""Statistics of a pair, as `measure` names them."""


def attribute_sound(
    path: Path,
    embedder: Embedder,
    training: TrainingSounds,
    top: int = 10,
    null: Sequence[MeasuredSound] = (),
) -> list[dict[str, Any]]:
    """Return the nearest training sounds: those that landmarks find first, then by cosine.

    Each has its id, cosine, mel correlation, landmark p-value where found, aligned places in seconds, and what the
    manifest says of title, author, license and URL. With held-out recordings of the same length each has a p-value, too:
    the share of them whose best match among all training sounds is as good as this one.

    Raises:
        AudioError: the sound can't be read or embedded.
    """
    waveform, rate = read(path)
    rows = unit_rows(embedder.embed(waveform, rate).numpy())
    near = neighbors_of(rows, training, MeasureSettings(kept=top))
    mel = {one.id: one.match for one in mel_findings(waveform, rate, near, training)}
    query = landmarks_of(iter([waveform.mean(0).numpy()]), rate)
    marks: dict[str, Occurrence] = {}
    for one in search(training.index, query) if training.index else ():
        marks.setdefault(one.ref_id, one)
    cosines = {one.id: one for one in near}
    ids = list(dict.fromkeys((*marks, *cosines)))[:top]
    entries = [_entry(id, training, cosines.get(id), mel.get(id), marks.get(id)) for id in ids]
    if not null:
        return entries
    found = np.array([[_surprise(marks.get(id)), _correlation(mel.get(id))] for id in ids])
    beside = np.array([[statistic(one, name) for name in TESTS] for one in null])
    p_values = verdicts(found.reshape(-1, len(TESTS)), beside)
    return [
        {"id": entry.pop("id"), "p_value": p, **entry}
        for entry, p in zip(entries, p_values.p_values if p_values else (), strict=True)
    ]


def measured_null(
    path: Path,
    recordings: Recordings,
    embedder: Embedder,
    training: TrainingSounds,
    work: Path,
    show: Callable[[Iterable[WorkProgress]], None],
) -> list[MeasuredSound]:
    """Return held-out recordings, cut to the length of a file and measured; not those that may be training sounds.

    Each list and length has a folder of its own in `work`; `show` goes through the steps of what isn't done yet.

    Raises:
        InvalidRequest: none is left. Besides, as `measure` does.
    """
    settings = MeasureSettings(max_seconds=round(read_info(path).seconds, 3))
    names = canonical_json([recordings[i].path for i in range(len(recordings))])
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    folder = work / f"null-{settings.max_seconds:g}s-{digest}"
    show(measure(recordings, embedder, training, folder, settings, stage="held out"))
    kept, *_ = held_out(measured(folder, training, settings), training)
    if not kept:
        raise InvalidRequest(
            Field("null"), ": no held-out recording is left; give some that were not trained on"
        )
    return kept


def _surprise(marks: Occurrence | None) -> float:
    return landmark_statistic(marks.p_value if marks else None)


def _correlation(mel: MelMatch | None) -> float:
    return mel.correlation if mel else float("nan")


def _entry(
    id: str,
    training: TrainingSounds,
    near: Neighbor | None,
    mel: MelMatch | None,
    marks: Occurrence | None,
) -> dict[str, Any]:
    if marks:
        places = marks.query_start_s, marks.reference_start_s
    elif mel:
        places = mel.query_start_s, mel.reference_start_s
    else:
        places = (near.query_start_s, near.training_start_s) if near else (0.0, 0.0)
    return {
        "id": id,
        "cosine": near and round(near.cosine, 4),
        "mel_correlation": mel and round(mel.correlation, 4),
        "landmark_p": marks and marks.p_value,
        "start_s": round(places[0], 2),
        "training_start_s": round(places[1], 2),
        **training.facts(id),
    }

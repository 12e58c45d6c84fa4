"""Uploads are decoded in a process of their own: whatever becomes of it, they are refused in a line, and nothing is kept."""

import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.errors import AudioError
from auralith.jobs.records import Stored
from auralith.jobs.store import JobStore
from auralith.server import confined
from auralith.server.confined import LIMITS, lengths, outline, probed, stretch
from auralith.server.probe import ProbeLimits, probe
from auralith.server.uploads import keep_upload
from auralith.sound.peaks import read_outline
from auralith.sound.stretch import read_stretch


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStore]:
    store = JobStore(tmp_path_factory.mktemp("uploads"))
    yield store
    store.close()


def sound(form: str = "WAV", seconds: float = 0.5, channels: int = 2) -> bytes:
    file = io.BytesIO()
    samples = np.sin(np.arange(int(seconds * 8_000)) / 20) / 2
    soundfile.write(file, np.stack([samples] * channels, 1), 8_000, format=form)
    return file.getvalue()


def upload(store: JobStore, data: bytes, limits: ProbeLimits = LIMITS) -> Stored:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return keep_upload(store, file, limits=limits)


def refusal(store: JobStore, data: bytes, limits: ProbeLimits = LIMITS) -> str:
    with pytest.raises(AudioError) as caught:
        upload(store, data, limits)
    assert "\n" not in str(caught.value) and not list(store.uploads.iterdir())
    return str(caught.value)


def test_the_process_finds_what_this_one_finds(store: JobStore, tmp_path: Path) -> None:
    path = tmp_path / "sound"
    for form, channels in (("WAV", 2), ("FLAC", 1)):
        path.write_bytes(sound(form, channels=channels))
        found = probed(path)
        assert found == probe(path, LIMITS)
        assert (found.num_samples, found.sample_rate, found.channels) == (4_000, 8_000, channels)
    kept = upload(store, sound())
    assert kept.facts["seconds"] == 0.5 and kept.facts["codec"] == "pcm_16"
    store.delete_asset(kept.id)


def test_what_is_refused_is_said_by_the_process(store: JobStore) -> None:
    assert "holds no samples" in refusal(store, sound(seconds=0))
    assert "9 channels; send at most 8" in refusal(store, sound(channels=9))
    assert "longer than 0 s" in refusal(store, sound(), replace(LIMITS, seconds=0.25))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "its decoder ended with -6"),
        ("import sys; sys.exit(3)", "its decoder ended with 3"),
        ("while True: pass", "its decoder took too long"),
        ("print('{', flush=True)", "can't be read; send another file"),
        ("print('[1]')", "can't be read; send another file"),
        ('print(\'{"found": {"num_samples": "x"}}\')', "can't be read; send another file"),
        (
            'print(\'{"found": {"num_samples": -1, "sample_rate": 1, "channels": 1, "codec": ""}}\')',
            "can't be read; send another file",
        ),
    ],
)
def test_a_process_that_fails_costs_the_upload_alone(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    monkeypatch.setattr(confined, "module_command", lambda _: ([sys.executable, "-c", program], ""))
    assert message in refusal(store, sound(), replace(LIMITS, cpu_seconds=1))


def test_the_process_knows_no_keys(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURALITH_API_KEY", "secret")
    program = "import os, sys; sys.exit(7 if 'AURALITH_API_KEY' in os.environ else 8)"
    monkeypatch.setattr(confined, "module_command", lambda _: ([sys.executable, "-c", program], ""))
    assert "ended with 8" in refusal(store, sound())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited on Linux")
def test_memory_and_time_are_limited(store: JobStore) -> None:
    little = replace(LIMITS, memory_bytes=2**16)
    assert "memory" in refusal(store, sound(seconds=60), little) or os.name == "nt"
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 48_000, 8, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(100):  # 100 MB of samples in some kB
            flac.write(np.zeros((65_536, 8), np.int16))
    assert len(file.getvalue()) < 2**20
    bounds = replace(LIMITS, cpu_seconds=1, seconds=20.0)
    assert re.search("longer than|its decoder", refusal(store, file.getvalue(), bounds))


def test_what_is_told_of_a_recording_is_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(sound(seconds=2.0))
    (tmp_path / "none").write_text("no sound")
    assert lengths([path, tmp_path / "none", tmp_path / "missing"]) == [2.0, None, None]
    assert outline(path, 5, "it") == read_outline(path, 5)
    for start in (-1.0, 0.5, 1.75, 9.0):
        found, wanted = stretch(path, start, 1.0, "it"), read_stretch(path, start, 1.0)
        assert (found.first, found.sample_rate) == (wanted.first, wanted.sample_rate)
        assert np.array_equal(found.samples, wanted.samples)
    with pytest.raises(AudioError, match="it is not a readable sound file"):
        outline(tmp_path / "none", 5, "it")


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        'print(\'{"found": [{"num_samples": 1, "sample_rate": 44100, "channels": 1}, [0], [NaN]]}\')',
        'print(\'{"found": [{"num_samples": 2, "sample_rate": 44100, "channels": 1}, [0, 1, 2], [0, 1, 2]]}\')',
        "print('{\"found\": [0, 7, 1]}')",
        "print('{\"found\": [0, 44100, 3]}\\nxxxxxxxxxxxx', end='')",
        "print('{\"found\": [0, 44100, 1]}\\n' + 'x' * 400_000, end='')",
        "print('{\"found\": [null, 1]}')",
    ],
)
def test_a_process_that_is_taken_over_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(confined, "module_command", lambda _: ([sys.executable, "-c", program], ""))
    path = tmp_path / "sound.wav"
    assert lengths([path, path]) in ([None, None], [None, 1.0])
    with pytest.raises(AudioError, match="it can't be read"):
        outline(path, 2, "it")
    with pytest.raises(AudioError, match="it can't be read"):
        stretch(path, 0.0, 1.0, "it")

"""Small files that claim or unpack to far more: every command works on them in little memory, or says one line."""

import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

MODEL = Path(__file__).parents[1] / "golden" / "sao_tiny"
RATE = 44_100
MORE_BYTES = 1_000_000_000
"""Address space beyond that of a process that has done nothing yet; a bomb is to be smaller than what it unpacks to."""
QUICK = ("--model", str(MODEL), "--steps", "1")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits address space")


class Commands:
    """A warm process that runs commands under a limit."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).with_name("limited.py")
        # each thread would get arenas of 64 MiB of address space
        environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(MORE_BYTES)],
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, *arguments: str) -> int:
        """Return the exit code of a command: 0, or 2 with one line. What it wrote is `out` and `err`."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        code, self.out, self.err = json.loads(self.process.stdout.readline())
        assert code in (0, 2), self.err[-3_000:]
        if code == 2:
            assert self.err.count("auralith: error: ") == 1, self.err[-3_000:]
        return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bombs")


@pytest.fixture(scope="module")
def limited(folder: Path) -> Iterator[Commands]:
    commands = Commands(folder)
    yield commands
    assert commands.process.stdin
    commands.process.stdin.close()
    commands.process.wait()


def _silence(path: Path) -> None:
    """A quarter of an hour in some 150 kB; as samples, more than a third of what a command may take."""
    with soundfile.SoundFile(path, "w", RATE, 2, format="FLAC") as file:
        for _ in range(15):
            file.write(np.zeros((60 * RATE, 2), np.int16))


def _claiming_flac(path: Path) -> None:
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    total = int.from_bytes(data[18:26], "big")
    data[18:26] = (total >> 36 << 36 | (1 << 36) - 1).to_bytes(8, "big")
    path.write_bytes(data)


def _claiming_wav(path: Path) -> None:
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0x7FFE_0000)
    path.write_bytes(data)


def _streamed_wav(path: Path) -> None:
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFF_FFF0)
    path.write_bytes(data)


def _wide(path: Path) -> None:
    soundfile.write(path, np.full((RATE, 255), 0.1), RATE)


def _wide_header(path: Path) -> None:
    """65,535 channels in a header, and a frame of them."""
    head = struct.pack("<HHIIHH", 1, 65_535, RATE, RATE * 65_535 * 2 & 0xFFFF_FFFF, 65_534, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", 65_535 * 2)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 131_070) + body + bytes(131_070))


def _fast(path: Path) -> None:
    soundfile.write(path, np.full((RATE, 2), 0.1), 2_000_000_000)


def _picture(path: Path) -> None:
    """A block of a picture of 16 MB, a PNG of 50,000 by 50,000 by its own header."""
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE, format="FLAC")
    data = path.read_bytes()
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIB", 50_000, 50_000, 8) + bytes(1 << 23)
    text = struct.pack(">II", 3, 9) + b"image/png" + bytes(20) + struct.pack(">I", len(png)) + png
    block = b"\x06" + len(text).to_bytes(3, "big") + text
    path.write_bytes(data[:42] + block + data[42:])


def _id3(path: Path) -> None:
    """A tag of 250 MB before the sound, most of which is a hole in the file; it has a comment of 200 MB."""
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE, format="MP3")
    data, size = path.read_bytes(), 250_000_000
    synchsafe = bytes(size >> 7 * i & 127 for i in (3, 2, 1, 0))
    with path.open("wb") as file:
        file.write(b"ID3\x03\0\0" + synchsafe + b"COMM" + struct.pack(">IH", 200_000_000, 0))
        file.seek(10 + size)
        file.write(data)


def _unknown_codec(path: Path) -> None:
    """A container that opens, with a codec that nobody has."""
    soundfile.write(path, np.full((RATE, 2), 0.1), RATE)
    data = bytearray(path.read_bytes())
    place = data.index(b"fmt ") + 8
    data[place : place + 2] = struct.pack("<H", 0x9999)
    path.write_bytes(data)


def _adts(layout: str) -> bytes:
    """A second of noise as a stream of AAC frames."""
    channels = {"mono": 1, "stereo": 2, "7.1": 8}[layout]
    noise = np.random.default_rng(0).normal(0, 3_000, (1, RATE * channels)).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        to_planes = av.AudioResampler(format="fltp", layout=layout, rate=RATE)
        for part in [*to_planes.resample(frame), None]:
            container.mux(stream.encode(part))
    return file.getvalue()


def _to_mono(path: Path) -> None:
    path.write_bytes(_adts("stereo") + _adts("mono"))


def _to_eight(path: Path) -> None:
    path.write_bytes(_adts("stereo") + _adts("7.1"))


def _no_text(path: Path) -> None:
    """A title that is not UTF-8."""
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        container.metadata["title"] = "TITLETITLE"
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        samples = np.full((2, RATE), 0.1, np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, 0
        for part in (frame, None):
            container.mux(stream.encode(part))
    assert b"TITLETITLE" in file.getvalue()
    path.write_bytes(file.getvalue().replace(b"TITLETITLE", b"\xff\xfe\xe9\x80TITLE\xff"))


@dataclass(frozen=True)
class Sound:
    """A file that is odd, and what is said of it: by `encode` and `finetune`, and as the reason code of the probe."""

    write: Callable[[Path], None]
    reason: str | None = None
    """None: it is used."""
    code: str | None = None


SOUNDS = {
    "silence.flac": Sound(_silence, "takes more memory than there is", "silent"),
    "claim.flac": Sound(_claiming_flac, "is cut short", "truncated"),
    "claim.wav": Sound(_claiming_wav, "is cut short", "truncated"),
    "streamed.wav": Sound(_streamed_wav),
    "wide.wav": Sound(_wide, "has 255 channels, the model 2"),
    "wide_header.wav": Sound(_wide_header, "codec that isn't known", "unknown_codec"),
    "fast.wav": Sound(_fast, "sample rate of 2000000000 Hz", "unusual_rate"),
    "picture.flac": Sound(_picture),
    "id3.mp3": Sound(_id3),
    "codec.wav": Sound(_unknown_codec, "codec that isn't known", "unknown_codec"),
    "to_mono.aac": Sound(_to_mono, "changes from 2 channels", "format_changes"),
    "to_eight.aac": Sound(_to_eight, "changes from 2 channels", "format_changes"),
    "no_text.m4a": Sound(_no_text),
}
GOOD = 20 * len(SOUNDS)
"""Whole files beside the odd ones, which are then less than 5 %."""


@pytest.fixture(scope="module")
def sounds(folder: Path) -> Path:
    """A folder of odd files among whole ones, with a table of all."""
    place = folder / "sounds"
    place.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (GOOD, RATE // 10, 2))
    for i in range(GOOD):
        soundfile.write(place / f"{i}.wav", noise[i], RATE)
    for name, sound in SOUNDS.items():
        sound.write(place / name)
    names = [*(f"{i}.wav" for i in range(GOOD)), *SOUNDS]
    rows = "".join(f"sounds/{name},rain {i}\n" for i, name in enumerate(names))
    (folder / "all.csv").write_text(f"path,prompt\n{rows}")
    return place


@pytest.mark.parametrize("name", SOUNDS)
def test_info_on_a_file_that_is_odd(sounds: Path, limited: Commands, name: str) -> None:
    limited("info", f"sounds/{name}")


@pytest.mark.parametrize(
    "name", [name for name in SOUNDS if name not in ("silence.flac", "id3.mp3")]
)
def test_edits_of_a_file_that_is_odd(sounds: Path, limited: Commands, name: str) -> None:
    options = ("--range", "0.1-0.2", *QUICK, "-o", f"{name}.out.wav")
    limited("inpaint", f"sounds/{name}", "rain", *options)


def test_encoding_goes_on_past_odd_files(sounds: Path, folder: Path, limited: Commands) -> None:
    assert limited("encode", "all.csv", "-o", "latents", *QUICK[:2]) == 0
    report = json.loads((folder / "latents" / "report.json").read_text())
    found = {Path(bad["path"]).name: bad["reason"] for bad in report["bad"]}
    assert {name for name, sound in SOUNDS.items() if sound.reason} == found.keys()
    for name, reason in found.items():
        assert f"{name} " in reason and (SOUNDS[name].reason or "") in reason
        assert f"warning: {reason}\n" in limited.err
    assert report["usable"] == GOOD + len(SOUNDS) - len(found)
    assert f"{len(found)} files can't be used" in limited.err


def test_training_goes_on_past_odd_files(sounds: Path, folder: Path, limited: Commands) -> None:
    assert limited("finetune", "all.csv", "-o", "tuned", *QUICK, "--no-checks") == 0
    for name, sound in SOUNDS.items():
        assert (f"warning: sounds/{name} " in limited.err) == (sound.reason is not None), name


def test_probing_goes_on_past_odd_files(sounds: Path, folder: Path, limited: Commands) -> None:
    assert limited("curate", "ingest", "c", "sounds", "--from", "folder") == 0
    assert limited("curate", "probe", "c", "--root", "sounds", "--workers", "1") == 0
    expected = Counter(sound.code or "pass" for sound in SOUNDS.values())
    expected["pass"] += GOOD
    found = re.findall(r"^ *([\d,]+)  (?:pass|quarantine: (\w+))$", limited.out, re.MULTILINE)
    assert {code or "pass": int(count) for count, code in found} == expected


def _parquet(path: Path) -> None:
    """A prompt of a megabyte, 10,000 times, in some 35 kB."""
    prompts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 1_000_000])
    paths = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["sounds/0.wav"])
    pq.write_table(pa.table({"path": paths, "prompt": prompts}), path, compression="zstd")
    assert path.stat().st_size < 100_000


def _wide_lines(path: Path) -> None:
    path.write_text(json.dumps({"path": "sounds/0.wav", "prompt": "x" * 100_000_000}) + "\n")


def _wide_member(path: Path) -> None:
    """A member of 60 MB that takes 1.3 GB as lists."""
    path.write_text('[{"path": "sounds/0.wav", "prompt": [' + "[]," * 20_000_000 + "[]]}]")


_NO_MEMORY = "damaged JSON or cut short (larger than the memory)"
TABLES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "bomb.parquet": (_parquet, "at most 131,072 are read", "row_unreadable"),
    "bomb.jsonl": (_wide_lines, "line 1 is longer than 67,108,864 characters", "row_unreadable"),
    "bomb.json": (_wide_member, _NO_MEMORY, _NO_MEMORY),
}
"""How to write a table, what training and batches say of it, and what a curation says."""


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("verb", ["encode", "batch", "curate"])
def test_a_table_that_is_a_bomb(
    sounds: Path, folder: Path, limited: Commands, name: str, verb: str
) -> None:
    if not (folder / name).exists():
        TABLES[name][0](folder / name)
    if verb == "curate":
        assert limited("curate", "ingest", f"c-{name}", name, "--from", "table", "--name", "x") == 2
        assert "out of memory" not in limited.err and TABLES[name][2] in limited.err
    else:
        options = QUICK[: 2 if verb == "encode" else 4]
        assert limited(verb, name, "-o", f"{name}-{verb}", *options) == 2
        assert TABLES[name][1] in limited.err


def test_a_folder_that_holds_itself(sounds: Path, folder: Path, limited: Commands) -> None:
    place = folder / "loop"
    place.mkdir()
    for name in ("a", "b"):
        (place / name).symlink_to(place)
        (place / f"{name}.wav").symlink_to(f"{name}.wav")
    for i in range(30):
        (place / f"{i}.wav").symlink_to(sounds / f"{i}.wav")
        (place / f"{i}.txt").write_text(f"rain {i}")
    limited("encode", "loop", "-o", "loop-latents", *QUICK[:2])
    limited("curate", "ingest", "loop-c", "loop", "--from", "folder")


@pytest.mark.parametrize("size", [10**15, 2**63, 10**8])
def test_a_header_that_claims_more_than_the_file(
    folder: Path, limited: Commands, size: int
) -> None:
    shutil.copytree(MODEL, folder / "model", dirs_exist_ok=True)
    for name in ("model/model.safetensors", "adapter.safetensors"):
        (folder / name).write_bytes(struct.pack("<Q", size) + b"{}" * 100)
    for arguments in (
        ("inspect", "model"),
        ("generate", "rain", "--model", "model", "-o", "x.wav"),
        ("adapter", "list", "adapter.safetensors"),
        ("generate", "rain", "--adapter", "adapter.safetensors", "-o", "x.wav"),
    ):
        assert limited(*arguments) == 2, arguments
        assert "safetensors" in limited.err

"""The demonstration set of the curation: a few hundred real sound files with metadata, all of them made here.

    known/        tracks that stand for commercial music, to be indexed
    recordings/   a folder of sounds with sidecars: field recordings and effects under several licenses, some of them
                  with a known track in the background, and what goes wrong in real collections
    fma/          raw_tracks.csv and its MP3 files, two of them by the metadata of known music
    catalogue.csv commercial music by its metadata; evaluation.csv  ids that training must not contain
    expected.json what has to become of each recording

Run it with the folder to make, then see README.md beside it.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np
import soundfile

from recipes.tiny import synth

RATE = synth.SAMPLE_RATE
NUM_KNOWN, NUM_PLAIN, NUM_MIXED, NUM_TRACKS = 10, 200, 10, 20
KNOWN_SECONDS = 30
LICENSES = {"CC0": 0.55, "Attribution 4.0": 0.41, "Sampling+": 0.04}
FIELD_KINDS = ("rain", "wind", "ocean", "stream", "fire", "crickets")
OUTCOME = {
    "noncommercial": "removed license license_nc",
    "unknown-license": "removed license license_unknown",
    "unwilling": "removed preference preference_no_gen_ai",
    "silent": "quarantined probe silent",
    "text": "quarantined probe not_audio",
    "empty": "quarantined probe empty_file",
    "music-behind-rain": "pending review content_match",
    "plain": "accepted",
}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("python -m recipes.curation_demo.make_set FOLDER")
    folder = Path(sys.argv[1])
    if folder.exists():
        sys.exit(f"{folder} exists already; name a new folder")
    rng = np.random.default_rng(0)
    known = [_known_track(index) for index in range(NUM_KNOWN)]
    expected = _recordings(folder / "recordings", known, rng)
    expected |= _tracks(folder, known, rng)
    (folder / "known").mkdir()
    for index, track in enumerate(known):
        soundfile.write(folder / "known" / f"track-{index:02d}.flac", track.T, RATE)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(folder)


def _known_track(index: int) -> np.ndarray:
    """Half a minute of music: loops with a line of notes over them, like no other track's."""
    rng = np.random.default_rng((index, 7))
    length = KNOWN_SECONDS * RATE
    return 0.6 * _joined(_drawn(rng, "drums"), length) + 0.4 * _joined(_drawn(rng, "note"), length)


def _drawn(rng: np.random.Generator, *families: str) -> Iterator[np.ndarray]:
    while True:
        sound = synth.draw_sound(rng)
        if sound.family in families:
            yield synth.render(sound, rng)


def _joined(parts: Iterator[np.ndarray], length: int) -> np.ndarray:
    found = np.zeros((2, 0), np.float32)
    while found.shape[1] < length:
        found = np.concatenate((found, next(parts)), axis=1)
    return found[:, :length]


def _field(rng: np.random.Generator, length: int) -> np.ndarray:
    """One kind of field recording, of any length."""
    kind = str(rng.choice(FIELD_KINDS))
    drawn = (s for s in iter(lambda: synth.draw_sound(rng), None) if s.kind == kind)
    return _joined((synth.render(sound, rng) for sound in drawn), length)


def _recordings(
    folder: Path, known: Sequence[np.ndarray], rng: np.random.Generator
) -> dict[str, str]:
    folder.mkdir(parents=True)
    expected: dict[str, str] = {}
    clips = (made for made in map(synth.clip, count(90_000)) if made.sound.seconds >= 4)
    for index, made in enumerate(islice(clips, NUM_PLAIN)):
        name = f"plain-{index:03d}.{'mp3' if index % 3 == 0 else 'wav'}"
        text = str(rng.choice(list(LICENSES), p=list(LICENSES.values())))
        sound, title = made.waveform.astype(np.float32), f"{made.sound.kind} {index}"
        _write(folder / name, sound, text, title, prompt=made.caption)
        expected[f"folder:{name}"] = OUTCOME["plain"]
    again, _ = soundfile.read(folder / "plain-001.wav", dtype="float32")
    _write(folder / "plain-001-again.ogg", 0.3 * again.T, "CC0", "the same, uploaded again")
    expected["folder:plain-001-again.ogg"] = OUTCOME["plain"]
    for index in range(NUM_MIXED):
        track = known[index % len(known)]
        under = 0.5 * track + 0.5 * _field(rng, track.shape[1])
        name = f"music-behind-rain-{index:02d}.ogg"
        _write(folder / name, under, "CC0", "walk through the city")
        expected[f"folder:{name}"] = OUTCOME["music-behind-rain"]
    return expected | _faults(folder, rng)


def _faults(folder: Path, rng: np.random.Generator) -> dict[str, str]:
    """What may not be used, and what isn't there to be used."""
    sound = _field(rng, 4 * RATE)
    _write(folder / "noncommercial.wav", sound, "Attribution NonCommercial 3.0", "waterfall")
    _write(folder / "unknown-license.wav", sound, "ask me first", "waterfall, again")
    _write(folder / "unwilling.wav", sound, "CC0", "mine", gen_ai_preference="no-gen-ai")
    _write(folder / "silent.wav", 0 * sound, "CC0", "anechoic chamber")
    _write(folder / "text.wav", sound, "CC0", "<b>notes</b>")
    (folder / "text.wav").write_text("to be recorded\n" * 99)
    _write(folder / "empty.wav", sound, "CC0", "upload that failed")
    (folder / "empty.wav").write_bytes(b"")
    names = ("noncommercial", "unknown-license", "unwilling", "silent", "text", "empty")
    return {f"folder:{name}.wav": OUTCOME[name] for name in names}


def _write(path: Path, waveform: np.ndarray, license: str, title: str, **more: str) -> None:
    soundfile.write(path, waveform.T.clip(-1, 1), RATE)
    about = {"title": title, "author": f"recordist {len(title) % 17}", "license": license}
    about["url"] = f"https://sounds.example/{path.stem}"
    path.with_suffix(".json").write_text(json.dumps(about | more))


def _tracks(folder: Path, known: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, str]:
    """FMA: the first track is in the catalogue, the second is a known one, the third in an evaluation set."""
    header = "track_id track_title artist_name license_title license_url track_duration track_url".split()
    rows, expected = [], dict[str, str]()
    (folder / "fma" / "audio" / "000").mkdir(parents=True)
    for id in range(2, 2 + NUM_TRACKS):
        sound = known[0] if id == 3 else _joined(_drawn(rng, "note", "drums"), 10 * RATE)
        soundfile.write(folder / "fma" / "audio" / "000" / f"{id:06d}.mp3", sound.T, RATE)
        title = "A Song Everyone Knows" if id == 2 else f"Tremolo Number {id} of Many Lakes"
        artist = "The Famous Names" if id == 2 else f"Quartet {id}"
        link = f"https://freemusicarchive.org/music/Quartet/Lakes/{id}/"
        deed = "http://creativecommons.org/licenses/by/4.0/"
        minutes = f"00:{sound.shape[1] // RATE:02d}"
        rows.append((id, title, artist, "Attribution 4.0 International", deed, minutes, link))
        expected[f"fma:{id}"] = "accepted"
    expected["fma:2"] = "pending review metadata_a"
    expected["fma:3"] = "pending review content_match"
    expected["fma:4"] = "removed guard eval_overlap:own"
    _table(folder / "fma" / "raw_tracks.csv", header, rows)
    catalogue = [("c1", "Famous Names", "Hits", "A Song Everyone Knows", 10_000)]
    columns = ("track_id", "artists", "album_name", "track_name", "duration_ms")
    _table(folder / "catalogue.csv", columns, catalogue)
    _table(folder / "evaluation.csv", ("id",), [(4,)])
    return expected


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()

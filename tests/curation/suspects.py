"""A small curation whose review has one item of each kind: matches by sound at a known offset, a title, a short sound."""

import json
from pathlib import Path

import numpy as np
import soundfile

from auralith.cli.main import run
from auralith.curation.settings import CurationSettings
from auralith.settings import load_settings
from tests.curation.whole import SAMPLE_RATE as NOISE_RATE
from tests.curation.whole import write_csv
from tests.fingerprint.melodies import SAMPLE_RATE, melody

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=1</script>\u202e{{7*7}}'
KNOWN_FROM, SUSPECT_FROM, COMMON = 5.0, 2.0, 8.0
"""Start of the common stretch in the known recording and in the suspect, and its length, in seconds."""


def curate_suspects(folder: Path) -> CurationSettings:
    """Make the sounds, index the known one, run the curation; its folder is `folder/curation`."""
    (folder / "known").mkdir()
    known = melody(7, 16.0)
    soundfile.write(folder / "known" / "hit song.flac", known, SAMPLE_RATE)
    first = round(KNOWN_FROM * SAMPLE_RATE)
    common = known[first : first + round(COMMON * SAMPLE_RATE)]
    _write_sounds(folder / "sounds", common)
    _write_tracks(folder)
    assert run(["curate", "index", str(folder / "known"), "-o", str(folder / "index")]) == 0
    assert run(["curate", "run", str(_recipe(folder))]) == 0
    return load_settings(CurationSettings, _recipe(folder))


def _write_sounds(folder: Path, common: np.ndarray) -> None:
    folder.mkdir()
    before = np.random.default_rng(1).standard_normal(round(SUSPECT_FROM * SAMPLE_RATE)) / 50
    sounds = {
        "copy.wav": (np.concatenate([before, common, before]), "A field recording", "Ann Onym"),
        "markup.wav": (np.concatenate([before, common]) / 2, MARKUP, MARKUP),
        "own.wav": (melody(99, 9.0), "Something of my own", "Ann Onym"),
        "short.wav": (melody(5, 1.5), "A short one", "Ann Onym"),
    }
    for name, (samples, title, author) in sounds.items():
        soundfile.write(folder / name, samples, SAMPLE_RATE)
        facts = {"title": title, "author": author, "license": "CC0", "url": "javascript:alert(1)"}
        (folder / name).with_suffix(".json").write_text(json.dumps(facts))


def _write_tracks(folder: Path) -> None:
    (folder / "music").mkdir()
    noise = np.random.default_rng(3).standard_normal(5 * NOISE_RATE) / 10
    soundfile.write(folder / "music" / "1.wav", noise.clip(-1, 1), NOISE_RATE)
    header = ("track_id", "artists", "album_name", "track_name", "duration_ms")
    row = ("c1", "Known Artist", MARKUP, "A Song Everyone Knows", 5_000)
    write_csv(folder / "catalogue.csv", header, [row])
    header = ("id", "path", "track", "author", "license_raw")
    row = (1, "1.wav", "A Song Everyone Knows", "Known Artist", "ccby")
    write_csv(folder / "tracks.csv", header, [row])


def _recipe(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        f"""
folder = {json.dumps(str(folder / "curation"))}
stages = ["license", "probe", "identify", "metadata"]
known_music = ["fma"]
identified = "all"
index = {json.dumps(str(folder / "index"))}
catalogue = {json.dumps(str(folder / "catalogue.csv"))}
engine = {{ workers = 1 }}

[[sources]]
kind = "folder"
path = {json.dumps(str(folder / "sounds"))}

[[sources]]
kind = "table"
name = "fma"
path = {json.dumps(str(folder / "tracks.csv"))}
sounds = {json.dumps(str(folder / "music"))}
columns = [{{ ours = "title", theirs = "track" }}]
"""
    )
    return path

"""musicnn as a tagger: its facts, its hash, its head, and the whole step with random weights."""

import hashlib
import json
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from musicnn_cases import random_tensors, shapes, sound, write_bundle

from auralith.curation.settings import CurationSettings
from auralith.curation.tagging.meter import THRESHOLDS
from auralith.curation.tagging.musicnn import MusicnnTagger
from auralith.curation.tagging.stage import Tagging, TaggingSettings, pinned
from auralith.curation.tagging.taggers import TAGGERS
from auralith.embedders.musicnn import MSD_TAGS, read_musicnn
from auralith.errors import CheckpointError, InvalidRequest
from auralith.settings import load_settings
from auralith.weights import find_weights

SETTINGS = TaggingSettings(tagger="musicnn", min_seconds=5.0)
HEAD = json.loads(files("auralith.curation.tagging").joinpath("music_head.json").read_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "MSD_musicnn"
    write_bundle(folder, random_tensors(shapes()))
    return folder


def window() -> np.ndarray:
    return sound()[: MusicnnTagger.facts.window_samples]


def test_facts() -> None:
    facts = MusicnnTagger.facts
    assert TAGGERS[facts.name] is MusicnnTagger
    assert facts.frames_per_window == facts.num_labels == 1
    assert facts.seconds(1) == 2.992 and facts.frames(30.0) == 11
    assert facts.classes("subtree") == facts.classes("music_only") == (0,)
    with pytest.raises(InvalidRequest, match="unknown to musicnn; use music_only, subtree"):
        facts.classes("subtree-bells")


def test_head_fits_its_network(folder: Path) -> None:
    assert HEAD["network"] == "musicnn-msd"
    assert len(HEAD["weights"]) == read_musicnn(folder, len(MSD_TAGS)).dense.out_features == 200
    assert HEAD["music"] > 20 and HEAD["others"] > 20


def test_probability_is_that_of_the_head(folder: Path) -> None:
    import torch

    from auralith.embedders.musicnn import log_mel

    mel = log_mel(torch.from_numpy(window()))[None, :187]
    embedding = read_musicnn(folder)(mel).embedding[0].double().numpy()
    expected = 1 / (1 + np.exp(-(np.dot(HEAD["weights"], embedding) + HEAD["bias"])))
    found = MusicnnTagger(folder, device="cpu").framewise(window())
    assert found.shape == (1, 1) and found.dtype == np.float32
    assert found[0, 0] == pytest.approx(expected, abs=1e-6)
    assert MusicnnTagger(folder, device="cpu").framewise(np.zeros_like(window()))[0, 0] == 0


def test_hash_is_of_network_and_head(folder: Path, tmp_path: Path) -> None:
    digest = MusicnnTagger(folder).weights_sha256()
    head = hashlib.sha256(
        files("auralith.curation.tagging").joinpath("music_head.json").read_bytes()
    ).hexdigest()
    network = find_weights("musicnn-msd", folder).sha256
    assert digest == hashlib.sha256((network + head).encode()).hexdigest()
    assert pinned(SETTINGS, folder, tmp_path).weights_sha256 == digest
    assert MusicnnTagger(folder, sha256=digest.upper(), device="cpu").framewise(window()).size == 1
    with pytest.raises(CheckpointError, match="leave --weights-sha256 out"):
        MusicnnTagger(folder, sha256="0" * 64, device="cpu").framewise(window())


def test_missing_weights_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURALITH_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="auralith weights fetch musicnn-msd"):
        pinned(SETTINGS, None, tmp_path)


def test_step(folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile(sound(), 2), 16_000)  # 14 s
    soundfile.write(tmp_path / "b.wav", np.zeros((44_100 * 7, 2)), 44_100)
    rows = [{"rec_id": name, "path": f"{name}.wav"} for name in "ab"]
    stage = Tagging(SETTINGS, folder, "cpu")
    music, silent = stage.process(rows, tmp_path)
    assert music.status == silent.status == "ok"
    assert music.columns["seconds"] == pytest.approx(5 * 2.992)  # the last is cut short
    assert silent.columns["clipwise_max"] == 0 and silent.verdict == "pass"
    assert len(music.columns["music_seconds"]) == len(THRESHOLDS)
    assert music.columns["q3000"] <= music.columns["clipwise_max"]
    assert music.columns["tagger"] == "musicnn"


def test_published_weights_hear_music() -> None:
    """A chord with a rhythm against noise; the published network only."""
    try:
        find_weights("musicnn-msd")
    except CheckpointError:
        pytest.skip("`auralith weights fetch musicnn-msd` was not run")
    tagger = MusicnnTagger(None, device="cpu")
    time = np.arange(MusicnnTagger.facts.window_samples) / 16_000
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277.18, 329.63, 440)) / 8
    music = (chord * np.exp(-3 * (time % 0.5))).astype(np.float32)
    noise = 0.1 * np.random.RandomState(0).standard_normal(len(time)).astype(np.float32)
    assert tagger.framewise(music)[0, 0] > tagger.framewise(noise)[0, 0]


def test_each_tagger_has_its_own_threshold(folder: Path) -> None:
    assert Tagging(SETTINGS, folder, "cpu").settings.threshold == 0.3
    read = partial(load_settings, CurationSettings)
    assert read(overrides=["tag.tagger=musicnn"]).tag.heard_from == 0.3
    assert read(overrides=["tag.tagger=musicnn", "tag.threshold=0.2"]).tag.heard_from == 0.2
    # the evidence of a threshold that was written down is that of the tagger's own
    assert TaggingSettings().complete() == TaggingSettings(threshold=0.15)

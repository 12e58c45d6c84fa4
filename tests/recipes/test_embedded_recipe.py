"""The corpus of the embedded model as the stages of a recipe see it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.cli.main import run
from auralith.settings import load_settings
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import LoopSettings
from recipes.embedded.__main__ import RECIPE, app
from recipes.embedded.corpus import Corpus, Library, Recorded
from recipes.tiny import stages
from recipes.tiny.command import Stage
from recipes.tiny.stages import Recipe
from recipes.tiny.text import NONE, TextSettings, attributes

CAPTIONS = {
    "dog.wav": "dog",
    "strum.wav": "guitar strum, C minor chord",
    "kick.wav": "bass drum, boom",
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for name in CAPTIONS:
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 22_050).astype(np.float32), 44_100)
    rows = "".join(f'{name},"{caption}",CC0-1.0\n' for name, caption in CAPTIONS.items())
    (tmp_path / "table.csv").write_text(f"path,caption,license\n{rows}")
    return tmp_path / "table.csv"


def test_every_sound_has_classes_that_the_corpus_lists(table: Path) -> None:
    corpus = Corpus(Library(table))
    rng = np.random.default_rng(0)
    seen = set()
    for index in range(1_500):
        held_out = index % 4 == 0
        sound = corpus.draw(rng, held_out=held_out)
        assert corpus.caption(sound, rng, held_out=held_out).strip()
        labels = corpus.label(sound)
        assert "kind" in labels
        for name, value in labels.items():
            assert value in corpus.labels[name]
        assert set(sound.descriptors) <= set(corpus.descriptors)
        assert corpus.of_json(json.loads(json.dumps(corpus.to_json(sound)))) == sound
        seen |= labels.keys()
        if isinstance(sound, Recorded):
            assert labels == {"kind": corpus.library and corpus.library.title(sound.kind)}
    assert seen == corpus.labels.keys()


def test_a_sound_without_a_class_is_left_out_of_its_loss(table: Path) -> None:
    corpus = Corpus(Library(table))
    rng = np.random.default_rng(2)
    sounds = [corpus.draw(rng) for _ in range(100)]
    told = attributes(sounds, corpus)
    for index, sound in enumerate(sounds):
        labels = corpus.label(sound)
        for name, classes in corpus.labels.items():
            place = int(told[name][index])
            assert (classes[place] if place != NONE else None) == labels.get(name)


def test_the_text_encoder_learns_from_its_captions(tmp_path: Path, table: Path) -> None:
    recipe = replace(
        load_settings(Recipe, RECIPE),
        text=TextSettings(d_model=64, d_ff=32, layers=1, heads=2, vocabulary_captions=50, batch_size=16),
        text_loop=LoopSettings(steps=30, save_every=30, device="cpu"),
        text_optimizer=OptimizerSettings(learning_rate=1e-2),
    )  # fmt: skip
    steps = list(stages.train_text(recipe, Corpus(Library(table)), tmp_path / "run"))
    assert set(steps[-1].losses) >= {"kind", "form", "kit", "root", "quality", "tempo", "pitch"}
    assert steps[-1].losses["descriptors"] < 0.7 * steps[0].losses["descriptors"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--stage", "export"), "run the stage 'text' first"),
        (("--recordings", "no.csv"), "no.csv"),
        (("--part", "2", "--parts", "2"), "--part is 2"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*arguments, "-o", str(tmp_path / "run")], app) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_the_stages_are_in_order() -> None:
    assert [stage.value for stage in Stage] == ["text", "autoencoder", "encode", "dit", "export"]

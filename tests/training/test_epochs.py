"""The paper's sampling of recordings: how often each is due, the same in every run, and the dataset's own split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_autoencoder_task import OPTIMIZATION, SETTINGS, discriminator, oobleck
from torch import Tensor

from auralith.data.recording import Recording, Recordings
from auralith.errors import InvalidRequest
from auralith.settings import load_settings
from auralith.sound.extent import SoundInfo
from auralith.training.autoencoder import AutoencoderTask
from auralith.training.epochs import ChunkSampling, Epochs, roles_of, split_up
from auralith.training.loop import Run, train
from auralith.training.scratch import AutoencoderRecipe
from auralith.training.task import LoopSettings, Share

pytestmark = pytest.mark.usefixtures("undrawn")

PAPER = ChunkSampling(chunks_per_recording=3, high_fidelity_weight=2)
RATE = 44_100


class Described(Recordings):
    """Noise of given lengths in seconds, each at its own level, with metadata."""

    def __init__(self, rows: Sequence[tuple[float, Mapping[str, str]]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Recording:
        return Recording(str(i), f"{i}.wav", (), self.rows[i][1])

    def info(self, i: int) -> SoundInfo:
        return SoundInfo(round(self.rows[i][0] * RATE), RATE, 2)

    def read(self, i: int, start: int = 0, stop: int | None = None) -> tuple[Tensor, int]:
        length = (self.info(i).num_samples if stop is None else stop) - start
        return torch.full((2, length), (i + 1) / 100), RATE


FREESOUND, FINE, FMA = (
    {"source": "freesound", "high_fidelity": "False"},
    {"source": "freesound", "high_fidelity": "True"},
    {"source": "fma", "high_fidelity": "True"},
)
ROWS = [
    (2.0, FREESOUND),
    (12.0, FREESOUND),
    (100.0, FREESOUND),
    (2.0, FINE),
    (100.0, FINE),
    (52.0, FMA),
    (100.0, {}),
]
CHUNKS = [1, 2, 3, 2, 6, 10, 3]


def task(rows: Sequence[tuple[float, Mapping[str, str]]], **changes: Any) -> AutoencoderTask:
    settings = replace(SETTINGS, **({"sampling": PAPER, "validation_items": 0} | changes))
    return AutoencoderTask(
        oobleck(), discriminator(), Described(rows), settings, OPTIMIZATION, seed=3
    )


def due(made: AutoencoderTask, step: int) -> list[int]:
    """The recordings of a step's batch, by their level."""
    peaks = made.batch(step, Share(0, 1))["waveform"].abs().amax(dim=(1, 2))
    return (peaks * 100 - 1).round().int().tolist()


def test_an_epoch_has_the_published_number_of_chunks() -> None:
    made = task(ROWS)
    for epoch in range(3):
        steps = range(epoch * sum(CHUNKS), (epoch + 1) * sum(CHUNKS))
        items = [made.epochs.recording(count) for count in steps]
        assert Counter(items) == dict(enumerate(CHUNKS))
    first, second = ([made.epochs.recording(e * 27 + i) for i in range(27)] for e in range(2))
    assert first != second


def test_batches_follow_the_epoch() -> None:
    made = task(ROWS, batch_size=3)
    items = [index for step in range(sum(CHUNKS) // 3) for index in due(made, step)]
    assert Counter(items) == dict(enumerate(CHUNKS))


def test_batches_are_a_function_of_seed_step_and_position() -> None:
    made, again = task(ROWS, batch_size=4), task(ROWS, batch_size=4)
    for step in (9, 2, 2**33):
        whole = made.batch(step, Share(0, 1))["waveform"]
        parts = [again.batch(step, Share(part, 2))["waveform"] for part in range(2)]
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)
    orders = [
        [Epochs(Described(ROWS), range(7), PAPER, seed).recording(i) for i in range(27)]
        for seed in (3, 4)
    ]
    assert orders[0] != orders[1]


def test_resumed_is_as_if_not_interrupted(tmp_path: Path) -> None:
    loop = LoopSettings(steps=4, save_every=2, precision="float32", device="cpu")

    def trained(name: str, steps: int) -> dict[str, Tensor]:
        run = Run(task(ROWS), replace(loop, steps=steps), tmp_path / name)
        for _ in train(run):
            pass
        return run.averaged_state()

    trained("twice", 2)
    states = [trained("once", 4), trained("twice", 4)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_without_epochs_every_recording_is_as_likely_as_any_other() -> None:
    made = task(ROWS, sampling=ChunkSampling(), batch_size=10)
    counts = Counter(index for step in range(100) for index in due(made, step))
    assert np.ptp(list(counts.values())) < 80 and made.epochs.recording(5) is None


def test_a_silent_recording_gives_its_turn_to_another() -> None:
    rows = [*ROWS, (10.0, FREESOUND)]
    made = task(rows, batch_size=4)

    def read(i: int, start: int = 0, stop: int | None = None) -> tuple[Tensor, int]:
        waveform, rate = Described(rows).read(i, start, stop)
        return waveform * (i != 7), rate

    made.recordings.read = read  # pyright: ignore[reportAttributeAccessIssue]
    seen = {index for step in range(20) for index in due(made, step)}
    assert seen == set(range(7))


def test_the_manifests_split_is_used() -> None:
    words = ["train", "Validation", "test", "", "train", "val", "TRAIN"]
    rows = [(s, {**m, "Split": word}) for (s, m), word in zip(ROWS, words, strict=True)]
    made = task(rows, validation_items=8)
    assert sorted(made.trained) == [0, 3, 4, 6] and sorted(made.held_out) == [1, 5]
    assert len(task(rows, validation_items=1).held_out) == 1
    ignored = task(rows, validation_items=0, split_column="")
    assert sorted(ignored.trained) == list(range(7))


def test_without_rows_for_validation_a_tenth_is_held_out() -> None:
    roles = roles_of([{"split": "train"}] * 20 + [{"split": "test"}] * 20, "split")
    assert split_up(range(40), roles, 32) == (list(range(2, 20)), [0, 1])
    assert split_up(range(40), [None] * 40, 3) == (list(range(3, 40)), [0, 1, 2])


def test_an_unknown_split_is_one_line() -> None:
    with pytest.raises(InvalidRequest, match="'split' holds 'fold 3'; write train, validation"):
        roles_of([{"split": "fold 3"}], "split")


def test_the_published_recipes_ask_for_it() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "published"
    for name in ("autoencoder", "decoder"):
        recipe = load_settings(AutoencoderRecipe, folder / f"{name}.toml")
        assert recipe.training.sampling == PAPER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks_per_recording": -1}, "chunks_per_recording is -1; it must be at least 0"),
        ({"chunk_seconds": 0.0}, "chunk_seconds is 0 s; it must be above 0"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        ChunkSampling(**change)

"""What a worker makes, in this process: previews change nothing, and a batch is made again as it was."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from auralith.jobs import previews
from auralith.jobs.orders import read_order, resolved
from auralith.jobs.previews import DecodingSpeed, PreviewFolder, Previews
from auralith.jobs.records import Unknown
from auralith.jobs.running import NUM_PEAKS, JobRunner
from auralith.jobs.tasks import Json, ModelPlace, Task, WorkerSettings
from auralith.provenance import read_provenance
from auralith.resolution import Resolver
from auralith.samplers import Step
from auralith.sound.reading import read
from tests.conftest import GOLDEN, open_tiny

SETTINGS = WorkerSettings((ModelPlace("tiny", str(GOLDEN / "sao_tiny")),), "cpu", "float32")


class Worker:
    """A runner, and what it said of the last task."""

    def __init__(self, settings: WorkerSettings = SETTINGS) -> None:
        self.said: list[Json] = []
        self._runner = JobRunner(settings, lambda message: self.said.append(message))
        self._resolver = Resolver(open_tiny("sao_tiny").config)

    def __call__(self, folder: Path, options: Json | None = None, **body: Any) -> dict[str, bytes]:
        """Return the sounds of a task by their names."""
        quick = {"prompt": "a drum", "seconds": 0.3, "window": "fit", "steps": 8, "seed": 3}
        order = resolved(read_order(quick | {"model": "tiny"} | body), self._resolver, None)
        folder.mkdir(exist_ok=True)
        self.said.clear()
        self._runner.run(Task("job", order.to_json(), str(folder), **(options or {})))
        assert self.said[-1]["kind"] == "done", self.said[-1]
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def of_kind(self, kind: str) -> list[Json]:
        """Return its messages of a kind."""
        return [message for message in self.said if message["kind"] == kind]


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker()


def test_previews_come_while_a_sound_is_made_and_do_not_change_it(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "LEAST_WAIT_SECONDS", 0.0)
    calm = worker(tmp_path / "calm")
    assert not worker.of_kind("preview")
    folder = PreviewFolder(tmp_path / "previews", lambda path: True)
    assert (
        worker(tmp_path / "heard", {"previews": str(folder.path), "preview_share": 100.0}) == calm
    )
    said = [message["preview"] for message in worker.of_kind("preview")]
    assert [one["number"] for one in said] == list(range(1, len(previews.PLACES) + 1))
    steps = [one["step"] for one in said]
    assert steps == sorted(set(steps)) and steps[-1] < 8
    for one in said:
        waveform, rate = read(folder.file("job", one["number"]))
        assert waveform.shape[0] == 1 and waveform.shape[1] / rate == one["seconds"]
        assert float(waveform.abs().max()) > 0.9
        assert len(one["peaks"]["max"]) == NUM_PEAKS and max(one["peaks"]["max"]) <= 1.0
    folder.drop("other")
    folder.file("job", 1)
    folder.drop("job")
    with pytest.raises(Unknown):
        folder.file("job", 1)


def test_what_a_process_left_behind_is_removed(tmp_path: Path) -> None:
    for name in ("dead-1.wav", "alive-1.wav"):
        (tmp_path / name).touch()
    PreviewFolder(tmp_path, lambda path: path.name != "alive-1.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["alive-1.wav"]


@pytest.mark.parametrize(("pace", "is_affordable"), [(1e-9, True), (1e3, False), (None, True)])
def test_previews_take_a_share_of_the_run(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, pace: float | None, is_affordable: bool
) -> None:
    """A decoder that is too slow for its share is not asked, one that was never measured is asked for half a second."""
    clock = iter(range(1_000))
    monkeypatch.setattr(previews.time, "perf_counter", lambda: float(next(clock)))
    model = worker._runner._models.get("tiny")
    frames = 2 * model.config.audio.num_frames(model.config.audio.sample_rate)
    heard: list[float] = []
    watched = Previews(
        model, None, 0.1, DecodingSpeed(pace), lambda said, *_: heard.append(said["seconds"])
    )
    latents = torch.zeros(2, model.config.audio.latent_channels, frames)
    for index in range(4):
        watched.on_step(Step(index, 4, 1.0, latents, latents))
    assert bool(heard) == is_affordable
    if pace is None:
        assert heard[0] == pytest.approx(0.5, abs=0.1)
    elif heard:
        assert heard[0] == pytest.approx(2.0, abs=0.1)


def test_each_output_says_what_it_took(worker: Worker, tmp_path: Path) -> None:
    worker(tmp_path / "two", n=2)
    stages = {"text", "denoising", "decoding", "writing"}
    for index, message in enumerate(worker.of_kind("output")):
        work = message["facts"]["work"]
        assert work["seconds"].keys() == (stages if index else stages | {"loading"})
        making = sum(work["seconds"].values()) - work["seconds"].get("loading", 0.0)
        assert work["real_time_factor"] == pytest.approx(making / 0.3, abs=0.01)
        assert work["device"] == "cpu" and work["threads"] == torch.get_num_threads()
        assert work["peak_memory_bytes"] > 2**20
    (loaded,) = worker.of_kind("loaded")
    assert loaded["model_hash"] == read_provenance(tmp_path / "two" / "job-0.wav").model_hash
    assert not any("drum" in str(message) for message in worker.said)


def test_a_batch_is_made_again_as_it_was(tmp_path: Path) -> None:
    """Whatever of it is there already: which sounds are made together is a matter of the job alone."""
    worker = Worker(replace(SETTINGS, batch=2))
    whole = worker(tmp_path / "whole", n=3)
    assert len(whole) == 3
    origins = [read_provenance(tmp_path / "whole" / f"job-{i}.wav") for i in range(3)]
    assert [(one.batch_index, one.batch_size) for one in origins] == [(0, 2), (1, 2), (0, 1)]
    for made in (("job-0.wav",), ("job-1.wav",), ("job-0.wav", "job-1.wav")):
        again = worker(tmp_path / "-".join(made), {"made": made}, n=3)
        assert again == {name: data for name, data in whole.items() if name not in made}

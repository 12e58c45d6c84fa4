"""Runs that people stop, continue, lengthen and wait for, and what refused ones leave behind."""

import json
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from auralith.cli.main import run
from auralith.cli.progress import duration, stage_progress
from auralith.errors import Interrupted, InvalidRequest
from auralith.training.dit import DiTTask
from auralith.training.export import check_target, exported, nothing_left_if_refused
from auralith.training.loop import train
from auralith.training.optimizers import OptimizerSettings
from auralith.training.state import Journal
from auralith.training.task import Batch
from tests.training.test_finetune import content, write_dataset
from tests.training.test_loop import Regression, run_of, weights

pytestmark = pytest.mark.usefixtures("heeded_signals", "undrawn")


class Signaled(Regression):
    """Gets a signal in the middle of a step."""

    def __init__(self, at: int, number: int) -> None:
        super().__init__()
        self.at, self.number = at, number

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        if step == self.at:
            signal.raise_signal(self.number)
        return super().losses(batch, step, networks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_acted_on_when_the_step_is_saved(number: int, tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole")
    list(train(whole))
    stopped, handler = run_of(tmp_path / "stopped", Signaled(12, number)), signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 13 of 40; its state") as caught:
        list(train(stopped))
    assert caught.value.signal_number == number and signal.getsignal(number) == handler
    resumed = run_of(tmp_path / "stopped")
    assert next(iter(progress.step for progress in train(resumed))) == 14
    resumed = run_of(tmp_path / "stopped")
    list(train(resumed))
    assert all(map(torch.equal, weights(whole), weights(resumed)))


def test_the_second_signal_stops_at_once(tmp_path: Path) -> None:
    class Insisting(Signaled):
        def losses(
            self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
        ) -> dict[str, Tensor]:
            made = super().losses(batch, step, networks)
            if step == self.at:
                signal.raise_signal(self.number)
            return made

    task = run_of(tmp_path, Insisting(12, signal.SIGINT))
    with pytest.raises(Interrupted) as caught:
        list(train(task))
    assert not str(caught.value) and task.states.steps() == [0, 10]


def test_a_timer_saves_between_the_steps_that_are_counted(tmp_path: Path) -> None:
    run = run_of(tmp_path, save_every=1_000, save_minutes=1e-9, keep_last=50)
    list(train(run))
    assert run.states.steps() == list(range(41))
    run = run_of(tmp_path / "without", save_every=1_000, save_minutes=0.0, keep_last=50)
    list(train(run))
    assert run.states.steps() == [0, 40]


def test_more_steps_go_on_with_a_finished_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def task() -> Regression:
        made = Regression()
        made.optimization = {
            "negator": OptimizerSettings(learning_rate=0.02, schedule="constant", warmup_steps=5)
        }
        return made

    whole = run_of(tmp_path / "whole", task())
    list(train(whole))
    list(train(run_of(tmp_path / "more", task(), steps=20)))
    more = run_of(tmp_path / "more", task())
    assert [progress.step for progress in train(more)] == list(range(21, 41))
    assert all(map(torch.equal, weights(whole), weights(more)))
    with pytest.raises(
        InvalidRequest, match=r"is at step 40 already; loop.steps must be at least as many"
    ):
        list(train(run_of(tmp_path / "more", task(), steps=30)))
    list(train(run_of(tmp_path / "cosine", steps=20)))
    assert not caplog.messages
    list(train(run_of(tmp_path / "cosine")))
    assert "cosine schedule now ends at step 40, not 20" in caplog.messages[0]


def test_the_log_has_a_rate_for_each_optimizer_and_the_last_step(tmp_path: Path) -> None:
    list(train(run_of(tmp_path, steps=13, log_every=5)))
    journal = Journal(tmp_path)
    entries = journal.read()
    assert [entry["step"] for entry in entries] == [5, 10, 13]
    rates = {name for name in entries[-1] if name.startswith("learning_rate/")}
    assert rates == {"learning_rate/negator", "learning_rate/negator, muon"}
    assert set(journal.metrics()) == {"loss error", "loss gradient", "validation error"}


def test_an_export_replaces_nothing_but_an_earlier_one_of_its_run(tmp_path: Path) -> None:
    target, runs = tmp_path / "model", tmp_path / "model_run"
    runs.mkdir()

    def export(steps: int) -> None:
        with exported(target, runs, steps) as folder:
            (folder / "card.md").write_text(f"{steps} steps")

    export(10)
    with pytest.raises(InvalidRequest, match=r"finished after 10 steps; raise loop.steps"):
        check_target(target, runs, 10)
    export(20)
    assert (target / "card.md").read_text() == "20 steps"
    # killed before the new folder was in place: the record is ahead of the model
    (target / "card.md").write_text("10 steps")
    check_target(target, runs, 20)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(InvalidRequest, match="not as this run wrote it; move it away"):
        export(30)
    assert (target / "notes.txt").read_text() == "mine"
    with pytest.raises(InvalidRequest, match="exists already"):
        check_target(target / "card.md", runs, 30)


def test_what_a_refusal_made_is_removed_and_no_more(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        with nothing_left_if_refused(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "file").touch()
            raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        refuse(tmp_path / "a" / "b_run")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidRequest):
        refuse(tmp_path / "there")
    assert (tmp_path / "there" / "file").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (99.0, "99 s"), (100.0, "2 min"), (5_940.0, "99 min"), (6e3, "1 h 40 min"), (2e5, "2 d 8 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_left_is_shown_from_the_second_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1_000, 10))
    monkeypatch.setattr("auralith.cli.progress.time.monotonic", lambda: float(next(clock)))
    with stage_progress() as show:
        for done in range(501, 505):  # a run that goes on: what was done before tells no pace
            show("train", done, 1_000, "loss")
    assert capsys.readouterr().err.splitlines()[0] == "train 502/1000  83 min left  loss"


def test_stopped_on_the_command_line_it_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_dataset(tmp_path / "some zaps", 4)
    options = "--batch-size 2 --precision float32 --steps".split()
    whole, stopped = tmp_path / "whole", tmp_path / "it's stopped"
    assert run(["finetune", str(dataset), "-o", str(whole), *options, "5"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(DiTTask, "losses", _terminated(DiTTask.losses, 2))
        assert run(["finetune", str(dataset), "-o", str(stopped), *options, "4"]) == 143
    *_, said, command = capsys.readouterr().err.splitlines()
    assert said == "auralith: stopped after step 3 of 4; its state is saved; to go on, type"
    assert not stopped.exists()
    assert run(shlex.split(command)[-len(options) - 5 :]) == 0
    assert run(["finetune", str(dataset), "-o", str(stopped), *options, "4"]) == 2
    assert "finished after 4 steps" in capsys.readouterr().err
    assert run(["finetune", str(dataset), "-o", str(stopped), *options, "5"]) == 0
    for name in ("adapter.safetensors", "model.safetensors"):
        assert content(whole / name) == content(stopped / name)
    cards = [(folder / "MODEL_CARD.md").read_text() for folder in (whole, stopped)]
    assert cards[0].partition("## Use")[0] == cards[1].partition("## Use")[0]
    assert "loss v" in cards[1]
    record = json.loads((tmp_path / "it's stopped_run" / "exported.json").read_text())
    assert [export["steps"] for export in record["exports"]] == [4, 5]


def _terminated(losses: Callable[..., dict[str, Tensor]], at: int) -> Callable[..., object]:
    def signaled(task: DiTTask, batch: Batch, step: int, networks: object) -> dict[str, Tensor]:
        if step == at:
            signal.raise_signal(signal.SIGTERM)
        return losses(task, batch, step, networks)

    return signaled

"""The one training loop: a generator that yields progress, so that display, stopping and demos are the caller's.

A `Task` says what is trained: networks, the batch of a step, its losses. Batches are functions of the step (see
`task`), learning rates too, so that the state of a run is weights, averages, optimizers and the step: a run that is
killed and resumed gives the same weights, bit for bit, as one that was not. The first network of a task is its
product: it is averaged, validated and exported.

A loss that is not finite takes the run back to its last saved state, from where it goes on with other batches. A signal
to stop is acted on after the step, when the state is saved.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from auralith.errors import Field, InvalidRequest, NonFiniteError
from auralith.files import exclusive
from auralith.signals import noted_signals
from auralith.training.optimizers import Average, build_optimizers, set_rates, trained_names
from auralith.training.processes import (
    Precision,
    autocast,
    mean_over_processes,
    said_by_any,
    said_by_first,
    spread,
    start_processes,
)
from auralith.training.state import Journal, States, claim_folder, load_state
from auralith.training.task import Batch, LoopSettings, Progress, Share, Task

log = logging.getLogger(__name__)
DETOUR = 2**32
MOST_DETOURS = 3
# whole tensors, frozen ones left out, kept by the first process
OPTIONS = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)


class Run:
    """One training run: networks, average, optimizers, and their state in a folder.

    Raises:
        InvalidRequest: the folder holds a run with other settings; the differing keys are named.
        ResourceError: the folder can't be written, or has no room for the states.
    """

    def __init__(
        self,
        task: Task,
        settings: LoopSettings,
        folder: Path,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.settings, self.folder = task, settings, folder
        self.precision: Precision = settings.chosen_precision
        self.accelerator = start_processes(
            settings.device, self.precision, settings.trackers, folder
        )
        self.states, self.journal = States(folder, settings.keep_last), Journal(folder)
        if self.accelerator.is_main_process:
            optimization = {name: asdict(o) for name, o in task.optimization.items()}
            claim_folder(
                folder,
                {"task": task.name, "loop": settings.identity, "optimization": optimization}
                | dict(identity or {}),
            )
        self.product = next(iter(task.networks))
        self.networks = {
            name: spread(self.accelerator, network, shard=settings.shard)
            for name, network in task.networks.items()
        }
        self.optimizers: dict[str, list[Optimizer]] = {
            name: [
                self.accelerator.prepare_optimizer(optimizer)
                for optimizer in build_optimizers(network, task.optimization[name])
            ]
            for name, network in self.networks.items()
        }
        self.average = (
            None
            if settings.ema == "off"
            else Average(self.plain[self.product], settings.ema_decay, on_cpu=settings.ema == "cpu")
        )
        self.step = self.detours = 0
        self.updates = dict.fromkeys(self.networks, 0)
        self._reader = ThreadPoolExecutor(1, "batches")
        self._coming: dict[tuple[int, int], Future[Batch]] = {}
        if self.accelerator.is_main_process:
            self.states.check_space(self._state_bytes())
        if settings.trackers:
            self.accelerator.init_trackers(task.name, init_kwargs={})

    @property
    def plain(self) -> dict[str, nn.Module]:
        """The networks without the wrapping of DDP."""
        return {name: self.accelerator.unwrap_model(n) for name, n in self.networks.items()}

    def advance(self) -> Progress:
        """One step: losses, backward, clipped update, average."""
        started = time.perf_counter()
        turn = self.task.turn(self.step)
        networks = self.plain | {turn: self.networks[turn]}
        settings, optimizers = self.task.optimization[turn], self.optimizers[turn]
        updates, rates = self.updates[turn], self.rates()
        set_rates(optimizers, settings, self._factor(turn))
        values, audio_seconds = self._backward(networks, turn)
        parameters = [p for p in networks[turn].parameters() if p.requires_grad]
        norm = float(
            self.accelerator.clip_grad_norm_(parameters, settings.clip_norm or math.inf) or 0.0
        )
        if self.accelerator.scaler is None:
            values["gradient"] = norm
        broken = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if broken is not None:
            return self._go_back(broken, values[broken])
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None and turn == self.product:
            self.average.update(updates)
        self.updates[turn] += 1
        self.step += 1
        return Progress(
            self.step,
            self.settings.steps,
            values,
            rates,
            time.perf_counter() - started,
            audio_seconds,
        )

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the coming step by network, Muon's beside AdamW's where it moves a part."""
        rates: dict[str, float] = {}
        for name, optimizers in self.optimizers.items():
            settings, factor = self.task.optimization[name], self._factor(name)
            rates[name] = settings.learning_rate * factor
            if len(optimizers) > 1:
                rates[f"{name}, muon"] = settings.muon_learning_rate * factor
        return rates

    def _factor(self, name: str) -> float:
        """Return what a network's learning rates are multiplied by in the coming step."""
        steps = self.settings.steps // len(self.networks)
        return self.task.optimization[name].rate(self.updates[name], steps)

    def validate(self) -> dict[str, float]:
        """The task's figures with the averaged weights."""
        for network in self.networks.values():
            network.eval()
        try:
            with (
                self.averaged(),
                torch.no_grad(),
                autocast(self.accelerator, self.precision),
            ):
                return self.task.validate(self.plain)
        finally:
            for network in self.networks.values():
                network.train()

    def averaged(self):
        """A context in which the product has its averaged weights."""
        return nullcontext() if self.average is None else self.average.applied()

    def averaged_state(self, *, trained_only: bool = False) -> dict[str, Tensor]:
        """Return the product's averaged weights, whole, on the CPU (empty but in the first process)."""
        options = StateDictOptions(
            full_state_dict=True, cpu_offload=True, ignore_frozen_params=trained_only
        )
        with self.averaged():
            state = get_model_state_dict(self.plain[self.product], options=options)
            # alone, these are the weights themselves, which get their present values back
            return _copied(state)

    def save(self, loss: float | None = None) -> None:
        """Write the state of the run; all processes take part."""
        state = self._state()
        if self.accelerator.is_main_process:
            self.states.write(self.step, state, loss)
            self.journal.draw()
        self.accelerator.wait_for_everyone()

    def resume(self) -> bool:
        """Continue from the last saved state; return False without one."""
        # the first process says from where: another may look when it has written a state already
        latest = said_by_first(next(reversed(self.states.steps()), None))
        if latest is None:
            return False
        state = load_state(self.states.path(latest))
        for name, network in self.plain.items():
            _set_weights(network, state["networks"][name])
            set_optimizer_state_dict(
                network,
                self._inner(name),
                state["optimizers"][name],
                options=OPTIONS,
            )
        if self.average is not None:
            product = self.plain[self.product]
            _set_weights(product, state["average"])
            self.average.reset()
            _set_weights(product, state["networks"][self.product])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.detours = state["step"], state["detours"]
        self.updates = state["updates"]
        self._coming.clear()
        self._check_length(state.get("steps"))
        return True

    def _check_length(self, steps: int | None) -> None:
        """Refuse fewer steps than were made; say it where a schedule that ends with the run is stretched or cut."""
        if self.step > self.settings.steps:
            raise InvalidRequest(
                f"{self.folder} is at step {self.step} already; ",
                Field("loop.steps"),
                f" must be at least as many, not {self.settings.steps}",
            )
        ends = any(o.schedule == "cosine" for o in self.task.optimization.values())
        if ends and steps is not None and steps != self.settings.steps:
            log.warning(
                "the cosine schedule now ends at step %s, not %s; from step %s the learning rate is that of the new one",
                self.settings.steps,
                steps,
                self.step,
            )

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)
        for tracker in self.accelerator.trackers:  # the group of processes is needed after it
            tracker.finish()

    def _backward(
        self, networks: Mapping[str, nn.Module], turn: str
    ) -> tuple[dict[str, float], float]:
        """Gradients of the step's losses, and what they were on average over parts and processes."""
        parts, seconds = self.settings.accumulate, 0.0
        totals: dict[str, Tensor] = {}
        for part in range(parts):
            batch = self._batch(part)
            seconds += float(batch.pop("audio_seconds", torch.tensor(0.0)))
            batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
            last = part == parts - 1
            with nullcontext() if last else self.accelerator.no_sync(networks[turn]):
                with autocast(self.accelerator, self.precision):
                    losses = self.task.losses(batch, self.step, networks)
                self.accelerator.backward(torch.stack(list(losses.values())).sum() / parts)
            for name, loss in losses.items():
                totals[name] = totals.get(name, 0.0) + loss.detach().float() / parts
        values = mean_over_processes(self.accelerator, torch.stack(list(totals.values())))
        return dict(
            zip(totals, values.tolist(), strict=True)
        ), seconds * self.accelerator.num_processes

    def _batch(self, part: int) -> Batch:
        """The batch of this step's part; the next one is read meanwhile."""
        future = self._coming.pop((self.step, part), None) or self._read(self.step, part)
        coming = (self.step, part + 1)
        if coming[1] == self.settings.accumulate:
            coming = (self.step + 1, 0)
        if coming[0] < self.settings.steps:
            self._coming[coming] = self._read(*coming)
        return future.result()

    def _read(self, step: int, part: int) -> Future[Batch]:
        parts = self.settings.accumulate
        share = Share(
            self.accelerator.process_index * parts + part, self.accelerator.num_processes * parts
        )
        return self._reader.submit(self.task.batch, step + self.detours * DETOUR, share)

    def _go_back(self, name: str, value: float) -> Progress:
        """Return to the last saved state and take other batches from there."""
        what = f"{self.task.name}: {name} is {value} at step {self.step}"
        for optimizers in self.optimizers.values():
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
        detours = self.detours + 1
        if detours > MOST_DETOURS or not self.resume():
            raise NonFiniteError(
                f"{what}, the {detours}. time; the state of step {max(self.states.steps(), default=0)} "
                "is good: lower the learning rate, or look for broken data, and resume"
            )
        self.detours = detours
        if self.accelerator.is_main_process:
            self.journal.rewind(self.step)
        event = f"{what}; back to step {self.step}, on with other batches"
        return Progress(self.step, self.settings.steps, {name: value}, {}, 0.0, event=event)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "step": self.step,
            "steps": self.settings.steps,
            "detours": self.detours,
            "updates": self.updates,
            "networks": {
                n: get_model_state_dict(m, options=OPTIONS) for n, m in self.plain.items()
            },
            "optimizers": {
                name: get_optimizer_state_dict(network, self._inner(name), options=OPTIONS)
                for name, network in self.plain.items()
            },
        }
        if self.average is not None:
            with self.average.applied():
                averaged = get_model_state_dict(self.plain[self.product], options=OPTIONS)
                state["average"] = _copied(averaged)
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return state

    def _inner(self, name: str) -> list[Optimizer]:
        """The optimizers without what accelerate puts around them."""
        return [getattr(optimizer, "optimizer", optimizer) for optimizer in self.optimizers[name]]

    def _state_bytes(self) -> int:
        """Weights, two moments and the average, in float32."""
        trained = [p for n in self.networks.values() for p in n.parameters() if p.requires_grad]
        return sum(p.numel() for p in trained) * 4 * (3 + (self.average is not None))


def train(run: Run) -> Iterator[Progress]:
    """Advance to the last step, from the last saved state where there is one, and save on the way.

    A step is saved after its progress was yielded, so what the caller does with it is never skipped by a resumed run.

    Raises:
        InvalidRequest: another run works in the folder, or it is beyond the last step.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state of the last step is saved.
    """
    # of the processes of a run the first one writes
    with exclusive(run.folder) if run.accelerator.is_main_process else nullcontext():
        try:
            yield from _train(run)
        finally:
            run.close()


def _train(run: Run) -> Iterator[Progress]:
    if run.resume():
        if run.accelerator.is_main_process:
            run.journal.rewind(run.step)
    else:
        run.save()
    saved_at = time.monotonic()
    settings = run.settings
    with noted_signals() as stop:
        while run.step < settings.steps:
            progress = run.advance()
            last = run.step == settings.steps
            if not progress.event and (last or _due(run.step, settings.validate_every)):
                progress = replace(progress, validation=run.validate())
            if last or progress.event or _due(run.step, settings.log_every):
                _log(run, progress)
            yield progress
            late = 0 < settings.save_minutes * 60 <= time.monotonic() - saved_at
            stopped, late = said_by_any(run.accelerator, stop.signal is not None, late)
            due = last or stopped or late or _due(run.step, settings.save_every)
            if due and not progress.event:
                run.save(next(iter(progress.validation.values()), None))
                saved_at = time.monotonic()
            if stopped:
                raise stop.interruption(
                    f"stopped after step {run.step} of {settings.steps}; its state is saved"
                )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _log(run: Run, progress: Progress) -> None:
    values = {f"loss/{name}": value for name, value in progress.losses.items()}
    values |= {f"validation/{name}": value for name, value in progress.validation.items()}
    values |= {f"learning_rate/{name}": rate for name, rate in progress.learning_rates.items()}
    values |= {"run/seconds": progress.seconds}
    if run.accelerator.is_main_process:
        run.journal.write(progress.step, values)
    if run.settings.trackers:
        run.accelerator.log(values, step=progress.step)


def _copied(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}


def _set_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the trained weights, all of them and no others."""
    names = set(trained_names(network))
    if names != set(state):
        first = min(names ^ set(state))
        raise InvalidRequest(
            f"the saved state does not fit this network: first difference {first!r}"
        )
    set_model_state_dict(
        network, dict(state), options=StateDictOptions(full_state_dict=True, strict=False)
    )

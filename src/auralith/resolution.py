"""Resolve a request for one model: fill in its defaults, check its limits, derive its length, sampler and schedule."""

import secrets
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

from auralith.config import ModelConfig
from auralith.diffusion import OBJECTIVES, Guidance, Projection
from auralith.errors import Field, InvalidRequest
from auralith.fast import level_of
from auralith.numbers import limit_of
from auralith.prompt_embedding import PromptEmbedding
from auralith.request import GenerationRequest, require_given, span_of
from auralith.samplers import Sampler, Schedule
from auralith.samplers.own import ChosenSampler, sampler_for

Value = TypeVar("Value")


class Resolver:
    """Answers about requests for models of a config."""

    def __init__(self, config: ModelConfig, *, is_export: bool = False) -> None:
        """`is_export` says that the model's steps are computed whole, so that nothing of them is cached."""
        self.config, self.is_export = config, is_export

    def resolve(self, request: GenerationRequest) -> GenerationRequest:
        """The request with every default filled in, checked against this model's limits; the seed is drawn here.

        A level of speed is filled in as the settings that it stands for, and is gone then.
        """
        require_given(request)
        defaults = self.config.sampling
        level = level_of(request.fast, self.config.objective, defaults)
        span = {
            "steps": level.steps,
            "sigma_min": defaults.sigma_min,
            "sigma_max": defaults.sigma_max,
        }
        if request.sigmas is not None:
            span = span_of(request.sigmas)
        sampler = _first(request.sampler, level.sampler)
        total = request.seconds_total
        if total is None:
            longest = self._window_seconds
            asked = max(defaults.default_seconds or longest, request.seconds_output or 0.0)
            total = request.seconds_start + min(asked, longest)
        resolved = replace(
            request,
            seconds_total=total,
            seconds_output=_first(request.seconds_output, total - request.seconds_start),
            steps=_first(request.steps, span["steps"]),
            cfg_scale=_first(request.cfg_scale, defaults.cfg_scale),
            sampler=sampler,
            cfg_interval=_first(request.cfg_interval, level.cfg_interval),
            cache_threshold=_first(request.cache_threshold, level.cache_threshold),
            fast=None,
            sigma_min=_first(request.sigma_min, span["sigma_min"]),
            sigma_max=_first(request.sigma_max, span["sigma_max"]),
            seed=_first(request.seed, secrets.randbelow(2**32)),
            window=_first(request.window, defaults.window),
            conditions=self.config.checked_conditions(request.conditions),
            apg_eta=_first(request.apg_eta, defaults.apg_eta),
            normalize=_first(request.normalize, not defaults.clamp),
            schedule=request.schedule if request.sigmas else self._schedule_name(request, sampler),
        )
        self._check(resolved)
        return resolved

    def groups(self, resolved: Sequence[GenerationRequest]) -> list[list[int]]:
        """Return the indices of resolved requests, those of one batch together."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, request in enumerate(resolved):
            groups.setdefault(self._shared(request), []).append(index)
        return list(groups.values())

    def num_samples(self, request: GenerationRequest) -> int:
        """Samples of the result of a resolved request."""
        return self.config.audio.num_samples(known(request.seconds_output))

    def num_frames(self, request: GenerationRequest) -> int:
        """Return the latent frames that a resolved request is made of: its sound's, and its headroom's."""
        if request.window == "full":
            return self.config.window_frames
        frames = self.config.audio.num_frames(self.num_samples(request))
        return min(frames + self.config.headroom_frames, self.config.window_frames)

    def padded_frames(self, group: Sequence[GenerationRequest]) -> int | None:
        """Return the frames of a batch whose items are padded to a common length; None: all have the same one.

        The reference pads, so its order of noise does, where the model has a mask for it.
        """
        first, sampling, audio = group[0], self.config.sampling, self.config.audio
        if not self._pads(first):
            return None
        longest = max(known(item.seconds_output) for item in group)
        frames = audio.num_frames(int((longest + sampling.headroom) * audio.sample_rate))
        frames += -frames % sampling.frame_multiple
        return min(frames, self.config.window_frames)

    def clamps(self, request: GenerationRequest) -> bool:
        """Return whether samples beyond full scale are cut off in what a resolved request makes."""
        return self.config.sampling.clamp and not request.normalize

    def _pads(self, request: GenerationRequest) -> bool:
        masked = self.config.sampling.frame_multiple > 1
        return masked and request.noise == "reference" and request.window == "fit"

    def _schedule_name(self, request: GenerationRequest, sampler: ChosenSampler) -> str | None:
        """Return the schedule asked for, else the model's own; a sampler of other schedules keeps its own."""
        if request.schedule is not None:
            return request.schedule
        own = self.config.sampling.schedule
        found = sampler_for(sampler, OBJECTIVES[self.config.objective])
        return own if own in found.schedules else None

    def sampler(self, request: GenerationRequest) -> Sampler:
        """The sampler of a resolved request."""
        name = _first(request.sampler, self.config.sampling.sampler)
        return sampler_for(name, OBJECTIVES[self.config.objective])

    def schedule(self, request: GenerationRequest) -> Schedule:
        """The schedule of a resolved request."""
        return Schedule(
            known(request.steps),
            known(request.sigma_min),
            known(request.sigma_max),
            request.rho,
            self.num_frames(request),
            self.config.distribution_shift,
            request.schedule,
            request.sigmas,
            is_reference=request.noise == "reference",
        )

    def guidance(self, request: GenerationRequest) -> Guidance:
        """Return the guidance scale, rescaling, interval and projection (APG) of a resolved request."""
        projection = Projection(
            float(known(request.apg_eta)),
            float(request.apg_norm_threshold),
            float(request.apg_momentum),
        )
        scale = float(known(request.cfg_scale))
        as_reference = request.noise == "reference"
        interval = known(request.cfg_interval)
        return Guidance(scale, request.cfg_rescale, interval, projection, as_reference)

    def numbers(self, group: list[GenerationRequest]) -> dict[str, list[float]]:
        """Return the values of the number conditions of resolved requests."""
        values = [
            {"seconds_start": item.seconds_start, "seconds_total": known(item.seconds_total)}
            | item.conditions
            for item in group
        ]
        ids = (condition.id for condition in self.config.numbers)
        return {name: [float(item[name]) for item in values] for name in ids}

    @property
    def _window_seconds(self) -> float:
        return self.config.audio.seconds(self.config.window_samples)

    def _shared(self, request: GenerationRequest) -> tuple[object, ...]:
        """Return what requests must have in common to be one batch."""
        own = {"prompt", "negative_prompt", "seconds_total", "seconds_start", "seconds_output"}
        own |= {"fade_in", "fade_out", "conditions", "mix", "sampler", "normalize"}
        if request.noise == "item":
            own.add("seed")
        common = (getattr(request, f.name) for f in fields(request) if f.name not in own)
        sampler = request.sampler if isinstance(request.sampler, str) else id(request.sampler)
        frames = None if self._pads(request) else self.num_frames(request)
        return (*common, sampler, bool(request.negative_prompt), frames)

    def _check(self, request: GenerationRequest) -> None:
        """Raise `InvalidRequest` for what this model can't do."""
        seconds, longest = known(request.seconds_output), self._window_seconds
        if self.config.audio.num_samples(seconds) > self.config.window_samples:
            raise InvalidRequest(
                f"{seconds:g} s are asked for; this model makes at most {longest:.2f} s at once: "
                "shorten ",
                Field("seconds_total"),
                ", or set ",
                Field("seconds_output"),
                " for a part of a longer recording",
                limit=limit_of(most=longest),
            )
        if self.config.audio.num_samples(seconds) < 1:
            raise InvalidRequest(
                Field("seconds_total"),
                f" asks for {seconds:g} s, less than one sample; ask for more",
            )
        if request.seconds_start and "seconds_start" not in (
            condition.id for condition in self.config.numbers
        ):
            raise InvalidRequest(
                Field("seconds_start"),
                f" is {request.seconds_start:g} s; this model knows no start, leave it at 0",
                limit=limit_of(most=0),
            )
        if self.is_export and request.cache_threshold:
            raise InvalidRequest(
                "an export computes every step whole, so nothing is cached; set ",
                Field("cache_threshold"),
                " to 0, and leave ",
                Field("fast"),
                " out",
                limit=limit_of(most=0),
            )
        for name in ("prompt", "negative_prompt"):
            self._check_embedding(name, getattr(request, name))
        replace(request)  # the order of values that came from defaults
        self.sampler(request).levels(self.schedule(request))

    def _check_embedding(self, name: str, prompt: object) -> None:
        shape = (self.config.text.max_tokens, self.config.condition_dim)
        if isinstance(prompt, PromptEmbedding) and tuple(prompt.states.shape) != shape:
            raise InvalidRequest(
                f"the embedding of {name} has the shape {tuple(prompt.states.shape)}, this model takes {shape}; "
                "encode it with this model"
            )


def _first(value: Value | None, default: Value) -> Value:
    return default if value is None else value


def known(value: Value | None) -> Value:
    """A field that `resolve` has filled in."""
    assert value is not None
    return value

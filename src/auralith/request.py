"""Valid requests. The API, the command line, HTTP and the page all construct a `GenerationRequest`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, no_type_check

import numpy as np
from torch import Tensor

from auralith.config import SECONDS_IDS, Window
from auralith.errors import Field, InvalidRequest, shown
from auralith.fast import MOST_FAST, OVERRULED
from auralith.noise import MAX_SEED
from auralith.numbers import Range, check_ranges, finite_number, limit_of, plain_number
from auralith.prompt_embedding import EmbeddingRecord, Prompt, PromptEmbedding
from auralith.samplers.own import OWN, ChosenSampler, check_sampler, sampler_label
from auralith.samplers.schedules import MOST_SIGMA, checked_levels
from auralith.tables.cells import has_surrogates

NoiseOrder = Literal["item", "reference"]
MAX_STEPS = 10_000
MOST_GUIDANCE = 100.0
MOST_RHO = 1_000.0
MOST_SECONDS = 1e9
"""Some thirty years: beyond, sums of seconds lose the samples, and counts of them what integers of torch hold."""
LEVELS = ("steps", "sigma_min", "sigma_max", "schedule", "rho")
"""Fields that say where the noise levels lie, all of which `sigmas` says too."""
MOST_MIXED = 100
MOST_CHARACTERS = 100_000
"""Most characters of a prompt: a model reads some hundred tokens of it, the tokenizer all."""

RANGES: dict[str, Range] = {
    "seconds_total": Range("s", above=0.0, most=MOST_SECONDS),
    "seconds_output": Range("s", above=0.0, most=MOST_SECONDS),
    "seconds_start": Range("s", least=0.0, most=MOST_SECONDS),
    "fade_in": Range("s", least=0.0, most=MOST_SECONDS),
    "fade_out": Range("s", least=0.0, most=MOST_SECONDS),
    "steps": Range(least=1, most=MAX_STEPS, is_whole=True),
    "fast": Range(least=1, most=MOST_FAST, is_whole=True),
    "cache_threshold": Range(least=0.0, most=1.0),
    "seed": Range(least=0, most=MAX_SEED, is_whole=True),
    "cfg_scale": Range(least=0.0, most=MOST_GUIDANCE),
    "cfg_rescale": Range(least=0.0, most=1.0),
    "apg_eta": Range(least=0.0, most=1.0),
    "apg_norm_threshold": Range(least=0.0),
    "apg_momentum": Range(least=-1.0, most=1.0),
    "sigma_min": Range(least=0.0),
    "sigma_max": Range(above=0.0, most=MOST_SIGMA),
    "rho": Range(above=0.0, most=MOST_RHO),
}
"""Range of each number of a request; what a model takes may be less."""


@no_type_check  # values come from people and from JSON: the checks below are for any type
@dataclass(frozen=True)
class GenerationRequest:
    """One sound to generate. What is None takes the model's default.

    Raises:
        InvalidRequest: a value is out of its range; one line says the value, the limit and the remedy.
    """

    prompt: Prompt
    """Text, or an embedding that the model made of one; see `prompt_embedding`."""
    negative_prompt: Prompt | None = None
    """Sound to keep away from, in words."""
    seconds_total: float | None = None
    """Length of the sound in seconds; if left out, the model's default, which is its window for most.

    Strictly, of the whole recording that the sound is, or is a part of.
    """
    seconds_start: float = 0.0
    """Second at which the sound begins in a longer recording.

    It conditions the model and never slices its output.
    """
    seconds_output: float | None = None
    """Seconds to make of a recording of `seconds_total`; the rest from `seconds_start` on if left out."""
    steps: int | None = None
    """Denoising steps; the model's default if left out: 100 (embedded model: 30)."""
    cfg_scale: float | None = None
    """Guidance scale; 1 turns it off. Default 7 (embedded model: 2.5)."""
    cfg_rescale: float = 0.0
    """Guidance rescale, 0 to 1."""
    cfg_interval: tuple[float, float] | None = None
    """Noise levels, 0 to 1, at which guidance acts; all of them if left out."""
    apg_eta: float | None = None
    """Projected guidance: share of its parallel part that stays, 0 to 1. Default 1 (Stable Audio 3: 0).

    See `diffusion.Projection`; at 1, 0 and 0 guidance is the plain one.
    """
    apg_norm_threshold: float = 0.0
    """Projected guidance: its largest norm; 0: any."""
    apg_momentum: float = 0.0
    """Projected guidance: share of the step before, -1 to 1; best below 0."""
    sampler: ChosenSampler | None = None
    """dpmpp-3m-sde, dpmpp-2m-sde, dpmpp-2m, k-heun, k-lms, k-dpm-2, k-dpmpp-2s-ancestral, k-dpm-fast, k-dpm-adaptive,
    v-ddim, v-ddim-cfgpp; for flow models euler, rk4, dpmpp, dpmpp-bounded, pingpong. Default dpmpp-3m-sde (embedded model: dpmpp-2m;
    Stable Audio 3: pingpong).

    A name, or a sampler of the caller's own; see `samplers.own`.
    """
    sigma_min: float | None = None
    """Lowest noise level. Default 0.3 (embedded model: 0.02)."""
    sigma_max: float | None = None
    """Highest noise level. Default 500 (embedded model: 100)."""
    seed: int | None = None
    """Seed of the random stream; drawn anew, and printed, if left out."""
    fade_in: float | None = None
    """Seconds of fade at the start; 5 ms if left out, where a cut would click.

    That is where the sound is cut and not at a zero; see `sound.fades`.
    """
    fade_out: float | None = None
    """Seconds of fade at the end; 5 ms if left out, where a cut would click."""
    window: Window | None = None
    """full: the trained window, then trimmed; fit: only the frames that the length needs."""
    noise: NoiseOrder = "item"
    """item: a random stream per sound; reference: the order of stable-audio-tools for the whole batch."""
    conditions: dict[str, float] = field(default_factory=dict, hash=False)
    """Number that the model is conditioned on beside its seconds, as bpm=128; repeatable.

    Here values by id, such as {"bpm": 128}.
    """
    schedule: str | None = None
    """Course of the noise levels between the highest and the lowest: polyexponential, exponential, karras; for flow models linear,
    logsnr, shifted, logsnr-shift, full-shift, flux-shift. The model's own if left out."""
    rho: float | None = None
    """Bend of karras (7 if left out) and polyexponential (1 if left out)."""
    sigmas: tuple[float, ...] | None = None
    """Noise levels themselves, falling, as 80,20,5,1,0; in place of `steps`, `sigma_min`, `sigma_max` and `schedule`.

    Times t for samplers along t. Unless the last one is 0, noise of its level stays in the result.
    """
    mix: tuple[tuple[float, str], ...] = ()
    """Prompt to mix in, with its weight, as 0.3:thunder; the prompt has the rest of 1. Repeatable.

    Here pairs of a weight and a prompt; see `prompt_embedding`.
    """
    normalize: bool | None = None
    """Bring the peak to full scale. Default yes (Stable Audio 3: no, samples beyond full scale are cut off).

    What is made from another sound keeps its level in any case.
    """
    fast: int | None = None
    """Level of speed, 1 to 3, each faster and less exact than the one before: fewer steps, which reuse work of earlier ones
    where little changes, and less guidance. Settings given besides win.

    They are `steps`, `sampler`, `cfg_interval` and `cache_threshold`; see `auralith.fast`.
    """
    cache_threshold: float | None = None
    """Largest change, 0 to 1, of what the network's first block adds at which a step reuses what the other blocks added
    before; 0 if left out: every step is computed whole.

    The change is since the last whole step, relative to what was added there; see `models.step_cache`.
    """

    def __post_init__(self) -> None:
        check_prompt("prompt", self.prompt)
        object.__setattr__(self, "mix", _checked_mix(self.mix))
        if self.negative_prompt is not None:
            check_prompt("negative_prompt", self.negative_prompt, may_be_blank=True)
        for name in ("apg_norm_threshold", "apg_momentum"):
            if getattr(self, name) is None:
                raise InvalidRequest(Field(name), " is missing; give a number or leave it out")
        check_ranges(self, RANGES)
        self._check_sigmas()
        self._check_interval()
        self._check_order()
        for name, choices in (("window", get_args(Window)), ("noise", get_args(NoiseOrder))):
            value = getattr(self, name)
            if value not in (*choices, None):
                raise InvalidRequest(
                    Field(name),
                    f" is {shown(value)}; choose one of {', '.join(choices)}",
                    limit={"enum": list(choices)},
                )
        if self.sampler is not None:
            check_sampler(self.sampler)
        if not isinstance(self.schedule, str | None):
            raise InvalidRequest(Field("schedule"), f" is {shown(self.schedule)}; give its name")
        object.__setattr__(self, "conditions", _checked_conditions(self.conditions))
        if not isinstance(self.normalize, bool | None):
            raise InvalidRequest(
                Field("normalize"), f" is {shown(self.normalize)}; choose true or false"
            )

    @property
    def text(self) -> str:
        """The prompt in words; of an embedding, those that it was made from."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt.text

    @property
    def mixture(self) -> tuple[tuple[float, Prompt], ...]:
        """The prompt and what is mixed into it, each with its weight; what has none is left out."""
        rest = 1 - math.fsum(weight for weight, _ in self.mix)
        return tuple(part for part in ((rest, self.prompt), *self.mix) if part[0] > 0)

    def _check_sigmas(self) -> None:
        """Make `sigmas` floats; raise `InvalidRequest` for anything else, and for other settings beside them."""
        if self.sigmas is None:
            return
        levels = checked_levels(_floats("sigmas", self.sigmas))
        object.__setattr__(self, "sigmas", levels)
        agreeing = {name: (None, value) for name, value in span_of(levels).items()}
        for name in LEVELS:
            value = getattr(self, name)
            if value not in agreeing.get(name, (None,)):
                raise InvalidRequest(
                    Field(name),
                    f" is {shown(value)} beside ",
                    Field("sigmas"),
                    ", which say all noise levels; leave one of them out",
                )

    def _check_interval(self) -> None:
        interval = self.cfg_interval
        if interval is None:
            return
        bounds = tuple(map(plain_number, interval)) if isinstance(interval, tuple) else ()
        numbers = tuple(bound for bound in bounds if bound is not None)
        if len(bounds) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] <= 1:
            raise InvalidRequest(
                Field("cfg_interval"),
                f" is {shown(interval)}; give two ascending numbers from 0 to 1",
                limit=limit_of(least=0, most=1),
            )
        object.__setattr__(self, "cfg_interval", numbers)

    def _check_order(self) -> None:
        low, high = self.sigma_min, self.sigma_max
        if low is not None and high is not None and low >= high and self.sigmas is None:
            raise InvalidRequest(
                Field("sigma_min"),
                f" is {low:g}; it must be below ",
                Field("sigma_max"),
                f", {high:g}",
                limit=limit_of(below=high),
            )
        if self.seconds_total is not None and self.seconds_start >= self.seconds_total:
            raise InvalidRequest(
                Field("seconds_start"),
                f" is {self.seconds_start:g} s; it must be before ",
                Field("seconds_total"),
                f", {self.seconds_total:g} s",
                limit=limit_of(below=self.seconds_total),
            )


def recorded(request: GenerationRequest) -> GenerationRequest:
    """Return the request as tags hold it: the name alone of a caller's own sampler, an embedding's text and hash."""
    negative = request.negative_prompt
    return replace(
        request,
        prompt=_recorded_prompt(request.prompt),
        negative_prompt=None if negative is None else _recorded_prompt(negative),
        sampler=None if request.sampler is None else sampler_label(request.sampler),
    )


def _recorded_prompt(prompt: Prompt) -> Prompt:
    return prompt.record() if isinstance(prompt, PromptEmbedding) else prompt


def require_given(request: GenerationRequest) -> None:
    """Raise `InvalidRequest` where a request is `recorded`, and its maker had more than the record holds."""
    if isinstance(request.sampler, str) and request.sampler.startswith(OWN):
        raise InvalidRequest(
            f"the sampler {shown(request.sampler.removeprefix(OWN))} is someone's own, and its name is all that is known "
            "of it here; choose another, or pass the function itself to model.generate in Python"
        )
    for name in ("prompt", "negative_prompt"):
        value = getattr(request, name)
        if isinstance(value, EmbeddingRecord):
            raise InvalidRequest(
                f"the {name} is someone's own embedding, of {shown(value.text)}, and its hash is all that is known of it "
                "here; give a text, or pass the embedding itself to model.generate in Python"
            )


def changed(request: GenerationRequest, given: Mapping[str, Any]) -> GenerationRequest:
    """Return the request with these fields in place of its own; what they overrule goes, and conditions are joined.

    A prompt overrules what was mixed into the old one; sigmas and what else says where the noise levels lie overrule
    each other; a level of speed overrules all that it has values for.
    """
    values = {**given, "conditions": request.conditions | given.get("conditions", {})}
    if given.get("fast") is not None:
        values = dict.fromkeys((*OVERRULED, "sigmas")) | values
    if "prompt" in given:
        values.setdefault("mix", ())
    if given.get("sigmas") is not None:
        values |= {name: None for name in LEVELS if name not in given}
    elif any(name in given for name in LEVELS):
        values["sigmas"] = None
    return replace(request, **values)


def starting_from(request: GenerationRequest, level: float) -> GenerationRequest:
    """Return a resolved request whose first noise level is `level`; of a list of them what lies below it stays."""
    if request.sigmas is None:
        return replace(request, sigma_max=level)
    below = [sigma for sigma in request.sigmas if sigma < level * (1 - 1e-9)]
    return replace(request, sigmas=(level, *below), steps=None, sigma_min=None, sigma_max=None)


def span_of(sigmas: Sequence[float]) -> dict[str, Any]:
    """Return the settings that a list of noise levels stands for."""
    lowest = sigmas[-1] or sigmas[-2]
    return {"steps": len(sigmas) - 1, "sigma_min": lowest, "sigma_max": sigmas[0]}


def _floats(name: str, values: object) -> list[float]:
    """Return the numbers of a sequence, array or tensor as floats of Python's own."""
    if isinstance(values, np.ndarray | Tensor):
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise InvalidRequest(Field(name), f" is {shown(values)}; give a list of numbers")
    if len(values) > MAX_STEPS + 1:
        raise InvalidRequest(
            Field(name),
            f" has {len(values):,} numbers; at most {MAX_STEPS + 1:,} are taken",
            limit={"maxItems": MAX_STEPS + 1},
        )
    found = []
    for value in values:
        number = finite_number(value)
        if number is None:
            raise InvalidRequest(Field(name), f" holds {shown(value)}; give finite numbers")
        found.append(number)
    return found


def _checked_conditions(values: object) -> dict[str, float]:
    """Return finite numbers by id, in the order of the ids. Which ids and ranges a model takes is checked by the model."""
    if not isinstance(values, Mapping):
        raise InvalidRequest(
            Field("conditions"), f' is {shown(values)}; give numbers by id as {{"bpm": 128}}'
        )
    found: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            raise InvalidRequest(Field("conditions"), f" has the id {shown(name)}; ids are text")
        if name in SECONDS_IDS:
            raise InvalidRequest(
                Field(name),
                " is among ",
                Field("conditions"),
                "; give it as ",
                Field(name),
                " itself",
            )
        number = finite_number(value)
        if number is None:
            raise InvalidRequest(
                Field("condition"), f" {name!r:.80} is {shown(value)}; give a finite number"
            )
        found[name] = number
    return dict(sorted(found.items()))


def _checked_mix(mix: object) -> tuple[tuple[float, str], ...]:
    """Return pairs of a weight, 0 to 1, and a text; raise `InvalidRequest` for others, or a sum above 1."""
    if not isinstance(mix, list | tuple) or len(mix) > MOST_MIXED:
        raise InvalidRequest(
            Field("mix"),
            f' is {shown(mix)}; give up to {MOST_MIXED} weights and prompts as [[0.3, "thunder"]]',
            limit={"maxItems": MOST_MIXED},
        )
    found = []
    for part in mix:
        weight, prompt = part if isinstance(part, list | tuple) and len(part) == 2 else (None, None)
        number = plain_number(weight)
        if number is None or not 0 <= number <= 1:
            raise InvalidRequest(
                Field("mix"),
                f' holds {shown(part)}; give a weight from 0 to 1 and a prompt as [0.3, "thunder"]',
            )
        if isinstance(prompt, PromptEmbedding | EmbeddingRecord):
            raise InvalidRequest(Field("mix"), " holds an embedding; mix embeddings by mix_prompts")
        check_prompt("mix", prompt)
        found.append((float(number), prompt))
    total = math.fsum(weight for weight, _ in found)
    if total > 1:
        raise InvalidRequest(
            Field("mix"),
            f" has weights of the sum {total:g}; they may have 1 at most, the prompt has the rest",
        )
    return tuple(found)


def check_prompt(name: str, prompt: object, may_be_blank: bool = False) -> None:
    """Raise `InvalidRequest` unless a prompt is text that a model can read, or an embedding of such."""
    if isinstance(prompt, PromptEmbedding | EmbeddingRecord):
        prompt = prompt.text
    if not isinstance(prompt, str):
        raise InvalidRequest(Field(name), f" is {shown(prompt)}, which is not text; give a string")
    if not (prompt.strip() or may_be_blank):
        raise InvalidRequest(Field(name), " is empty; describe the sound in a few words")
    check_unicode(name, prompt)
    if len(prompt) > MOST_CHARACTERS:
        raise InvalidRequest(
            Field(name),
            f" is {len(prompt):,} characters long; at most {MOST_CHARACTERS:,} are read",
            limit={"maxLength": MOST_CHARACTERS},
        )


def check_unicode(name: str, text: str) -> None:
    """Raise `InvalidRequest` for a text with bytes that are not UTF-8, as arguments of a command may have them."""
    if has_surrogates(text):
        raise InvalidRequest(
            Field(name), f" is {shown(text)}, which is not UTF-8; write it in UTF-8"
        )

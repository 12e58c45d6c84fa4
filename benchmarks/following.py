"""Prompts of the embedded model, and how well sounds follow held-out ones: the evaluation's plain measures, no judges.

The sounds that the prompts describe are played by fluidsynth; recipes/embedded/README.md says how to install it.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from auralith.request import GenerationRequest

sys.path.append(str(Path(__file__).parents[1]))
from recipes.embedded.corpus import Corpus
from recipes.embedded.evaluation.cases import Case, draw_cases
from recipes.embedded.evaluation.judging import RIGHT, Judges, judge, shares
from recipes.tiny.synth.signals import Stereo

PROMPTS = (
    "a house drum loop at 120 BPM",
    "a classical guitar, note A4",
    "rain falling",
    "a piano playing a C minor chord",
    "an upright bass, note E2",
    "a violin melody in D minor at 90 BPM",
    "footsteps in snow",
    "an electric piano, note C4",
)
SEED = 0


def drawn(seconds: float, count: int = len(PROMPTS)) -> list[GenerationRequest]:
    """Return requests for the first prompts, the seed being the place."""
    return [
        GenerationRequest(prompt, seconds_total=seconds, seed=seed)
        for seed, prompt in enumerate(PROMPTS[:count])
    ]


def held_out(count: int) -> list[tuple[Case, GenerationRequest]]:
    """Return held-out cases, each with a request for its sound."""
    return [
        (case, GenerationRequest(case.prompt, seconds_total=case.sound.seconds, seed=seed))
        for seed, case in enumerate(draw_cases(Corpus(), count, SEED))
    ]


def figures(cases: Sequence[Case], waveforms: Iterable[Stereo]) -> dict[str, float]:
    """Return the per cent of right sounds by figure and the number that it is of."""
    verdicts = [judge(case, made, Judges()) for case, made in zip(cases, waveforms, strict=True)]
    return {
        f"{RIGHT[question]} ({count})": 100 * share
        for question, (share, count) in shares(verdicts).items()
    }

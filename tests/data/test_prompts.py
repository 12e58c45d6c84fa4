"""Prompts of metadata: subsets, order, case and prefixes as the paper has them, and the recording's own first."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.data.prompts import PromptOptions, prompt_from_metadata, prompt_of
from auralith.data.recording import Recording
from auralith.errors import InvalidRequest

TRACK = {
    "title": "Night Walk",
    "genre": "ambient",
    "year": "1999",
    "license": "CC0",
    "sha256": "f00",
}
FOUND_SOUND = {"description": "rain on a tin roof", "tags": "rain, roof", "license": "CC0"}
PLAIN = PromptOptions(vary_case=False)


def prompts(metadata: dict[str, str], options: PromptOptions, count: int = 2000) -> list[str]:
    rng = np.random.default_rng(5)
    return [prompt_from_metadata(metadata, options, rng) for _ in range(count)]


def test_subsets_are_random_and_shuffled_and_hold_only_what_may_be_spoken_of():
    made = Counter(prompts(TRACK, PromptOptions(vary_case=False, prefix_probability=0.0)))
    values = ["Night Walk", "ambient", "1999"]
    orders = {", ".join(order) for order in _arrangements(values)}
    assert set(made) == orders and len(orders) == 15
    alone = sum(made[value] for value in values) / 2000
    assert abs(alone - 1 / 3) < 0.05


def _arrangements(values: list[str]) -> list[list[str]]:
    longer = [[v, *rest] for v in values for rest in _arrangements([w for w in values if w != v])]
    return longer + [[v] for v in values]


def test_half_of_the_prompts_of_structured_tracks_have_prefixes():
    made = prompts(TRACK, PLAIN)
    prefixed = [prompt for prompt in made if ": " in prompt]
    assert abs(len(prefixed) / len(made) - 0.5) < 0.05
    parts = {part for prompt in prefixed for part in prompt.split(", ")}
    assert parts == {"title: Night Walk", "genre: ambient", "year: 1999"}
    assert not any(": " in prompt for prompt in prompts(FOUND_SOUND, PLAIN))


def test_tags_are_shuffled_and_prose_is_not():
    """Every order of a list is as likely as any other; a description keeps its commas where they are."""
    tags = Counter(prompts({"tags": "rain, tin roof,storm"}, PLAIN))
    orders = _arrangements(["rain", "tin roof", "storm"])
    assert set(tags) == {", ".join(order) for order in orders if len(order) == 3}
    assert min(tags.values()) > 2000 / 6 * 0.75
    prose = {"description": "rain, then wind", "title": "b, a"}
    assert set(prompts(prose, PLAIN)) == {
        "rain, then wind",
        "b, a",
        "rain, then wind, b, a",
        "b, a, rain, then wind",
    }
    structured = prompts({"genres": "rock, folk", "artist": "A, B"}, PLAIN)
    assert {"genres: rock, folk", "genres: folk, rock"} <= set(structured)
    assert not any("B, A" in prompt for prompt in structured)


def test_case_varies():
    made = Counter(prompts({"Title": "Night walk in A"}, PromptOptions()))
    assert set(made) == {"Night walk in A", "night walk in a", "NIGHT WALK IN A", "Night Walk In A"}
    assert min(made.values()) > 400


@given(
    st.dictionaries(st.sampled_from(["title", "tags", "genre", "url"]), st.text()),
    st.integers(0, 99),
)
def test_the_same_stream_makes_the_same_prompt(metadata: dict[str, str], seed: int):
    first, second = (
        prompt_from_metadata(metadata, PromptOptions(), np.random.default_rng(seed))
        for _ in range(2)
    )
    assert first == second
    usable = [v for k, v in metadata.items() if k != "url" and v]
    assert bool(first) or not any(v.strip() for v in usable)


def test_its_own_prompt_wins_unless_told_otherwise():
    recording = Recording("a", "a.wav", ("rain",), FOUND_SOUND)
    rng = np.random.default_rng(0)
    assert {prompt_of(recording, PLAIN, rng) for _ in range(50)} == {"rain"}
    mixed = PromptOptions(metadata_probability=0.25)
    own = [prompt_of(recording, mixed, rng) == "rain" for _ in range(2000)]
    assert abs(np.mean(own) - 0.75) < 0.05
    bare = Recording("a", "a.wav", ("rain",), {"license": "CC0"})
    assert prompt_of(bare, PromptOptions(metadata_probability=1.0), rng) == "rain"


def test_a_recording_that_says_nothing_is_named():
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidRequest, match=r"^a\.wav has an empty prompt"):
        prompt_of(Recording("a", "a.wav", ("",), FOUND_SOUND), PLAIN, rng)
    with pytest.raises(InvalidRequest, match=r"^a\.wav has no prompt and no metadata"):
        prompt_of(Recording("a", "a.wav", (), {"license": "CC0"}), PLAIN, rng)


def test_one_of_several_captions_is_drawn():
    recording = Recording("a", "a.wav", ("rain", "drops", "water"), {})
    drawn = [
        prompt_of(recording, PromptOptions(), np.random.default_rng(seed)) for seed in range(40)
    ]
    assert set(drawn) == {"rain", "drops", "water"}
    assert drawn[7] == prompt_of(recording, PromptOptions(), np.random.default_rng(7))


def test_a_prompt_that_is_no_text_is_refused_when_it_is_used():
    recording = Recording("a", "a.wav", (), FOUND_SOUND, problem="the prompt is an object")
    with pytest.raises(InvalidRequest, match="the prompt is an object"):
        prompt_of(recording, PromptOptions(), np.random.default_rng(0))

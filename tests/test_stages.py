"""Seconds of stages: each is measured without those within it, and only if somebody asks."""

import time

import auralith
from auralith.request import GenerationRequest
from auralith.stages import measured, stage
from tests.conftest import GOLDEN


def test_a_stage_does_not_count_what_is_within_it() -> None:
    with measured() as seconds:
        with stage("outer"):
            time.sleep(0.02)
            with stage("inner"):
                time.sleep(0.05)
        with stage("inner"):
            time.sleep(0.01)
    assert 0.02 <= seconds["outer"] < 0.05 and seconds["inner"] >= 0.06
    before = dict(seconds)
    with stage("outer"):
        pass
    assert seconds == before


def test_a_generation_has_its_stages() -> None:
    model = auralith.load(GOLDEN / "sao_tiny", device="cpu", dtype="float32")
    request = GenerationRequest("a drum", seconds_total=0.3, window="fit", steps=2)
    with measured() as seconds:
        begin = time.perf_counter()
        model.generate(request)
        whole = time.perf_counter() - begin
    assert seconds.keys() == {"text", "denoising", "decoding"} and min(seconds.values()) > 0
    assert sum(seconds.values()) <= whole

"""Mel correlation: copies at any place, level and order are found where they are; other sounds are not."""

import numpy as np
import pytest
import torch

from auralith.errors import AudioError
from auralith.memorization.mel import SECONDS_PER_FRAME, mel_correlation, mel_of
from tests.memorization.sounds import RATE, melody


def test_a_copy_is_found_where_it_is() -> None:
    reference, other = mel_of(melody(20, 0), RATE), mel_of(melody(20, 1), RATE)
    start = 7.3
    excerpt = melody(20, 0)[:, int(start * RATE) : int((start + 6) * RATE)]
    found = mel_correlation(mel_of(excerpt, RATE), reference)
    assert found.correlation > 0.9
    assert found.reference_start_s - found.query_start_s == pytest.approx(
        start, abs=2 * SECONDS_PER_FRAME
    )
    softer = mel_correlation(mel_of(excerpt * 0.1, RATE), reference)
    assert softer.correlation == pytest.approx(found.correlation, abs=1e-4)
    assert mel_correlation(mel_of(excerpt, RATE), other).correlation < 0.5


def test_either_may_be_the_shorter_one() -> None:
    whole = melody(12, 2)
    short = whole[:, 4 * RATE : 7 * RATE]
    there = mel_correlation(mel_of(whole, RATE), mel_of(short, RATE))
    back = mel_correlation(mel_of(short, RATE), mel_of(whole, RATE))
    for found, place in ((there, there.query_start_s), (back, back.reference_start_s)):
        assert found.correlation > 0.9
        assert place == pytest.approx(4, abs=2 * SECONDS_PER_FRAME)
        assert found.duration_s == pytest.approx(3, abs=2 * SECONDS_PER_FRAME)


def test_the_correlation_written_out() -> None:
    rng = np.random.default_rng(3)
    query, reference = rng.standard_normal((64, 250)), rng.standard_normal((64, 300))
    size = 215
    best = max(
        (
            np.mean(
                [
                    np.corrcoef(query[b, q : q + size], reference[b, r : r + size])[0, 1]
                    for b in range(64)
                ]
            ),
            q,
            r,
        )
        for q in (0, 35)
        for r in range(300 - size + 1)
    )
    found = mel_correlation(torch.from_numpy(query).float(), torch.from_numpy(reference).float())
    assert found.correlation == pytest.approx(best[0], abs=1e-6)
    assert found.query_start_s == pytest.approx(best[1] * SECONDS_PER_FRAME)
    assert found.reference_start_s == pytest.approx(best[2] * SECONDS_PER_FRAME)


def test_what_stands_still_correlates_with_nothing() -> None:
    steady = torch.zeros(64, 300)
    moving = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 300))).float()
    assert mel_correlation(steady, moving).correlation == 0
    assert mel_correlation(moving, steady).correlation == 0


def test_silent_and_short_sounds_are_refused() -> None:
    for waveform, code in ((torch.zeros(1, 5 * RATE), "silent"), (melody(0.5, 0), "too_short")):
        with pytest.raises(AudioError) as caught:
            mel_of(waveform, RATE)
        assert caught.value.reason_code == code

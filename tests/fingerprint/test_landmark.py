"""Landmarks: what a hash says, that neither blocks nor level change it, and sounds that have none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from auralith.errors import AudioError
from auralith.fingerprint.landmark import (
    HASH_BITS,
    PARAMETERS,
    Landmarks,
    landmarks_of,
    pruned,
    read_landmarks,
)
from tests.fingerprint.melodies import SAMPLE_RATE, melody

RATE = 22_050
BIN_HZ = PARAMETERS.sample_rate / PARAMETERS.window


def cut(sound: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (sound[i : i + size] for i in range(0, len(sound), size))


def find(sound: np.ndarray, rate: int = SAMPLE_RATE) -> Landmarks:
    return landmarks_of(iter([np.asarray(sound, np.float32)]), rate)


def parts(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bin of the first peak, bins from it to the second, and frames."""
    return hashes >> 13, (hashes >> 6 & 127) - 64, hashes & 63


@pytest.fixture(scope="module")
def song() -> Landmarks:
    return find(melody(1, 70))


@pytest.mark.parametrize("size", [211, 4_096, 100_000])
def test_hashes_do_not_depend_on_the_blocks(size: int) -> None:
    sound = np.interp(
        np.arange(40 * RATE) / RATE, np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE, melody(2, 40)
    )
    sound = sound.astype(np.float32)
    whole, blocks = find(sound, RATE), landmarks_of(cut(sound, size), RATE)
    assert len(whole.hashes) > 1_000
    np.testing.assert_array_equal(blocks.hashes, whole.hashes)
    np.testing.assert_array_equal(blocks.frames, whole.frames)
    np.testing.assert_allclose(blocks.prominence, whole.prominence, atol=1e-4)
    assert (blocks.num_frames, blocks.seconds) == (whole.num_frames, whole.seconds)


def test_a_hash_has_22_bits_of_bin_interval_and_time(song: Landmarks) -> None:
    assert HASH_BITS == 22
    first, higher, later = parts(song.hashes)
    assert song.hashes.min() >= 0
    assert song.hashes.max() < 1 << 22
    assert (first.min() >= 0, first.max() < PARAMETERS.num_bins) == (True, True)
    assert np.abs(higher).max() <= 63
    assert (later.min(), later.max() <= 63) == (2, True)
    assert ((first + higher >= 0) & (first + higher < PARAMETERS.num_bins)).all()


def test_a_hash_says_where_two_peaks_are() -> None:
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    sound = np.zeros(len(time))
    for start, hz in ((1.0, 1_000.0), (1.5, 1_400.0)):
        sound += np.exp(-(((time - start) / 0.03) ** 2)) * np.sin(2 * np.pi * hz * time)
    found = find(sound)
    first, higher, later = parts(found.hashes)
    near = (
        (np.abs(first + PARAMETERS.lowest_bin - 1_000 / BIN_HZ) <= 1)
        & (np.abs(higher - 400 / BIN_HZ) <= 1)
        & (np.abs(later - 0.5 / PARAMETERS.seconds_per_frame) <= 1)
    )
    assert near.any()
    center = (PARAMETERS.window / 2) / PARAMETERS.sample_rate
    at = found.frames[near] * PARAMETERS.seconds_per_frame + center
    assert np.abs(at - 1.0).min() < 0.04


def test_a_peak_has_at_most_four_pairs(song: Landmarks) -> None:
    anchors = song.frames * 1_000 + (song.hashes >> 13)
    assert np.unique(anchors, return_counts=True)[1].max() == PARAMETERS.pairs_per_peak


def test_frames_are_in_order_and_counted(song: Landmarks) -> None:
    assert (np.diff(song.frames) >= 0).all()
    assert song.frames.max() < song.num_frames
    samples = 70 * SAMPLE_RATE
    assert song.num_frames == 1 + (samples - PARAMETERS.window) // PARAMETERS.hop
    assert song.seconds == 70.0


def test_a_query_has_many_times_the_hashes_of_a_reference(song: Landmarks) -> None:
    assert 60 < len(song.hashes) / song.seconds < 400
    assert len(pruned(song).hashes) / song.seconds <= PARAMETERS.reference_hashes_per_second


def test_a_reference_keeps_the_most_prominent_of_each_second(song: Landmarks) -> None:
    kept = pruned(song)
    assert (kept.num_frames, kept.seconds) == (song.num_frames, song.seconds)
    assert (np.diff(kept.frames) >= 0).all()
    most = PARAMETERS.reference_hashes_per_second
    second_of_all, second = (
        (one.frames * PARAMETERS.seconds_per_frame).astype(int) for one in (song, kept)
    )
    for number in range(70):
        here = np.sort(song.prominence[second_of_all == number])[::-1]
        assert sorted(kept.prominence[second == number], reverse=True) == here[:most].tolist()


def test_pruning_twice_changes_nothing_more(song: Landmarks) -> None:
    once = pruned(song)
    np.testing.assert_array_equal(pruned(once).hashes, once.hashes)


def test_a_sound_20_db_softer_has_the_same_hashes() -> None:
    sound = melody(3, 10)
    loud, soft = (
        set(zip(*(find(g * sound).hashes, find(g * sound).frames), strict=True)) for g in (1, 0.1)
    )
    assert len(loud & soft) > 0.97 * len(loud)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(5 * SAMPLE_RATE),
        np.full(5 * SAMPLE_RATE, 0.5),
        np.zeros(0),
        np.ones(1),
        np.random.default_rng(0).standard_normal(PARAMETERS.window - 1),
        np.eye(1, 5 * SAMPLE_RATE, SAMPLE_RATE)[0],
    ],
    ids=["silence", "constant", "empty", "one sample", "less than a frame", "click"],
)
@pytest.mark.filterwarnings("error")
def test_sounds_without_anything_to_tell_have_few_hashes(sound: np.ndarray) -> None:
    found = find(sound)
    assert len(found.hashes) < 60
    assert len(pruned(found).hashes) == min(len(found.hashes), len(pruned(found).hashes))
    assert found.num_frames == max(0, 1 + (len(sound) - PARAMETERS.window) // PARAMETERS.hop)


def test_silence_has_none_at_all_even_beside_music() -> None:
    silence = np.zeros(40 * SAMPLE_RATE, np.float32)
    assert len(find(silence).hashes) == 0
    found = find(np.concatenate((silence, melody(1, 10))))
    assert (found.frames * PARAMETERS.seconds_per_frame).min() > 39.5


def test_a_file_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = melody(1, 6), melody(2, 6)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack((left, right), axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(
        read_landmarks(path).hashes, find((left + right) / np.float32(2)).hashes
    )


def test_a_file_with_nan_or_without_sound_says_why(tmp_path: Path) -> None:
    sound = melody(1, 2)
    sound[700] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, SAMPLE_RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no sound")
    for name, reason in (("nan", "nan_samples"), ("text", "not_audio"), ("none", "missing_file")):
        with pytest.raises(AudioError) as error:
            read_landmarks(tmp_path / f"{name}.wav")
        assert error.value.reason_code == reason


def test_a_reference_keeps_what_noise_leaves() -> None:
    """Very soft high notes stand out of the silence around them, but nobody hears them in noise."""
    rng = np.random.default_rng(4)
    loud = melody(4, 12)
    loud -= (
        loud
        - soxr.resample(soxr.resample(loud, SAMPLE_RATE, 2_000), 2_000, SAMPLE_RATE)[: len(loud)]
    )
    time = np.arange(len(loud)) / SAMPLE_RATE
    soft = sum(
        np.exp(-(((time - start) / 0.02) ** 2))
        * np.sin(2 * np.pi * rng.uniform(2_000, 4_000) * time)
        for start in np.arange(0.5, 11.5, 0.1)
    )
    kept = pruned(find(loud + 1e-4 * soft))
    assert (kept.hashes >> 13 < 1_200 / BIN_HZ).mean() > 0.9

"""The search by landmarks: exact tails, honest probabilities, places that are right, and songs that share only a beat."""

import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import mpmath
import numpy as np
import pytest
import soundfile
import soxr

from auralith.fingerprint import (
    LandmarkIndex,
    Landmarks,
    Occurrence,
    SearchOptions,
    build_index,
    landmarks_of,
    pruned,
    search,
)
from auralith.fingerprint.significance import corrected, log_tail, log_tail_bound
from tests.fingerprint.melodies import SAMPLE_RATE, melody

NAMES = ("a", "b", "c", "d", "e")
SECONDS = 30
ALPHA = SearchOptions().alpha


def song(name: str, seconds: float = SECONDS) -> np.ndarray:
    return melody(ord(name), seconds)


def unknown(seconds: float) -> np.ndarray:
    return melody(1_000, seconds)


def part(name: str, start_s: float, stop_s: float) -> np.ndarray:
    return song(name)[round(start_s * SAMPLE_RATE) : round(stop_s * SAMPLE_RATE)]


def find(sound: np.ndarray) -> Landmarks:
    return landmarks_of(iter([np.asarray(sound, np.float32)]), SAMPLE_RATE)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LandmarkIndex:
    folder = tmp_path_factory.mktemp("index") / "known"
    build_index(((name, pruned(find(song(name)))) for name in NAMES), folder)
    return LandmarkIndex.open(folder)


def matches(index: LandmarkIndex, *parts: np.ndarray) -> list[Occurrence]:
    return search(index, find(np.concatenate(parts)))


def places(found: list[Occurrence]) -> list[tuple[str, float, float]]:
    """Reference, start in the query and start in the reference, in the order of the query."""
    return sorted((one.ref_id, one.query_start_s, one.reference_start_s) for one in found)


@pytest.mark.parametrize("rate", [1e-9, 1e-3, 0.3, 1.0, 7.7, 60.0, 1e3, 1e5])
@pytest.mark.parametrize("more", [1, 2, 5, 40, 1_000, 30_000])
def test_the_tail_is_the_exact_sum(rate: float, more: int) -> None:
    votes = math.ceil(rate) + more
    with mpmath.workdps(60):
        exact = mpmath.log(mpmath.gammainc(votes, 0, rate, regularized=True))
        assert math.isclose(log_tail(votes, rate), float(exact), rel_tol=1e-9, abs_tol=1e-9)


def test_the_tail_is_the_sum_of_its_terms() -> None:
    for rate in (0.2, 3.0, 11.0):
        for votes in range(math.floor(rate) + 1, 40):
            rest = sum(math.exp(-rate) * rate**k / math.factorial(k) for k in range(votes, 140))
            assert math.isclose(log_tail(votes, rate), math.log(rest), rel_tol=1e-9)


def test_no_more_votes_than_expected_surprise_nobody() -> None:
    assert log_tail(0, 0.0) == log_tail(0, 5.0) == log_tail(5, 5.0) == log_tail(3, 1e9) == 0.0
    assert log_tail(1, 0.0) == -math.inf
    assert corrected(-math.inf, 10**12) == 0.0


def test_more_votes_are_never_less_surprising() -> None:
    for rate in (1e-6, 0.5, 20.0):
        tails = [log_tail(votes, rate) for votes in range(1, 400)]
        assert all(b <= a for a, b in pairwise(tails))


def test_the_bound_is_never_below_the_tail_and_close_where_it_matters() -> None:
    for rate in (1e-6, 0.1, 2.0, 50.0):
        votes = np.arange(1, 300)
        bounds = log_tail_bound(votes, np.full(len(votes), rate))
        tails = np.array([log_tail(int(v), rate) for v in votes])
        assert (bounds >= tails - 1e-9).all()
        assert (bounds - tails < 6).all()


def test_a_probability_is_corrected_for_trials() -> None:
    assert corrected(math.log(1e-12), 1_000) == pytest.approx(1e-9)
    assert corrected(math.log(1e-3), 10**6) == 1.0
    assert corrected(0.0, 1) == 1.0
    assert corrected(-2_000.0, 10**9) == 0.0
    assert corrected(math.log(0.25), 0) == pytest.approx(0.25)


def scattered(rng: np.random.Generator, frames: int, per_frame: float) -> Landmarks:
    """Landmarks of nothing: few different hashes, so that two of them share many by chance."""
    count = round(frames * per_frame)
    hashes, at = rng.integers(0, 30_000, count), np.sort(rng.integers(0, frames, count))
    return Landmarks(hashes << 6 | 20, at, np.ones(count), frames, frames * 0.0232)


def test_chance_alone_is_as_rare_as_its_probability_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = ((str(number), scattered(rng, 1_300, 0.7)) for number in range(12))
    build_index(known, tmp_path / "index")
    index, options = LandmarkIndex.open(tmp_path / "index"), SearchOptions(0.99, 0.1)
    best = []
    for _ in range(40):
        query = scattered(rng, 600, 4)
        hits = index.postings(query.hashes)[0]
        assert len(hits) > 500
        best.append(min((one.p_value for one in search(index, query, options)), default=1.0))
    assert sum(p <= 0.1 for p in best) <= 8
    assert min(best) > 1e-4


def test_an_excerpt_is_found_where_it_is(index: LandmarkIndex) -> None:
    (one,) = matches(index, part("b", 11, 21))
    assert one.ref_id == "b"
    assert one.p_value < 1e-20
    assert one.query_start_s < 1
    assert one.reference_start_s - one.query_start_s == pytest.approx(11, abs=0.05)
    assert 9 < one.duration_s <= 10


def test_a_reference_inside_a_long_recording_is_found_where_it_is(
    index: LandmarkIndex,
) -> None:
    (one,) = matches(index, unknown(55), song("c"), melody(1_001, 47))
    assert one.ref_id == "c"
    assert one.query_start_s == pytest.approx(55, abs=1)
    assert one.duration_s == pytest.approx(SECONDS, abs=2)
    assert one.query_start_s - one.reference_start_s == pytest.approx(55, abs=0.05)


def test_several_references_in_one_recording_are_all_found(index: LandmarkIndex) -> None:
    found = matches(index, part("a", 5, 15), unknown(4), part("d", 0, 12), part("e", 20, 30))
    assert [name for name, _, _ in places(found)] == ["a", "d", "e"]
    starts = [query - reference for _, query, reference in places(found)]
    assert starts == pytest.approx([-5, 14, 6], abs=0.05)
    assert [one.p_value for one in found] == sorted(one.p_value for one in found)


def test_two_at_once_are_both_found(index: LandmarkIndex) -> None:
    found = matches(index, part("a", 2, 20) + part("b", 7, 25))
    assert [name for name, _, _ in places(found)] == ["a", "b"]


@pytest.mark.parametrize("second", [5.0, 16.0])
def test_a_reference_that_comes_twice_is_two_matches(index: LandmarkIndex, second: float) -> None:
    found = matches(index, part("a", 5, 14), unknown(8), part("a", second, second + 9))
    assert [name for name, _, _ in places(found)] == ["a", "a"]
    starts = [query - reference for _, query, reference in places(found)]
    assert starts == pytest.approx([-5, 17 - second], abs=0.05)


def test_a_whole_reference_is_one_match_though_it_repeats_itself(tmp_path: Path) -> None:
    bar = song("a", 4)
    track = np.concatenate([bar] * 8)
    build_index([("loop", pruned(find(track)))], tmp_path / "index")
    (one,) = matches(LandmarkIndex.open(tmp_path / "index"), track)
    assert one.duration_s > 30
    assert abs(one.query_start_s - one.reference_start_s) < 0.05


def test_a_known_sound_shorter_than_three_seconds_is_no_match(
    index: LandmarkIndex,
) -> None:
    assert matches(index, unknown(10), part("a", 5, 7.5), melody(1_002, 10)) == []


def test_songs_that_share_a_beat_are_not_the_same(tmp_path: Path) -> None:
    """The drums are the same, sample by sample, and fall on the same frames; counting hashes would tell a match."""
    bar, length = 86 * 256, SECONDS * SAMPLE_RATE
    time = np.arange(3_000) / SAMPLE_RATE
    loop = np.zeros(bar)
    for step, hz in enumerate((180, 700, 180, 2_100, 300, 700, 180, 1_500)):
        hit = np.exp(-40 * time) * (
            np.sin(2 * np.pi * hz * time) + np.sin(2 * np.pi * 2.3 * hz * time)
        )
        loop[step * bar // 8 :][:2_700] += hit[: min(2_700, bar - step * bar // 8)]
    drums = 0.3 * np.resize(loop, length)
    build_index([("known", pruned(find(drums + song("a"))))], tmp_path / "index")
    index = LandmarkIndex.open(tmp_path / "index")
    query = find(drums + song("b"))
    place, _, frames = index.postings(query.hashes)
    votes = np.unique(frames - query.frames[place], return_counts=True)[1]
    rate = len(place) / (query.num_frames * 2 - 1)
    assert log_tail(int(votes.max()), rate) < math.log(1e-15)
    assert search(index, query) == []
    assert [one.ref_id for one in search(index, find(drums + song("a")))] == ["known"]


def coded(suffix: str) -> Callable[[np.ndarray], np.ndarray]:
    def code(sound: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        soundfile.write(file, sound, SAMPLE_RATE, format=suffix)
        file.seek(0)
        return soundfile.read(file)[0]

    return code


def faster(percent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sound: soxr.resample(sound, SAMPLE_RATE * (1 + percent / 100), SAMPLE_RATE)


def noisy(snr_db: float) -> Callable[[np.ndarray], np.ndarray]:
    def add(sound: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).standard_normal(len(sound))
        return sound + noise * sound.std() * 10 ** (-snr_db / 20)

    return add


@pytest.mark.parametrize(
    "distort",
    [
        *(coded("MP3"), coded("OGG"), lambda sound: 0.1 * sound, lambda sound: -sound),
        *(noisy(10), noisy(0), faster(1), faster(-1), faster(-1.3)),
    ],
    ids=["mp3", "vorbis", "-20 dB", "inverted", "10 dB", "0 dB", "+1 %", "-1 %", "-1.3 %"],
)
def test_a_distorted_song_is_found(
    index: LandmarkIndex, distort: Callable[[np.ndarray], np.ndarray]
) -> None:
    found = matches(index, distort(part("d", 3, 23)))
    assert {one.ref_id for one in found} == {"d"}
    assert found[0].reference_start_s - found[0].query_start_s == pytest.approx(3, abs=0.6)


def test_a_faster_song_is_one_match_from_end_to_end(index: LandmarkIndex) -> None:
    (one,) = matches(index, faster(1)(song("d")))
    assert one.duration_s > 24


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(10 * SAMPLE_RATE),
        np.full(10 * SAMPLE_RATE, 0.25),
        0.5 * np.sin(2 * np.pi * 440 * np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE),
        np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE),
        np.sign(np.sin(2 * np.pi * 2 * np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE)),
    ],
    ids=["silence", "constant", "pure tone", "noise", "clicks"],
)
@pytest.mark.filterwarnings("error")
def test_sounds_that_say_nothing_are_no_match(index: LandmarkIndex, sound: np.ndarray) -> None:
    assert matches(index, sound) == []


@pytest.mark.filterwarnings("error")
def test_an_index_of_silence_matches_nothing(tmp_path: Path) -> None:
    quiet = pruned(find(np.zeros(10 * SAMPLE_RATE)))
    build_index([("silence", quiet), ("empty", pruned(find(np.zeros(0))))], tmp_path / "index")
    index = LandmarkIndex.open(tmp_path / "index")
    for sound in (song("a", 10), np.zeros(10 * SAMPLE_RATE), np.zeros(0)):
        assert search(index, find(sound)) == []


def test_a_stricter_level_and_a_longer_stretch_take_matches_away(
    index: LandmarkIndex,
) -> None:
    query = find(np.concatenate((unknown(5), part("a", 5, 13))))
    (one,) = search(index, query)
    assert search(index, query, SearchOptions(1.01 * one.p_value, 3.0)) == [one]
    assert search(index, query, SearchOptions(one.p_value / 2, 3.0)) == []
    assert search(index, query, SearchOptions(ALPHA, 9.0)) == []

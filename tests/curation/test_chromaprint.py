"""Chromaprint: where item sequences are the same, fingerprints on disk, and the program that makes them."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from auralith.curation.identification import (
    AudioRef,
    ChromaprintIdentifier,
    Fingerprint,
    FingerprintIndex,
    Fpcalc,
    build_fingerprints,
)
from auralith.curation.identification.alignment import differing_bits, most_bits, stretches
from auralith.curation.identification.fpcalc import ITEM_SECONDS
from auralith.errors import AudioError, AuralithError, CheckpointError, InvalidRequest
from tests.curation.identifier_stubs import FPCALC, write_program, write_sound
from tests.fingerprint.melodies import melody

HALF_MINUTE = 221
"""Items of 30 s."""


def items(seed: int, count: int) -> np.ndarray:
    """Items as a sound's: in each a few bits differ from the one before."""
    rng = np.random.default_rng(seed)
    flips = rng.random((count, 32)) < 0.12
    bits = (np.cumsum(flips, axis=0) + rng.integers(0, 2, 32)) % 2
    return packed(bits)


def packed(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1).astype(np.uint32)


def disturbed(original: np.ndarray, rate: float, seed: int = 0) -> np.ndarray:
    """The same items with this share of all bits flipped."""
    flips = np.random.default_rng(seed).random((len(original), 32)) < rate
    return original ^ packed(flips)


def identifier(folder: Path, references: dict[str, np.ndarray]) -> ChromaprintIdentifier:
    if not (folder / "index").is_dir():
        build_fingerprints(references.items(), folder / "index")
    program = write_program(folder / "fpcalc", FPCALC)
    return ChromaprintIdentifier(folder / "index", Fpcalc(program))


def test_differing_bits_are_counted_in_all_32() -> None:
    one = np.array([0, 0xFFFFFFFF, 0x80000001, 5], np.uint32)
    other = np.array([0, 0, 1, 6], np.uint32)
    assert differing_bits(one, other).tolist() == [0, 32, 1, 2]


def test_a_half_minute_matches_below_ten_bits_of_32() -> None:
    original = items(1, HALF_MINUTE)
    for rate, is_match in ((0.0, True), (0.2, True), (0.29, True), (0.335, False), (0.5, False)):
        found = stretches(disturbed(original, rate), original, 0)
        assert bool(found) == is_match, rate
        if is_match:
            assert sum(one.num_items for one in found) > 200
            assert found[0].bits == pytest.approx(32 * rate, abs=0.6)


def test_short_stretches_must_differ_less() -> None:
    assert most_bits(HALF_MINUTE) == 10
    assert most_bits(100) == 10
    assert 3 < most_bits(16) < most_bits(19) < most_bits(50) < 10
    original = items(2, 20)
    assert stretches(disturbed(original, 0.08), original, 0)
    assert not stretches(disturbed(original, 0.25), original, 0)


def test_unrelated_sounds_do_not_match(tmp_path: Path) -> None:
    index = identifier(tmp_path, {f"ref{i}": items(100 + i, 400) for i in range(20)})
    for seed in range(40):
        assert index.matches(items(seed, HALF_MINUTE)) == []


def test_silence_and_a_hum_match_nothing(tmp_path: Path) -> None:
    still = np.full(300, 627_964_279, np.uint32)
    index = identifier(tmp_path, {"silence": still, "music": np.append(items(1, 300), still)})
    assert index.matches(still[:221]) == []
    hum = np.repeat(items(5, 4), 60)
    (answer,) = index.identify([Fingerprint("hum", 30.0, hum)])
    assert (answer.status, answer.reason) == ("indeterminate", "too_plain")


def test_the_stretch_that_is_the_same_is_cut_out(tmp_path: Path) -> None:
    reference = items(1, 600)
    query = np.concatenate((items(2, 150), disturbed(reference[300:450], 0.1), items(3, 150)))
    (match,) = identifier(tmp_path, {"a": items(4, 600), "b": reference}).matches(query)
    assert match.ref_id == "b"
    assert match.query_start_s == pytest.approx(150 * ITEM_SECONDS, abs=1.5)
    assert match.ref_start_s - match.query_start_s == pytest.approx(150 * ITEM_SECONDS)
    assert match.duration_s == pytest.approx(150 * ITEM_SECONDS + 2.6, abs=3)
    assert match.score == pytest.approx(0.9, abs=0.02)


def test_a_long_recording_finds_each_piece_in_it_and_a_repeat(tmp_path: Path) -> None:
    first, second = items(1, 300), items(2, 300)
    parts = [items(7, 300), first[50:250], items(8, 500), second[:200], items(9, 300), first]
    found = identifier(tmp_path, {"first": first, "second": second}).matches(np.concatenate(parts))
    starts = sorted((one.ref_id, round(one.query_start_s / ITEM_SECONDS / 20)) for one in found)
    assert starts == [("first", 15), ("first", 75), ("second", 50)]


def test_the_surest_match_comes_first(tmp_path: Path) -> None:
    original = items(1, 300)
    index = identifier(tmp_path, {"noisy": disturbed(original, 0.15), "clean": original})
    found = index.matches(disturbed(original, 0.02, seed=1))
    assert [one.ref_id for one in found] == ["clean", "noisy"]
    assert found[0].score > found[1].score


def test_an_empty_fingerprint_is_indeterminate(tmp_path: Path) -> None:
    (answer,) = identifier(tmp_path, {"a": items(1, 300)}).identify(
        [Fingerprint("short", 30.0, np.zeros(0, np.uint32))]
    )
    assert (answer.status, answer.reason) == ("indeterminate", "too_short")


def test_the_shortest_sound_that_is_answered_for_can_match(tmp_path: Path) -> None:
    reference = items(1, 300)
    index = identifier(tmp_path, {"a": reference})
    (answer,) = index.identify([Fingerprint("q", index.info.min_seconds, reference[40:56])])
    assert answer.status == "match"


def test_other_references_are_another_version(tmp_path: Path) -> None:
    versions = set()
    for number, seed in enumerate((1, 1, 2)):
        build_fingerprints([("a", items(seed, 300))], tmp_path / str(number))
        versions.add(FingerprintIndex.open(tmp_path / str(number)).digest)
    assert len(versions) == 2


def test_bad_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no reference"):
        build_fingerprints([], tmp_path / "index")
    with pytest.raises(InvalidRequest, match="one id"):
        build_fingerprints([("a", items(1, 9)), ("a", items(2, 9))], tmp_path / "index")
    assert not (tmp_path / "index").exists()
    build_fingerprints([("a", items(1, 9))], tmp_path / "index")
    with pytest.raises(CheckpointError):
        build_fingerprints([("a", items(1, 9))], tmp_path / "index")


def test_a_reference_without_items_is_there_and_matches_nothing(tmp_path: Path) -> None:
    empty = np.zeros(0, np.uint32)
    index = identifier(tmp_path, {"none": empty, "a": items(1, 300), "last": empty})
    (match,) = index.matches(items(1, 300))
    assert match.ref_id == "a"


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--provider chromaprint"):
        FingerprintIndex.open(tmp_path)
    index = identifier(tmp_path, {"a": items(1, 300)})
    header = json.loads((tmp_path / "index/header.json").read_text())
    for wrong in ({**header, "version": 99}, {"version": 1}, [], {**header, "references": [1]}):
        (tmp_path / "index/header.json").write_text(json.dumps(wrong))
        with pytest.raises(InvalidRequest):
            FingerprintIndex.open(tmp_path / "index")
    np.save(tmp_path / "index/items.npy", np.zeros(9, np.uint32))
    with pytest.raises(InvalidRequest, match="cut short"):
        index.matches(items(1, 300))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('{\"fingerprint\": [1, 2, 3]}')", "fpcalc_failed"),
        ('print(\'{"fingerprint": "abc"}\')', "fpcalc_failed"),
        ("print('{\"finger')", "fpcalc_failed"),
        ("print('[' * 100000)", "fpcalc_failed"),
        ("raise SystemExit(2)", "fpcalc_failed"),
        ("import os; os.abort()", "fpcalc_failed"),
        ("import time; time.sleep(60)", "fpcalc_timeout"),
    ],
)
def test_a_program_that_fails_is_a_problem_of_the_sound(
    tmp_path: Path, body: str, reason: str
) -> None:
    sound = write_sound(tmp_path / "a.wav", melody(1, 6))
    timeout_s = 0.3 if "sleep" in body else 20.0
    fpcalc = Fpcalc(write_program(tmp_path / "bad", body), timeout_s)
    start = time.monotonic()
    with pytest.raises(AudioError) as caught:
        fpcalc.items(sound)
    assert caught.value.reason_code == reason
    assert time.monotonic() - start < 20


def test_items_are_numbers_of_32_bits(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", melody(1, 3))
    for item in ("-1", "4294967296", "1.5", '"a"', "null"):
        body = f"print('{{\"fingerprint\": [{item}, 1, 2]}}')"
        with pytest.raises(AudioError):
            Fpcalc(write_program(tmp_path / "bad", body)).items(sound)
    good = write_program(tmp_path / "good", "print('{\"fingerprint\": [0, 1, 4294967295]}')")
    assert Fpcalc(good).items(sound)[0].tolist() == [0, 1, 4_294_967_295]


def test_what_is_not_a_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not executable")
    with pytest.raises(InvalidRequest, match="no program"):
        Fpcalc(str(tmp_path / "notes"))
    (tmp_path / "notes").chmod(0o755)
    sound = write_sound(tmp_path / "a.wav", melody(1, 6))
    with pytest.raises(AuralithError, match="can't be started"):
        Fpcalc(str(tmp_path / "notes")).items(sound)


@pytest.mark.skipif(shutil.which("fpcalc") is None, reason="Chromaprint's fpcalc is not installed")
def test_the_real_program_finds_an_excerpt(tmp_path: Path) -> None:
    song = melody(1, 30)
    path = write_sound(tmp_path / "song.wav", song)
    fpcalc = Fpcalc()
    found, seconds = fpcalc.items(path)
    assert (len(found), seconds) == (HALF_MINUTE, 30.0)
    text, seconds = fpcalc.compressed(path, 10.0)
    assert text.startswith("AQAA")
    assert seconds == 30.0
    build_fingerprints([("song", found)], tmp_path / "index")
    index = ChromaprintIdentifier(tmp_path / "index", fpcalc)
    excerpt = write_sound(tmp_path / "excerpt.wav", song[100_000:200_000] * 0.3)
    unknown = write_sound(tmp_path / "unknown.wav", melody(2, 10))
    answers = index.identify([index.analyze(AudioRef("x", one)) for one in (excerpt, unknown)])
    assert [one.status for one in answers] == ["match", "no_match"]
    match = answers[0].matches[0]
    assert match.ref_start_s - match.query_start_s == pytest.approx(100_000 / 11_025, abs=0.15)

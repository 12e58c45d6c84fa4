"""Each measure finds what is planted, or says that it can't tell."""

import numpy as np
import pytest

from auralith.controls import ends, space
from auralith.controls.events import events
from auralith.controls.key import PROFILES, key
from auralith.controls.notes import Key, midi_hz
from auralith.controls.onsets import onset_strengths
from auralith.controls.pitch import pitch
from auralith.controls.tempo import HIGHEST_BPM, LOWEST_BPM, tempo
from tests.controls import planted
from tests.controls.planted import RATE, TIMBRES, Mono, stereo


@pytest.mark.parametrize(
    "bpm", [62.0, 71.5, 80.0, 93.0, 101.0, 112.5, 120.0, 128.0, 137.0, 155.0, 174.0, 189.0]
)
@pytest.mark.parametrize("snr_db", [60.0, 10.0])
def test_tempo_is_the_planted_one_or_an_octave_of_it(bpm: float, snr_db: float) -> None:
    found = tempo(stereo(planted.noisy(planted.beat(bpm, 6.0), snr_db)), RATE)
    assert found.value is not None and LOWEST_BPM <= found.value <= HIGHEST_BPM
    assert min(abs(found.value / bpm / octave - 1) for octave in (0.5, 1, 2)) < 0.01


@pytest.mark.parametrize("bpm", [95.0, 110.0, 128.0])
def test_tempo_has_no_choice_where_its_octaves_are_out_of_range(bpm: float) -> None:
    clicks = planted.placed(np.arange(0, 6, 60 / bpm), [planted.burst()], 6.0)
    found = tempo(stereo(clicks), RATE).value
    assert found == pytest.approx(bpm, rel=0.01)


@pytest.mark.parametrize("bpm", [90.0, 104.0, 124.0, 150.0])
def test_tempo_of_a_loop_of_four_beats(bpm: float) -> None:
    found = tempo(stereo(planted.beat(bpm, 240 / bpm)), RATE).value
    assert found is not None
    assert min(abs(found / bpm / octave - 1) for octave in (0.5, 1, 2)) < 0.02


def test_no_tempo_where_there_is_no_beat() -> None:
    rng = np.random.default_rng(3)
    for seed in range(6):
        starts = np.cumsum(rng.uniform(0.12, 1.0, 14))
        irregular = planted.placed(starts[starts < 6], [planted.burst(seed)], 6.5)
        assert tempo(stereo(irregular), RATE).value is None
    nothing = [
        planted.noise(4),
        planted.tone(220, 4),
        np.zeros(4 * RATE, np.float32),
        planted.beat(120, 0.6),
    ]
    assert all(tempo(stereo(sound), RATE).value is None for sound in nothing)
    assert tempo(stereo(nothing[2]), RATE).reason == "silence"
    assert tempo(np.zeros((2, 0), np.float32), RATE).value is None


@pytest.mark.parametrize("timbre", TIMBRES)
@pytest.mark.parametrize("midi", range(31, 94, 6))
def test_pitch_is_the_planted_one(midi: int, timbre: str) -> None:
    hz = midi_hz(midi) * 2 ** (midi % 5 / 60)
    for sound in (
        planted.tone(hz, 0.9, TIMBRES[timbre]),
        planted.noisy(planted.tone(hz, 0.9, TIMBRES[timbre]), 10),
    ):
        found = pitch(stereo(sound), RATE)
        assert found.value is not None and abs(1_200 * np.log2(found.value / hz)) < 6


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000, 96_000])
def test_pitch_does_not_depend_on_rate_level_or_place(rate: int) -> None:
    sound = planted.tone(330, 0.8, TIMBRES["saw"], rate)
    for waveform in (
        stereo(sound),
        stereo(1e-3 * sound),
        stereo(sound, 0.0),
        sound[None],
        stereo(sound, right=-1),
    ):
        assert pitch(waveform, rate).value == pytest.approx(330, rel=1e-3)


def test_no_pitch_of_chords_noise_sweeps_and_silence() -> None:
    time = np.arange(2 * RATE) / RATE
    sweep = np.sin(2 * np.pi * 200 * (np.exp(time) - 1)).astype(np.float32)
    for root in (130.8, 164.8, 220.0, 311.1):
        for steps in ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11)):
            chord = np.sum(
                [planted.tone(root * 2 ** (s / 12), 1.5, TIMBRES["saw"]) for s in steps], axis=0
            )
            assert pitch(stereo(chord), RATE).value is None
    for sound in (planted.noise(2), sweep, np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        assert pitch(stereo(sound), RATE).value is None


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_key_is_the_planted_one(tonic: int, mode: str) -> None:
    sound = planted.progression(tonic, mode, cents=31.0 * (tonic % 2))
    assert key(stereo(sound), RATE).value == Key(tonic, "major" if mode == "major" else "minor")


def test_no_key_of_noise_drums_a_note_and_silence() -> None:
    a_note = planted.tone(220, 3, TIMBRES["sine"])
    for sound in (
        planted.noise(3),
        planted.beat(120, 4),
        a_note,
        np.zeros(RATE, np.float32),
        planted.noise(0),
    ):
        assert key(stereo(sound), RATE).value is None


def test_profiles_turn_with_the_tonic_and_tell_the_modes_apart() -> None:
    for profile in PROFILES.values():
        assert all(len(values) == 12 and max(values) == values[0] for values in profile.values())
        assert (
            profile["major"][4] > profile["major"][3] and profile["minor"][3] > profile["minor"][4]
        )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("snr_db", [60.0, 20.0, 10.0])
def test_count_is_the_planted_one_or_not_told(count: int, snr_db: float) -> None:
    rng = np.random.default_rng((count, round(snr_db)))
    told = 0
    for seed in range(3):
        starts = np.cumsum(rng.uniform(0.2, 0.5, count)) - (0.2 if seed == 0 else 0.0)
        hits = [
            planted.burst(seed),
            0.6 * planted.burst(seed + 1),
            planted.tone(700, 0.1, TIMBRES["saw"]),
        ]
        sound = planted.placed(starts, hits, float(starts[-1]) + 1.0)
        found = events(stereo(planted.noisy(sound, snr_db, seed)), RATE)
        assert found.value in (count, None)
        told += found.value is not None
    assert told >= (3 if snr_db > 10 else 1)


def test_a_steady_tone_is_one_event_and_noise_is_untold() -> None:
    for sound in (planted.tone(220, 2), planted.tone(220, 2, TIMBRES["saw"])[RATE // 2 :]):
        assert events(stereo(sound), RATE).value == 1
    for seed in range(6):
        assert events(stereo(planted.noise(3, seed)), RATE).value is None
    assert events(stereo(np.zeros(RATE, np.float32)), RATE).reason == "silence"


@pytest.mark.parametrize("hz", [130.0, 262.0, 523.0, 1_047.0])
@pytest.mark.parametrize("fade", [0.002, 0.01, 0.03])
def test_the_end_of_a_note_is_no_event(hz: float, fade: float) -> None:
    sound = planted.tone(hz, 1.0, TIMBRES["saw"])
    size = round(fade * RATE)
    sound[-size:] *= np.linspace(1, 0, size)
    for rest in (0.1, 0.5):
        quiet = np.zeros(round(rest * RATE), np.float32)
        notes = [quiet, sound, quiet, sound, quiet]
        assert events(stereo(np.concatenate(notes[:3])), RATE).value == 1
        assert events(stereo(np.concatenate(notes)), RATE).value == 2


def test_onsets_do_not_depend_on_level() -> None:
    sound = planted.beat(100, 2)[::2]
    strong, soft = onset_strengths(sound), onset_strengths(1e-3 * sound)
    assert np.abs(strong - soft).max() < 1e-3 * strong.max()


@pytest.mark.parametrize("db", [-40.0, -14.0, -3.0, -0.5, 0.0, 0.5, 3.0, 14.0, 40.0])
def test_balance_and_width_are_the_planted_ones(db: float) -> None:
    sound, other = planted.noise(1, 1), planted.noise(1, 2)
    panned = stereo(sound, right=10 ** (db / 20))
    assert space.balance(panned).value == pytest.approx(db, abs=1e-3)
    found = space.width(panned).value
    assert found is not None and found < -80
    mid, side = np.stack([sound, sound]), np.stack([other, -other])
    orthogonal = mid + side * 10 ** (db / 20) * np.sqrt(
        np.square(sound).sum() / np.square(other).sum()
    )
    if -40 < db < 3:
        assert space.width(orthogonal.astype(np.float32)).value == pytest.approx(db, abs=0.3)


def test_space_can_not_tell_of_one_channel_or_silence() -> None:
    sound = planted.noise(1)
    for measure in (space.balance, space.width):
        assert measure(sound[None]).reason == "1 channel"
        assert measure(np.stack([sound] * 3)).reason == "3 channels"
        assert measure(np.zeros((2, 100), np.float32)).reason == "silence"
    assert space.balance(stereo(sound, right=0)).value == -100
    assert space.balance(stereo(sound, left=0)).value == 100
    assert space.width(stereo(sound, left=0)).value == space.LOWEST_DB


@pytest.mark.parametrize("level", [0.0, 0.01, 0.049, 0.051, 0.3, 1.0])
def test_levels_at_the_ends_are_the_planted_ones(level: float) -> None:
    sound = planted.tone(300, 0.5)
    sound = sound / np.abs(sound).max()
    sound[-20:], sound[0], sound[-3] = 0, level, -level / 2
    assert ends.start_level(stereo(0.3 * sound)).value == pytest.approx(level, abs=1e-6)
    assert ends.end_level(stereo(0.3 * sound), RATE).value == pytest.approx(level / 2, abs=1e-6)


def test_a_cut_is_seen_where_it_hits_a_zero_of_the_waveform() -> None:
    time = np.arange(round(0.5 * RATE)) / RATE
    sound = np.sin(2 * np.pi * 880 * time)[: 1 + round(RATE * 100 / 880)].astype(np.float32)
    level = ends.end_level(stereo(sound), RATE).value
    assert abs(sound[-1]) < 0.06 and level is not None and level > 0.9


@pytest.mark.parametrize("stop", [0.3, 1.0, 1.7, 2.0])
def test_the_end_of_sounding_and_silence_are_the_planted_ones(stop: float) -> None:
    sound = np.zeros(2 * RATE, np.float32)
    sound[: round(stop * RATE)] = planted.noise(stop)
    assert ends.sounding_seconds(stereo(sound), RATE).value == pytest.approx(stop, abs=0.021)
    assert ends.silence_share(stereo(sound), RATE).value == pytest.approx(1 - stop / 2, abs=0.011)


@pytest.mark.parametrize("gain", [0.5, 0.999, 1.5, 4.0])
def test_clipping_is_found_only_where_samples_are_cut_off(gain: float) -> None:
    sound = planted.tone(200, 1)
    cut = np.clip(gain * sound / np.abs(sound).max(), -1, 1)
    found = ends.clipping(cut[None]).value
    assert found is not None and (found > 300 if gain > 1 else found == 0)


@pytest.mark.parametrize("at_end", [True, False])
def test_fades_are_found_and_hits_and_steady_sounds_have_none(at_end: bool) -> None:
    ramp = np.linspace(1, 0, 3 * RATE) if at_end else np.linspace(0, 1, 3 * RATE)
    for sound in (planted.noise(3), planted.tone(400, 3)):
        faded = ends.fade(stereo((sound * ramp).astype(np.float32)), RATE, at_end=at_end).value
        steady = ends.fade(stereo(sound[RATE // 4 : -RATE // 4]), RATE, at_end=at_end).value
        assert faded is not None and steady is not None and faded > 15 > 5 > steady
    assert ends.fade(stereo(planted.tone(400, 0.2)), RATE, at_end=at_end).value is None


def _steady(hz: float, seconds: float = 2.0) -> Mono:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.sum([np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 5)], axis=0).astype(
        np.float32
    )


@pytest.mark.parametrize("hz", [55.0, 80.5, 132.0, 250.5, 400.0, 733.0])
def test_a_seam_is_smooth_for_whole_periods_and_jumps_for_others(hz: float) -> None:
    whole, cut = _steady(hz), _steady(hz)[: -round(0.3 * RATE / hz)]
    found, jump = ends.seam(stereo(whole), RATE).value, ends.seam(stereo(cut), RATE).value
    assert found is not None and jump is not None and found < 1.5 < 2.5 < jump
    ramp = np.clip(np.minimum(np.arange(len(whole)), np.arange(len(whole))[::-1]) / 220, 0, 1)
    dip, gap = (
        ends.seam_dip(stereo((s).astype(np.float32)), RATE).value for s in (whole, ramp * whole)
    )
    assert dip is not None and gap is not None and dip > -1 and (gap < -4 or hz < 100)


@pytest.mark.parametrize("hz", [110.0, 330.0, 880.0])
def test_a_gap_is_told_from_the_silence_between_hits(hz: float) -> None:
    hits = planted.placed(np.arange(0, 2, 0.25), [planted.burst(seconds=0.2)], 2.0)
    humming = np.roll(hits + 0.3 * _steady(hz), 5_000)
    ramp = np.clip(np.minimum(np.arange(len(hits)), np.arange(len(hits))[::-1]) / 220, 0, 1)
    for sound, is_gap in ((hits, False), (humming, False), (ramp * humming, True)):
        found = ends.seam_dip(stereo(sound.astype(np.float32)), RATE).value
        assert found is not None and (found < -4) is is_gap

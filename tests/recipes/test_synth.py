import re
from dataclasses import replace

import numpy as np
import pytest

from recipes.tiny import synth
from recipes.tiny.synth import Sound, caption, clip, draw_sound, numeric_value, render

LOOPS = tuple(kind for kind in synth.KINDS if synth.family_of(kind) == "drums")
INSTRUMENTS = tuple(kind for kind in synth.KINDS if synth.family_of(kind) == "note")
FILLING = (*INSTRUMENTS, "rain", "wind", "ocean", "static", "fire", "stream", "tone_riser")
FILLING = tuple(kind for kind in FILLING if kind not in ("pluck", "bell", "electric_piano"))
FILLING += (
    "car_idle",
    "motorcycle",
    "electric_hum",
    "fan",
    "helicopter",
    "police_siren",
    "two_tone_alarm",
)
WORD = re.compile(r"[a-z]#?\d|[a-z&][a-z&'-]*|\d+")


def sound_of(kind: str, *descriptors: str, seconds: float = 3.0, **values: float | str) -> Sound:
    return replace(
        Sound(synth.family_of(kind), kind, seconds, None, None, None, descriptors), **values
    )


def any_sound(kind: str, *descriptors: str, seconds: float = 3.0) -> Sound:
    values = {"bpm": 120.0} if kind in LOOPS else {}
    if kind in INSTRUMENTS:
        values = {"note": "A3", "hz": 220.0}
    return sound_of(kind, *descriptors, seconds=seconds, **values)


def rendered(sound: Sound, seed: int = 0) -> np.ndarray:
    return render(sound, np.random.default_rng(seed))


def words(text: str) -> tuple[str, ...]:
    """Words in lower case, without punctuation, every number and note replaced by one token."""
    return tuple("#" if numeric_value(word) else word for word in WORD.findall(text.lower()))


def stated(text: str) -> list[float]:
    return [value for word in WORD.findall(text.lower()) if (value := numeric_value(word))]


def captioned(rng: np.random.Generator, count: int, held_out: bool) -> list[tuple[Sound, str]]:
    sounds = [draw_sound(rng, held_out=held_out) for _ in range(count)]
    return [(sound, caption(sound, rng, held_out=held_out)) for sound in sounds]


@pytest.fixture(scope="module")
def training() -> list[tuple[Sound, str]]:
    return captioned(np.random.default_rng(1), 5_000, held_out=False)


@pytest.fixture(scope="module")
def evaluation() -> list[tuple[Sound, str]]:
    return captioned(np.random.default_rng(2), 1_200, held_out=True)


def test_numbers_and_notes_have_values_and_other_words_none():
    assert numeric_value("128") == 128.0
    assert numeric_value("F#3") == numeric_value("f#3") == pytest.approx(184.997, abs=1e-3)
    assert numeric_value("a4") == 440.0
    assert numeric_value("Gb3") == numeric_value("F#3")
    assert numeric_value("C4") == pytest.approx(261.626, abs=1e-3)
    for word in ("a", "bpm", "h4", "c", "#", "4/4", "", "128,", "hi-hat"):
        assert numeric_value(word) is None


def test_a_note_of_no_scale_is_refused():
    with pytest.raises(ValueError, match="not a note name"):
        synth.note_hz("H4")
    assert [synth.midi_number(synth.note_name(midi)) for midi in range(12, 120)] == list(
        range(12, 120)
    )


@pytest.mark.parametrize("kind", synth.KINDS)
def test_every_kind_renders_its_exact_length_within_full_scale(kind):
    words = [word for axis in synth.axes_of(kind) for word in axis]
    for seconds, descriptors in ((3.37, ()), (0.8, ()), *((0.81, (word,)) for word in words)):
        waveform = rendered(any_sound(kind, *descriptors, seconds=seconds))
        assert waveform.shape == (2, round(seconds * synth.SAMPLE_RATE))
        assert waveform.dtype == np.float32
        assert 0.09 < np.abs(waveform).max() <= 0.9501


def test_a_seed_is_a_clip():
    first, again, other, held_out = clip(5), clip(5), clip(6), clip(5, held_out=True)
    assert (first.caption, first.sound) == (again.caption, again.sound)
    assert np.array_equal(first.waveform, again.waveform)
    assert first.sound != other.sound
    assert first.sound != held_out.sound


def test_lengths_stay_in_the_range_that_is_asked_for():
    rng = np.random.default_rng(0)
    for low, high in ((0.8, 6.6), (1.0, 1.5), (3.0, 3.0), (6.0, 6.6)):
        assert all(low <= draw_sound(rng, (low, high)).seconds <= high for _ in range(300))


def test_families_have_their_shares_and_every_kind_occurs(training):
    kinds = [sound.kind for sound, _ in training]
    families = [sound.family for sound, _ in training]
    assert set(kinds) == set(synth.KINDS)
    assert families.count("drums") / len(families) == pytest.approx(0.28, abs=0.02)
    assert families.count("note") / len(families) == pytest.approx(0.32, abs=0.02)


def test_descriptors_never_contradict_each_other(training):
    for sound, _ in training:
        axes = synth.axes_of(sound.kind)
        assert all(len(set(axis) & set(sound.descriptors)) <= 1 for axis in axes)
        assert set(sound.descriptors) <= {word for axis in axes for word in axis}


def test_captions_state_tempo_and_pitch_and_no_other_number(training, evaluation):
    for sound, text in training + evaluation:
        value = sound.bpm or sound.hz
        assert stated(text) == ([] if value is None else [pytest.approx(value)]), text


def test_captions_are_varied_and_their_articles_right(training):
    assert len({text for _, text in training}) > 4_000
    text = "\n".join(text for _, text in training)
    assert not re.search(r"\b[Aa] ([aeio]|[AEFaef]#?\d|8\d)", text)
    assert not re.search(
        r"\b[Aa]n ([bcdgBCDG]#?\d|one|[bcdfgjklmpqrstvwxz][a-z]|[1-7]\d)",
        text.replace("an 118", ""),
    )
    assert not re.search(r"[~{}]|  |[A-G]b\d", text)


@pytest.mark.parametrize(
    ("sound", "prompt"),
    [
        (sound_of("house_loop", bpm=128.0), "128 BPM tech house drum loop"),
        (sound_of("hammer_wood"), "The sound of a hammer hitting a wooden surface."),
    ],
)
def test_the_prompts_of_the_model_card_are_training_captions(sound, prompt):
    rng = np.random.default_rng(0)
    assert any(caption(sound, rng) == prompt for _ in range(6000))


def test_held_out_values_are_disjoint(training, evaluation):
    for drawn, held_out in ((training, False), (evaluation, True)):
        for sound, _ in drawn:
            if sound.bpm is not None:
                assert (sound.bpm % 7 == 3) == held_out
            elif sound.note is not None:
                assert (sound.note in synth.HELD_OUT_NOTES) == held_out
            elif sound.hz is not None:
                assert (sound.hz % 5 == 2) == held_out
                assert 65 <= sound.hz <= 2000


def test_instruments_in_hz_stay_away_from_the_notes_of_the_evaluation(training):
    reserved = [synth.note_hz(note) for note in synth.HELD_OUT_NOTES]
    tones = ("sine_tone", "square_tone", "saw_tone")
    stated = [s.hz for s, _ in training if s.hz and s.note is None and s.kind not in tones]
    assert len(stated) > 100
    assert min(abs(12 * np.log2(hz / note)) for hz in stated for note in reserved) >= 0.2


def test_held_out_wordings_are_disjoint_but_their_words_are_known(training, evaluation):
    seen = {words(text) for _, text in training}
    asked = {words(text) for _, text in evaluation}
    assert not seen & asked
    assert {word for text in asked for word in text} <= {word for text in seen for word in text}


def beats_per_minute(waveform: np.ndarray, near: float) -> float:
    """Tempo within 15 % of `near` whose multiples of a beat correlate best in the rises of the spectrum."""
    hop, size = 128, 1024
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform.sum(0), size // 2), size)[
        ::hop
    ]
    level = np.log1p(100 * np.abs(np.fft.rfft(frames * np.hanning(size)))).sum(1)
    rises = np.maximum(np.diff(level), 0)
    rises -= rises.mean()
    spectrum = np.abs(np.fft.rfft(rises, 2 * len(rises))) ** 2
    match = np.fft.irfft(spectrum)[: len(rises)] / np.arange(len(rises), 0, -1)
    tempi = np.arange(0.85, 1.15, 0.0025) * near
    lags = 60 / tempi[:, None] * np.arange(1, 4) * synth.SAMPLE_RATE / hop
    return float(tempi[np.interp(lags, np.arange(len(match)), match).sum(1).argmax()])


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("bpm", [73.0, 128.0, 174.0])
def test_the_tempo_can_be_measured(kind, bpm):
    waveform = rendered(sound_of(kind, seconds=6.0, bpm=bpm))
    assert beats_per_minute(waveform, bpm) == pytest.approx(bpm, rel=0.01)
    assert np.abs(waveform[:, :2000]).max() > 0.2 * np.abs(waveform).max()


def fundamental(waveform: np.ndarray) -> float:
    """Frequency of the first nearly highest autocorrelation peak of the last half second."""
    part = waveform.sum(0)[-synth.SAMPLE_RATE // 2 :]
    match = np.fft.irfft(np.abs(np.fft.rfft(part, 2 * len(part))) ** 2)[:1000]
    match /= np.arange(len(part), len(part) - 1000, -1)
    middle = match[1:-1]
    peaks = 1 + np.flatnonzero((middle > match[:-2]) & (middle >= match[2:]))
    lag = next(k for k in peaks if match[k] > 0.8 * match[peaks].max())
    before, here, after = match[lag - 1 : lag + 2]
    return synth.SAMPLE_RATE / (lag + (before - after) / 2 / (before - 2 * here + after))


@pytest.mark.parametrize("kind", INSTRUMENTS)
@pytest.mark.parametrize("note", ["C3", "F#3", "B3", "E5"])
def test_the_pitch_can_be_measured(kind, note):
    hz = synth.note_hz(note)
    found = fundamental(rendered(sound_of(kind, seconds=1.5, note=note, hz=hz)))
    assert 1200 * abs(np.log2(found / hz)) < 20


@pytest.mark.parametrize("kind", FILLING)
def test_sustained_kinds_sound_until_the_end(kind):
    power = np.square(rendered(any_sound(kind, seconds=4.0))).sum(0)
    tail = power[-8820:-2205].mean()
    assert tail > 0.05 * power.mean()
    assert power[-20:].max() < 0.001 * power.max()


@pytest.mark.parametrize("kind", ["kick", "snare", "closed_hat", "clap", "tom", "cowbell"])
def test_hits_start_at_once_and_decay(kind):
    level = np.abs(rendered(any_sound(kind, "dry", seconds=2.5))).max(0)
    assert level[:2205].max() > 0.5 * level.max()
    assert level[-22050:].max() < 0.01 * level.max()


def centroid(waveform: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(waveform.sum(0))) ** 2
    return float(
        (power * np.fft.rfftfreq(waveform.shape[1], 1 / synth.SAMPLE_RATE)).sum() / power.sum()
    )


def with_word(kind: str, word: str) -> np.ndarray:
    return rendered(any_sound(kind, word))


def test_level_and_place_are_audible():
    assert (
        np.abs(with_word("organ", "soft")).max()
        < 0.16
        < 0.85
        < np.abs(with_word("organ", "loud")).max()
    )
    left, right = (np.square(with_word("bell", word)).sum(1) for word in ("left", "right"))
    assert left[0] > 10 * left[1]
    assert right[1] > 10 * right[0]
    for kind in ("house_loop", "pad", "rain", "organ"):
        wide, plain, mono = (with_word(kind, w) for w in ("wide", "", "mono"))
        widths = [np.square(w[0] - w[1]).sum() / np.square(w).sum() for w in (wide, plain, mono)]
        assert widths[0] > 2 * widths[1] > 0
        assert widths[2] == 0


@pytest.mark.parametrize("kind", ["organ", "bass", "static", "rock_loop", "snare", "pluck"])
def test_brightness_is_audible(kind):
    assert (
        centroid(with_word(kind, "bright"))
        > 1.15 * centroid(with_word(kind, ""))
        > 1.3 * centroid(with_word(kind, "dark"))
    )


@pytest.mark.parametrize("kind", ["snare", "door_knock", "hammer_wood"])
def test_reverberation_is_audible(kind):
    def late(word: str) -> float:
        power = np.square(rendered(any_sound(kind, word, "slow", seconds=0.9))).sum(0)
        return power[17640:].sum() / power.sum()

    assert late("reverberant") > 3 * late("dry")


@pytest.mark.parametrize(
    "kind", ["door_knock", "hammer_wood", "footsteps_wood", "beep_alarm", "bird", "frog"]
)
def test_speed_is_audible(kind):
    def events(word: str) -> int:
        level = np.abs(rendered(any_sound(kind, word, seconds=6.0))).max(0)[
            : 44100 * 6 // 441 * 441
        ]
        loud = level.reshape(-1, 441).max(1) > 0.35 * level.max()
        return int((loud[1:] & ~loud[:-1]).sum())

    assert events("slow") < 0.8 * events("") < 0.64 * events("fast")


@pytest.mark.parametrize("kind", ["tom", "cowbell", "bird", "frog", "beep_alarm", "electric_hum"])
def test_register_is_audible(kind):
    assert (
        centroid(with_word(kind, "low"))
        < 0.85 * centroid(with_word(kind, ""))
        < 0.75 * centroid(with_word(kind, "high"))
    )


def test_distortion_is_audible():
    for kind in ("bass", "house_loop", "kick"):
        peak_to_mean = [
            np.abs(w).max() / np.sqrt(np.square(w).mean())
            for w in (with_word(kind, "distorted"), with_word(kind, ""))
        ]
        assert peak_to_mean[0] < 0.9 * peak_to_mean[1]

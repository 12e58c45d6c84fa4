"""The corpus of the embedded model: what is drawn can be played, is what it is called, and is the same every time."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.controls.prompt import read_prompt
from recipes.embedded.corpus import Corpus, Library, Played, sounds
from recipes.embedded.corpus.captions import caption, chord_name, number_words
from recipes.embedded.corpus.check import deviation
from recipes.embedded.corpus.fonts import FONTS, Event, Preset, player
from recipes.embedded.corpus.scores import (
    QUALITIES,
    Part,
    Register,
    chord_keys,
    guitar_keys,
    phrase,
)
from recipes.embedded.corpus.sounds import drums, groups, instruments, loop_events
from recipes.embedded.corpus.stage import staged
from recipes.tiny.synth.captions import articles
from recipes.tiny.synth.pitch import midi_number, note_hz, note_name
from recipes.tiny.synth.signals import SAMPLE_RATE

has_fonts = all(path.is_file() for path in FONTS.values())
try:
    import fluidsynth
except ImportError:
    fluidsynth = None
needs_fonts = pytest.mark.skipif(
    not has_fonts or fluidsynth is None, reason="fluidsynth or its SoundFonts are not there"
)


def drawn(count: int, *, held_out: bool = False) -> list[Played]:
    rng = np.random.default_rng(3)
    draws = (sounds.draw_instrument, sounds.draw_loop, sounds.draw_hit)
    return [draws[i % 3](rng, held_out=held_out) for i in range(count)]


def test_tables_agree_with_each_other() -> None:
    keys, kits = drums()["keys"], drums()["kits"]
    for one in instruments().values():
        assert one["group"] in groups()
        low, high = (midi_number(note) for note in one["range"])
        assert 20 <= low < high <= 108
        for preset in (*one["presets"], *one.get("held_out", ())):
            Preset.parse(preset)
        assert not set(one["presets"]) & set(one.get("held_out", ()))
    for style in drums()["styles"].values():
        assert set(style["kits"]) <= kits.keys()
        voices = style.keys() & keys.keys()
        assert voices
        for voice in voices:
            assert all(re.fullmatch(r"[0-9.]{16}", bar) for bar in style[voice]), voice
    for name, hit in drums()["hits"].items():
        assert name in keys
        assert set(hit["kits"]) <= kits.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chord: A augmented | Instrument: strings", "Chord: A augmented | Instrument: strings"),
        ("a A augmented organ chord", "an A augmented organ chord"),
        ("a Aaug organ chord and an piano", "an Aaug organ chord and a piano"),
    ],
)
def test_the_root_of_a_chord_is_no_article(text: str, expected: str) -> None:
    assert articles(text) == expected


def test_sounds_are_of_their_side_and_come_back_from_json() -> None:
    corpus = Corpus()
    for held_out in (False, True):
        for sound in drawn(300, held_out=held_out):
            assert corpus.of_json(json.loads(json.dumps(corpus.to_json(sound)))) == sound
            if sound.bpm is not None:
                assert (sound.bpm % 7 == 3) == held_out
            if sound.form in ("loop", "hit"):
                kit = drums()["kits"][sound.kind.split("/")[1]]
                assert sound.preset in kit["held_out" if held_out else "presets"]
            else:
                one = instruments()[sound.kind]
                assert sound.preset in one["held_out" if held_out else "presets"]
            assert 0.5 <= sound.seconds <= sounds.LONGEST


def test_every_note_of_an_instrument_is_trained_on_or_held_out_and_none_is_held_out_on_all() -> (
    None
):
    rng = np.random.default_rng(4)
    heard: dict[bool, set[tuple[str, str]]] = {False: set(), True: set()}
    for held_out in heard:
        for _ in range(4_000):
            sound = sounds.draw_instrument(rng, held_out=held_out)
            if sound.note is not None:
                heard[held_out].add((sound.kind, sound.note))
    assert not heard[True] & heard[False]
    for kind in {kind for kind, _ in heard[True]}:
        low, high = (midi_number(note) for note in instruments()[kind]["range"])
        own = [note_name(key) for key in range(low, high + 1)]
        reserved = [note for note in own if sounds.note_is_held_out(kind, note)]
        assert 0.1 < len(reserved) / len(own) < 0.2
    every_note = {note_name(key) for key in range(midi_number("C2"), midi_number("C6") + 1)}
    assert every_note <= {note for _, note in heard[False]}


def test_captions_state_what_is_played() -> None:
    rng = np.random.default_rng(5)
    stated: Counter[bool] = Counter()
    for sound in drawn(600):
        text = caption(sound, rng, bare=False)
        assert "{" not in text
        assert "~" not in text
        said = read_prompt(text)
        if sound.bpm is not None:
            assert said.tempo is not None, text
            assert said.tempo.value == pytest.approx(sound.bpm), text
        if sound.note is not None:
            stated[(said.note or said.frequency) is not None] += 1
            if said.frequency is not None:
                assert abs(1200 * np.log2(said.frequency.value / note_hz(sound.note))) < 25, text
            elif said.note is not None:
                assert said.note.value.hz == pytest.approx(note_hz(sound.note)), text
    assert stated[True] > 0.95 * stated.total()


@pytest.mark.parametrize("held_out", [False, True])
def test_bare_captions_state_one_value_or_none_and_no_other(held_out: bool) -> None:
    rng = np.random.default_rng(6)
    silent = 0
    for sound in drawn(600):
        text = caption(sound, rng, held_out=held_out, plain=True, bare=True)
        assert "{" not in text
        assert "~" not in text
        said = read_prompt(text)
        assert said.note is None and said.frequency is None, text
        if said.tempo is not None:
            assert said.key is None, text
            assert said.tempo.value == pytest.approx(sound.bpm), text
        silent += said.tempo is None and said.key is None
    assert silent >= 450


def test_a_quarter_of_captions_is_bare() -> None:
    rng = np.random.default_rng(7)
    loops = [sound for sound in drawn(3_000) if sound.form == "loop"]
    timeless = sum(read_prompt(caption(sound, rng)).tempo is None for sound in loops)
    assert 0.1 < timeless / len(loops) < 0.3
    held_out = [sound for sound in drawn(3_000, held_out=True) if sound.form == "loop"]
    assert all(read_prompt(caption(sound, rng, held_out=True)).tempo for sound in held_out)


def test_numbers_and_chords_are_written_as_people_do() -> None:
    assert [number_words(n) for n in (7, 20, 96, 100, 128)] == [
        "seven",
        "twenty",
        "ninety-six",
        "one hundred",
        "one hundred twenty-eight",
    ]
    names = {chord_name(0, "minor", np.random.default_rng(i)) for i in range(40)}
    assert names == {"C minor", "Cm", "Cmin"}


@pytest.mark.parametrize("quality", list(QUALITIES))
def test_chords_have_their_tones_and_lie_where_the_instrument_plays(quality: str) -> None:
    register = Register(40, 84)
    for root in range(12):
        wanted = {(root + step) % 12 for step in QUALITIES[quality]}
        for keys in (chord_keys(root, quality, register), guitar_keys(root, quality, register)):
            assert {key % 12 for key in keys} == wanted
            assert keys[0] % 12 == root
            assert register.low <= keys[0] <= register.high


def test_phrases_stay_in_key_and_register() -> None:
    rng = np.random.default_rng(1)
    register = Register(55, 84)
    for root in range(12):
        events = phrase(Part(root, "minor", 120.0, 6.0, 90, register), rng)
        scale = {(root + step) % 12 for step in (0, 2, 3, 5, 7, 8, 10)}
        assert {event.key % 12 for event in events} <= scale
        assert all(register.low <= event.key <= register.high for event in events)


def test_loops_keep_their_tempo() -> None:
    rng = np.random.default_rng(2)
    for sound in drawn(90):
        if sound.form != "loop" or sound.bpm is None:
            continue
        step = 15.0 / sound.bpm
        late = [event.onset / step % 1 for event in loop_events(sound, rng)]
        straight = [one for one in late if min(one, 1 - one) < 1e-6]
        assert len(straight) >= 0.4 * len(late)  # the others are swung
        assert all(event.onset < sound.seconds + step for event in loop_events(sound, rng))


def test_loops_are_the_same_in_every_process() -> None:
    """A set's order depends on the process: nothing may be drawn in it."""
    program = (
        "import numpy as np; from recipes.embedded.corpus import sounds; rng = np.random.default_rng(1); "
        "print([sounds.loop_events(sounds.draw_loop(rng), rng) for _ in range(20)])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_the_stage_does_what_descriptors_say() -> None:
    rng = np.random.default_rng(0)
    mono = np.tile(rng.standard_normal(SAMPLE_RATE).astype(np.float32), (2, 1))

    def level(channel: np.ndarray) -> float:
        return 20 * np.log10(np.sqrt(np.mean(np.square(channel))))

    left = staged(mono, frozenset(["left"]), rng)
    assert level(left[0]) - level(left[1]) == pytest.approx(14, abs=1)
    wide = staged(mono, frozenset(["wide"]), rng)
    ratio = level((wide[0] - wide[1]) / 2) - level((wide[0] + wide[1]) / 2)
    assert ratio == pytest.approx(-3.1, abs=0.5)
    flat = staged(mono, frozenset(["mono"]), rng)
    assert np.array_equal(flat[0], flat[1])
    soft, loud = (staged(mono, frozenset([word]), rng) for word in ("soft", "loud"))
    assert np.abs(soft).max() < 0.17 < 0.85 < np.abs(loud).max() <= 0.951


def test_recordings_are_named_and_varied(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(48_000) / 48_000 * 2 * np.pi * 440).astype(np.float32)
    for name in ("dog.wav", "strum.wav"):
        soundfile.write(tmp_path / name, np.pad(tone, (9_600, 4_800)), 48_000)
    table = tmp_path / "table.csv"
    table.write_text(
        'path,caption,license\ndog.wav,dog,CC0-1.0\nstrum.wav,"guitar strum, G sharp minor7b5 chord, up-stroke",CC-BY-3.0\n'
    )
    library = Library(table)
    texts = {library.draw(rng).text for _ in range(60)}
    assert any("barking" in text for text in texts)
    assert any("G# minor 7b5" in text and "upstroke" in text for text in texts)
    corpus = Corpus(library)
    for _ in range(20):
        sound = library.draw(rng)
        assert corpus.of_json(json.loads(json.dumps(corpus.to_json(sound)))) == sound
        waveform = corpus.render(sound, rng)
        assert waveform.shape == (2, round(sound.seconds * SAMPLE_RATE))
        assert np.abs(waveform[:, :441]).max() > 0.005  # the silence before it is cut off


@needs_fonts
def test_fonts_play_the_same_whatever_was_played_before() -> None:
    piano, events = Preset.parse("fluid:0:0"), [Event(0.0, 0.5, 60, 100)]
    first = player().play(piano, events, 0.8)
    player().play(Preset.parse("fluid:0:89"), [Event(0.0, 5.0, 50, 127)], 1.001)
    assert np.array_equal(player().play(piano, events, 0.8), first)


@needs_fonts
def test_threads_that_play_at_once_do_not_hear_each_other() -> None:
    piano = Preset.parse("fluid:0:0")

    def chord(root: int) -> np.ndarray:
        events = [Event(0.0, 0.5, root + step, 100) for step in (0, 4, 7)]
        return player().play(piano, events, 0.8)

    roots = range(40, 72)
    alone = [chord(root) for root in roots]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(chord, roots))
    assert all(map(np.array_equal, alone, together))


@needs_fonts
def test_every_preset_is_there_and_sounds() -> None:
    rng = np.random.default_rng(4)
    names = [
        p for one in instruments().values() for p in (*one["presets"], *one.get("held_out", ()))
    ]
    names += [p for kit in drums()["kits"].values() for p in (*kit["presets"], *kit["held_out"])]
    assert [name for name in names if player().name(Preset.parse(name)) is None] == []
    for sound in drawn(60):
        assert np.abs(sounds.play(sound, rng)).max() > 0.003, sound


def test_a_pitch_is_measured_to_a_few_cents_and_its_absence_is_told() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for key in (33, 60, 84, 100):
        for cents in (-45.0, 0.0, 20.0):
            hz = note_hz_of(key) * 2 ** (cents / 1200)
            tone = sum(np.sin(2 * np.pi * hz * n * time) / n for n in (1, 2, 3))
            found = deviation(np.stack([tone, tone]).astype(np.float32), key)
            assert found is not None and abs(found - cents) < 5
    noise = np.random.default_rng(0).standard_normal((2, SAMPLE_RATE)).astype(np.float32)
    assert deviation(noise, 60) is None
    third = np.sin(2 * np.pi * note_hz_of(64) * time)
    assert deviation(np.stack([third, third]).astype(np.float32), 60) is None


def test_presets_that_do_not_sound_as_named_are_not_drawn() -> None:
    left_out = tomllib.loads(sounds.LEFT_OUT.read_text("utf-8"))
    every = {
        p
        for one in sounds.every_instrument().values()
        for p in (*one["presets"], *one.get("held_out", ()))
    }
    kept = {
        p for one in instruments().values() for p in (*one["presets"], *one.get("held_out", ()))
    }
    assert left_out and left_out.keys() <= every
    assert kept == every - left_out.keys()
    assert all(one["presets"] and one.get("held_out", [1]) for one in instruments().values())


def note_hz_of(key: int) -> float:
    return 440.0 * 2 ** ((key - 69) / 12)

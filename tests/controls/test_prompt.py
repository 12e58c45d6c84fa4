"""What the parser reads of prompts, and what it must not read. Each line is a prompt and all that it states."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.controls.notes import PITCH_CLASSES, Key, Mode, Note, note_name
from auralith.controls.prompt import Stated, read_prompt
from recipes.tiny.synth import caption, draw_sound

PHRASES = """
house loop at 120 bpm => tempo 120, loop
house at 92.5 BPM => tempo 92.5
house at 92,5 BPM => tempo 92.5
120BPM techno => tempo 120
120-bpm techno => tempo 120
120, bpm, beat, Drums, blues, loop. => tempo 120, loop
BPM: 128 | Genre: house => tempo 128
bpm=90 => tempo 90
a groove, tempo 140 => tempo 140
Tempo: 140 => tempo 140
tempo of around 75, piano => tempo 75
tempo is 180 => tempo 180
drums at 100 beats per minute => tempo 100
drums at 100 beats/min => tempo 100
ninety bpm boom bap => tempo 90
one hundred and twenty bpm => tempo 120
a hundred bpm => tempo 100
♩=96 march => tempo 96
quarter note = 96 => tempo 96
tempo 120 BPM, a drum loop => tempo 120, loop
Genre: hip-hop | Tempo: 83 BPM | Format: beat => tempo 83
TR-808 kick at 140 bpm => tempo 140
140 bpm 808 beat => tempo 140
140 bpm 303 acid line => tempo 140
174 BPM 4/4 drum and bass => tempo 174
house-120bpm => tempo 120
loop_120bpm_Am => tempo 120
fast tempo, 1980s synth pop =>
mid tempo 808 beats =>
mid tempo 303 acid =>
uptempo 80s synthwave =>
tempo 3/4 => beats 3
tempo 20% faster =>
tempo 30 seconds =>
3000 bpm =>
1 bpm =>
bpm =>
128 kbps mp3 =>
120-130 bpm => conflict tempo
120 to 130 bpm house => conflict tempo
120 bpm, then 90 bpm => conflict tempo
120 bpm techno, tempo 120 => tempo 120
no 120 bpm loop => loop
not 120 bpm =>
the heart beats 60 times per minute =>
a beat =>
piano in A minor => key A minor
piano in a minor => key A minor
piano in C# major => key C# major
piano in C♯ major => key C# major
piano in Db major => key C# major
piano in E♭ minor => key D# minor
piano in Eb => key D#
piano in Eb, slow => key D#
piano in F# => key F#
piano in G => key G
piano in G. => key G
strings in D at 90 bpm => key D, tempo 90
key of D => key D
in the key of G => key G
in the key of a minor => key A minor
key: F# => key F#
Key: C minor | BPM: 85 => key C minor, tempo 85
KEY: A MINOR => key A minor
key=Am => key A minor
key: Am => key A minor
C minor pad => key C minor
a C minor pad => key C minor
c minor pad => key C minor
f# minor arpeggio => key F# minor
Amin pad => key A minor
A min pad => key A minor
Cmaj pad => key C major
C maj pad => key C major
A-minor pad => key A minor
A minor piano ballad => key A minor
A major scale => key A major
F♯m => key F# minor
guitar riff, F#m, 120 bpm => key F# minor, tempo 120
guitar riff in Am => key A minor
guitar riff, Bbm => key A# minor
Em, slow => key E minor
Scale, clarinet, Asharpmajor, neumann-U87, good-sounds. => key A# major
clarinet in A sharp major => key A# major
clarinet in A-sharp major => key A# major
Csharp minor => key C# minor
violin in B flat major => key A# major
violin in B-flat minor => key A# minor
violin in b flat minor => key A# minor
Cb major => key B major
E aeolian => key E minor
C moll => key C minor
music in A major. => key A major
music in A major at 100 bpm => key A major, tempo 100
C major, then A minor => conflict key
in C, C major => key C major
a minor accident =>
A minor earthquake =>
a minor chord progression =>
a major explosion =>
A major explosion =>
there was a minor problem =>
in a minor key =>
sad song in a minor key =>
A minor key melody =>
a major city at night =>
in a major city =>
the traffic of a major road =>
hello world in C =>
written in C the language =>
a program in C, compiled =>
keyboard typing, coding in C# =>
in C the language =>
footsteps in a room =>
in A big room =>
walking in a flat =>
I Am here =>
I am here =>
8 AM alarm =>
8 am alarm =>
FM radio =>
AM radio =>
5 Cm of rain =>
in D dorian =>
C major chord =>
an A minor chord =>
A minor chords =>
Cmaj7 =>
Dm7 G7 Cmaj7 =>
Am F C G =>
Am - F - C - G progression =>
Am7, D7, Gmaj7 =>
C-G-Am-F loop => loop
Dm7 chord =>
D minor seventh chord =>
A chord =>
plan B =>
vitamin D =>
grade A beef sizzling =>
section in B =>
on a C shaped bench =>
a D string broke =>
not in C minor =>
bass C3 => note C3
note A4 => note A4
bass, c3 => note C3
the note F#3 played on a bell => note F#3
the note f#3 => note F#3
a Bb2 tuba => note A#2
a B♭2 tuba => note A#2
E♭5 flute => note D#5
C sharp 4 => note C#4
B flat 2 tuba => note A#2
Csharp4 => note C#4
Cb4 => note B3
B#3 => note C4
middle C on a piano => note C4
middle-C => note C4
Note: C#5 | Instrument: bell => note C#5
pitch D4, played on a flute => note D4
a low bell, note A2 => note A2
a single piano note, C4 => note C4, count 1
a 4 second bass C2 => note C2, seconds 4
musical note A => note A
the note E. => note E
the note of a held by strings => note A
the note A held long => note A
a note of a held trombone =>
A NOTE OF A HELD TROMBONE =>
the pitch of a played string =>
note: F# | Instrument: organ => note F#
the note A, A4 => note A4
A4. => note A4
(A4) => note A4
a A4 organ => note A4
C7 bell => note C7
A0 => note A0
C4 to E4 => conflict note
C4-E4 => conflict note
a 7 second A3 drone => note A3, seconds 7
a chord of C4, E4 and G4 => conflict note
A4 paper being torn =>
a sheet of A4 paper =>
A4 sheets =>
C4 explosive =>
a C4 explosion =>
C4 charge detonating =>
Hammond B3 organ =>
Audi A4 passing by =>
F1 car =>
an F1 race car =>
formula F1 =>
B2 bomber =>
F16 jet =>
B52 flyover =>
A1 highway =>
highway A4 traffic =>
G7 chord =>
E7 chord stab =>
C5 power chord =>
jazz chords, E7 and A7 =>
a D6 dice roll =>
rolling a d6 die =>
MP3 =>
mp3 file =>
M4A =>
S3 bucket =>
U2 =>
DX7 piano =>
Juno-106 pad =>
808 kick =>
TR-808 =>
TR-909 hats =>
Korg M1 piano =>
C64 chiptune =>
B2B =>
d3.js =>
F5 tornado =>
vitamin B6 =>
channel C4 =>
Room A4 =>
pawn to e4 =>
size A3 =>
take note a change =>
a note =>
a note on a bell =>
tuned to A4 = 440 Hz =>
tuned to A=440 Hz =>
A4=432 =>
440 Hz sine => hz 440
440Hz sine => hz 440
a 440 hz tone => hz 440
1 kHz tone => hz 1000
1kHz tone => hz 1000
1.5 kHz tone => hz 1500
1,000 Hz tone => hz 1000
1k Hz tone => hz 1000
440 hertz => hz 440
10 kilohertz whistle => hz 10000
440-Hz tone => hz 440
1000Hz 48k sample rate MP3. => hz 1000
1000Hz 48k sample rate MP3 => hz 1000
sine at 67 Hz, panned left => hz 67, side left
frequency 440 Hz, a organ => hz 440
Frequency: 440 Hz | Waveform: sine => hz 440
50 Hz mains hum => hz 50
16 kHz tone => hz 16000
8 kHz whistle => hz 8000
44100 Hz sample rate =>
44.1 kHz =>
44.1kHz 16-bit =>
48 kHz 24 bit =>
96 kHz recording =>
16 kHz mono recording => width mono
8000 Hz telephone quality =>
sampled at 8000 Hz =>
sample rate: 16000 Hz =>
sample rate of 22050 Hz =>
low-pass at 500 Hz =>
lowpass filter 500 Hz =>
cutoff 1 kHz =>
filtered above 200 Hz =>
rumble below 100 Hz =>
a sweep from 100 Hz to 1 kHz =>
from 20 Hz to 20 kHz =>
100-200 Hz noise =>
100 to 200 Hz noise =>
between 200 and 400 Hz =>
vibrato at 25 Hz =>
tremolo of 30 Hz =>
LFO at 2 Hz =>
pulsing at 30 Hz =>
5 Hz vibrato =>
432 Hz tuning =>
tuned to 432 Hz =>
2.4 GHz =>
100 MHz =>
3 Hz =>
30 kHz bat =>
440 Hz and 660 Hz =>
a 440 Hz tone, a 660 Hz tone => conflict frequency
24 bit =>
16-bit game =>
4 bars => bars 4
four bars => bars 4
4-bar loop => bars 4, loop
an eight-bar loop => bars 8, loop
a loop of 2 bars at 120 bpm => bars 2, tempo 120, loop
4 bars of drums => bars 4
8 measures => bars 8
bars: 4 => bars 4
4 bars, 3/4 time => bars 4, beats 3
12-bar blues =>
12 bar blues guitar =>
2 bars of gold =>
3 bars of chocolate =>
metal bars =>
sidebar =>
a bar with people =>
2 bar pressure =>
bar 4 =>
4/4 beat => beats 4
a waltz => beats 3
in 6/8 => beats 3
7/8 groove => beats 3.5
in 5/4 time => beats 5
3/4 full glass =>
24/7 alarm =>
three knocks => count 3
three knocks on a door => count 3
three loud door knocks => count 3
5 claps => count 5
five claps => count 5
two gun shots => count 2
two gunshots in a forest => count 2
one snare drum hit => count 1
a single clap => count 1
a single kick drum hit => count 1
single cowbell => count 1
twelve bell tolls => count 12
a dozen beeps => count 12
half a dozen beeps => count 6
a couple of claps => count 2
a pair of dog barks => count 2
two dog barks => count 2
two 808 kicks => count 2
a dog barks twice => count 2
a dog barks three times => count 3
someone knocks on a wooden door three times => count 3
the bell rings 4 times => count 4
someone claps once => count 1
a kick drum is hit once => count 1
a double knock => count 2
triple beep => count 3
four footsteps on gravel => count 4
six hammer hits on wood => count 6
three beeps of an alarm => count 3
3 short beeps, 1000 Hz => count 3, hz 1000
two notes => count 2
the doorbell is played twice => count 2
two claps in 2 seconds => count 2
two knocks, then three claps => conflict count
808 kicks =>
909 claps =>
a bell =>
two knocks per second =>
3 beeps every minute =>
three times faster =>
claps three times faster =>
the third knock =>
second knock =>
once upon a time =>
knocks at once =>
two people clapping =>
three people clap =>
two dogs barking =>
5 guitars =>
a drum one-shot =>
snare one-shot, dry =>
4 on the floor kicks =>
16 step pattern =>
double kick drumming =>
double bass =>
a series of beeps =>
no claps =>
4 channels =>
3D sound =>
a riser over 5 seconds => seconds 5
rain for 2 s => seconds 2
rain for 2s => seconds 2
a beep for 500 ms => seconds 0.5
a beep lasting half a minute =>
three knocks that last 5 seconds => count 3, seconds 5
a two-second beep => seconds 2
a one second kick drum => seconds 1
five second intervals =>
a three second pause =>
a 10 second drone => seconds 10
a 10-second ambient pad => seconds 10
a 5 second drum loop => seconds 5, loop
5 seconds of rain => seconds 5
five seconds of rain => seconds 5
rain, 5 seconds => seconds 5
rain, 2.5 s, quiet => seconds 2.5
duration: 5 s => seconds 5
duration of 3 seconds => seconds 3
thunder lasting 8 seconds => seconds 8
rain for 2 minutes => seconds 120
two minute recording of rain => seconds 120
seconds: 7 => seconds 7
a siren, 3 seconds long => seconds 3
held for thirty seconds => seconds 30
for 30s => seconds 30
a pad over 1.5 seconds => seconds 1.5
80s synth =>
80s, synth, pop =>
90s hip hop loop => loop
1980s drum machine =>
30s jazz =>
a beep every 3 seconds =>
after 3 seconds a dog barks =>
fade out over 3 seconds => out
fades in over 2 s => in
a 2 second delay =>
reverb with a decay of 3 seconds =>
3 second reverb =>
at 5 seconds a bang =>
a pause for 2 seconds =>
the last 2 seconds =>
knocks per second =>
2019 recording =>
in 1999 =>
recorded in 2005 at 3 pm =>
panned left => side left
hard left => side left
panned hard right => side right
pan: left => side left
a dog on the left => side left
a dog, on the right => side right
from the left side => side left
from the right => side right
left channel => side left
in the right speaker => side right
in the right ear => side right
kick, left => side left
kick, center => side center
centered kick => side center
panned center => side center
voice in the center => side center
in the centre of the stereo field => side center
wide stereo => width wide
in wide stereo => width wide
a wide pad => width wide
pad, wide => width wide
stereo, wide => width wide
mono => width mono
in mono => width mono
mono recording of rain => width mono
rain, mono => width mono
monaural => width mono
wide stereo, panned left => width wide, side left
right after the bang =>
right now =>
right away =>
all right =>
alright =>
bright bell =>
copyright =>
left behind =>
he left the room =>
leftover =>
right hand piano =>
left hand arpeggio =>
turn left =>
the car turns to the left =>
a car passes from left to right =>
moving from the left to the right =>
panning between left and right =>
left and right =>
alternating left and right claps =>
ping pong delay, left =>
on the right hand =>
at the right moment =>
a wide river =>
wide open field =>
worldwide =>
wide range of sounds =>
a wide variety =>
monophonic synth =>
mono synth lead =>
monotone =>
monologue =>
city center =>
in the center of the city =>
shopping center =>
center of gravity =>
drum loop => loop
a looping pad => loop
looped rain => loop
seamless rain => loop
loopable texture => loop
rain, loop => loop
no loop =>
not looping =>
one-shot =>
loop pedal =>
fruity loops =>
time loops =>
fade in => in
fades in => in
rain fading in => in
wind fading out => out
fade-out => out
the siren fades away => out
fades to silence => out
fades in and fades out => in, out
crossfade in =>
no fade out =>
without fade in =>
faded jeans =>
silence => silence
Silence. => silence
complete silence => silence
digital silence => silence
the sound of silence => silence
5 seconds of silence => silence, seconds 5
silent track => silence
silent night =>
breaking the silence =>
a bang followed by silence =>
the silence of the lambs =>
a beat at -14 LUFS => loudness -14
-23.5 LUFS, rain => loudness -23.5
−16 LUFS => loudness -16
14 LUFS => loudness -14
-14 dB =>
-3 dBFS peak =>
rain =>
a dog barks =>
Constant rattling noise and sharp vibrations =>
Food is frying, and a woman talks =>
acoustic guitar solo track with consistent rhythm and repeating progression, suitable for a relaxing afternoon tea =>
A deep house loop, 124 BPM, in F minor, 4 bars, wide stereo => tempo 124, key F minor, bars 4, width wide, loop
Format: Solo | Instruments: piano | BPM: 72 | Key: Bb major => tempo 72, key A# major
techno loop 138 bpm C minor 8 bars => tempo 138, key C minor, bars 8, loop
"""


def _words(stated: Stated) -> str:
    """Return all that was read, as the table above has it."""
    told = {
        "tempo": stated.tempo and f"{stated.tempo.value:g}",
        "key": stated.key and stated.key.value.name,
        "note": stated.note and stated.note.value.name,
        "hz": stated.frequency and f"{stated.frequency.value:g}",
        "bars": stated.bars and f"{stated.bars.value:g}",
        "beats": stated.beats_per_bar and f"{stated.beats_per_bar.value:g}",
        "count": stated.count and f"{stated.count.value:g}",
        "seconds": stated.seconds and f"{stated.seconds.value:g}",
        "side": stated.side and stated.side.value,
        "width": stated.width and stated.width.value,
        "loop": stated.loop and "",
        "in": stated.fade_in and "",
        "out": stated.fade_out and "",
        "loudness": stated.loudness and f"{stated.loudness.value:g}",
        "silence": stated.silence and "",
    }
    parts = [f"{name} {value}".strip() for name, value in told.items() if value is not None]
    return ", ".join(sorted([*parts, *(f"conflict {name}" for name in stated.conflicts)]))


LINES = [line.split("=>") for line in PHRASES.strip().splitlines()]


@pytest.mark.parametrize(("prompt", "expected"), LINES, ids=[line[0].strip() for line in LINES])
def test_a_phrase_states_this_and_nothing_else(prompt: str, expected: str) -> None:
    wanted = ", ".join(sorted(part.strip() for part in expected.split(",") if part.strip()))
    assert _words(read_prompt(prompt.strip())) == wanted


SHAPES = {
    "tempo": (
        "{} bpm techno",
        "a loop at {} BPM",
        "tempo {}, jazz",
        "BPM: {} | Genre: rock",
        "{} beats per minute",
    ),
    "frequency": (
        "a {} Hz tone",
        "sine wave, {}Hz",
        "{} hertz",
        "beep at {} Hz, quiet",
        "Frequency: {} Hz | x",
    ),
    "seconds": (
        "rain for {} seconds",
        "a {}-second riser",
        "wind, {} s long",
        "over {} s, a drone",
        "{} seconds of sea",
    ),
    "bars": ("{} bars of drums", "a {}-bar loop", "drums, {} bars", "bars: {}"),
    "count": ("{} knocks", "a dog barks {} times", "{} loud hand claps", "{} beeps, then nothing"),
}


@pytest.mark.parametrize("name", SHAPES)
@given(
    value=st.integers(20, 64), shape=st.integers(0, 4), half=st.booleans(), habit=st.integers(0, 2)
)
def test_every_number_is_read_in_every_shape(
    name: str, value: int, shape: int, half: bool, habit: int
) -> None:
    asked = value + 0.5 if half and name in ("tempo", "frequency", "seconds") else value
    text = SHAPES[name][shape % len(SHAPES[name])].format(asked)
    found = getattr(read_prompt((text, text.lower(), text.upper())[habit]), name)
    assert found is not None and found.value == asked


@given(
    midi=st.integers(12, 107),
    shape=st.sampled_from(("{} bell", "a bass playing {}", "organ, {}.", "the note {}")),
)
def test_every_note_is_read_in_either_case_and_spelling(midi: int, shape: str) -> None:
    name = note_name(midi)
    for spelled in (name, name.lower(), name.replace("#", "♯"), name.replace("#", " sharp ")):
        found = read_prompt(shape.format(spelled)).note
        assert found is not None and found.value == Note(midi % 12, midi // 12 - 1)


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("tonic", range(12))
def test_every_key_is_read_in_every_spelling(tonic: int, mode: Mode) -> None:
    name = PITCH_CLASSES[tonic]
    short = [f"piano, {name}m"] if mode == "minor" else []
    shapes = (
        "strings in {} {}",
        "key: {} {}",
        "techno, {} {}",
        "the key of {} {}, slow",
        "song in {}{}",
    )
    words = [shape.format(name, mode) for shape in shapes]
    words += [text.replace("#", " sharp") for text in words] + [text.upper() for text in words[:4]]
    for text in words + short:
        found = read_prompt(text).key
        assert found is not None and found.value == Key(tonic, mode), text


@given(text=st.text(max_size=80))
def test_any_text_is_read_and_spans_are_its_own(text: str) -> None:
    stated = read_prompt(text)
    for name in stated.names:
        found = getattr(stated, name)
        assert text[found.start : found.stop] == found.text


def test_numbers_alone_state_nothing() -> None:
    for value in (*range(0, 3_000, 23), 44_100, 48_000, 96_000, 808, 909, 303, 1_999, 2_024):
        for text in (
            str(value),
            f"the {value}",
            f"{value} sound",
            f"TR-{value}",
            f"in {value}",
            f"{value} kb",
        ):
            assert read_prompt(text) == Stated(), text


@pytest.mark.parametrize("held_out", [False, True])
def test_captions_of_the_corpus_state_what_their_sounds_are(held_out: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        sound = draw_sound(rng, held_out=held_out)
        text = caption(sound, rng, held_out=held_out)
        stated = read_prompt(text)
        assert (stated.tempo and stated.tempo.value) == sound.bpm, text
        assert (stated.note and stated.note.value.name) == sound.note, text
        if sound.note is None:
            assert (stated.frequency and stated.frequency.value) == (
                sound.hz and round(sound.hz)
            ), text
        assert stated.key is None and stated.bars is None and stated.seconds is None, text
        assert stated.side is None or stated.side.value in sound.descriptors, text
        assert stated.width is None or stated.width.value in sound.descriptors, text
        assert stated.count is None or stated.count.value == 1, text
        assert not stated.conflicts, text

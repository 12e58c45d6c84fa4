"""A synthetic catalogue of any size, since the real lists of commercial music may not be redistributed.

Words come from a vocabulary of invented syllables with Zipf-Mandelbrot frequencies, so that some titles are common and many are
rare, as in real lists; a share of the artists writes with accents or in Cyrillic letters. Every fourth track carries a
qualifier or a guest, and tracks repeat over genres.
"""

import numpy as np

from auralith.curation.metadata.catalogue import Catalogue, Work, collect

_ONSETS = "b br c ch d dr f fl g gr h j k l m n p pr r s sh st t tr v w z".split()
_VOWELS = "a e i o u ai ea ee oo ou".split()
_ENDS = ["", "", "", "n", "r", "s", "l", "t", "m", "nd", "ck", "ll"]
_ACCENTED = str.maketrans("aeiou", "áèîõü")
_CYRILLIC = str.maketrans("abvgdezijklmnoprstufhcw", "абвгдезийклмнопрстуфхцв")
_VOCABULARY = 10_000
_COMMON = "intro outro love untitled home time night interlude you me the a of in".split()
_EXTRAS = (
    " (Live)", " - Remastered 2011", " (Radio Edit)", " - Acoustic Version", " (feat. {})", " ft. {}",
)  # fmt: skip
_TRACKS_PER_ALBUM = 10
_SHIFT = 10
"""Words are drawn with frequency 1 / (rank + shift), so that the commonest is in one phrase of twenty."""
_REPEATED = 0.2
"""Share of the rows that repeat a track under another genre."""


def generate_catalogue(num_rows: int, seed: int) -> Catalogue:
    """Return a catalogue of `num_rows` rows before repeated ones are merged; the same seed gives the same catalogue."""
    rng = np.random.default_rng(seed)
    words = _words(rng)
    num_tracks = max(1, round(num_rows * (1 - _REPEATED)))
    tracks: list[Work] = []
    while len(tracks) < num_tracks:
        tracks += _artist(rng, words, f"{seed}-{len(tracks)}")
    del tracks[num_tracks:]
    repeated = rng.integers(num_tracks, size=num_rows - num_tracks)
    return collect([*tracks, *(tracks[i] for i in repeated)])


def _words(rng: np.random.Generator) -> list[str]:
    made: dict[str, None] = dict.fromkeys(_COMMON)
    while len(made) < _VOCABULARY:
        made[_word(rng)] = None
    return list(made)


def _word(rng: np.random.Generator) -> str:
    onset, vowel, end = (rng.integers(len(parts), size=3) for parts in (_ONSETS, _VOWELS, _ENDS))
    syllables = range(rng.integers(1, 4))
    return "".join(_ONSETS[onset[i]] + _VOWELS[vowel[i]] + _ENDS[end[i]] for i in syllables)


def _artist(rng: np.random.Generator, words: list[str], id: str) -> list[Work]:
    """Return all tracks of one artist, on one to ten albums."""
    script = rng.choice(["plain", "accented", "cyrillic"], p=[0.85, 0.1, 0.05])
    name = _phrase(rng, words, 3, script, rare=True)
    works = []
    for album in range(rng.integers(1, 11)):
        album_name = _phrase(rng, words, 4, script)
        for number in range(rng.integers(1, _TRACKS_PER_ALBUM + 1)):
            title = _phrase(rng, words, 6, script)
            if rng.random() < 0.25:
                title += rng.choice(_EXTRAS).format(_phrase(rng, words, 2, "plain"))
            seconds = round(float(rng.uniform(60, 420)), 3)
            works.append(Work(f"{id}-{album}-{number}", title, name, album_name, seconds))
    return works


def _phrase(
    rng: np.random.Generator, words: list[str], longest: int, script: str, *, rare: bool = False
) -> str:
    count = int(rng.integers(1, longest + 1))
    uniform = rng.random(count)
    ranks = uniform * len(words) if rare else _SHIFT * ((len(words) / _SHIFT + 1) ** uniform - 1)
    text = " ".join(words[int(rank)] for rank in ranks).title()
    if script == "accented":
        return text.translate(_ACCENTED)
    return text.lower().translate(_CYRILLIC).title() if script == "cyrillic" else text

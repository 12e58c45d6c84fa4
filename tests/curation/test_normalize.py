"""Titles and names in one spelling (facts 8.1)."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.curation.metadata.normalize import latin, normalize, normalize_latin, repair


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("15 Defreeze &amp; Top Gal.mp3", "15 defreeze and top gal"),
        ("la valse \u00c3\u00a0 mille echos", "la valse a mille echos"),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ", "full width"),
        ("Café Müller", "cafe muller"),
        ("Cafe\u0301 Mu\u0308ller", "cafe muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("AC/DC", "ac dc"),
        ("The Beatles", "beatles"),
        ("Simon & Garfunkel", "simon and garfunkel"),
        ("  two  spaces　", "two spaces"),
        ("installé·e", "installe e"),
        ("<1", "1"),
        (">CYBERHORRORTRYP", "cyberhorrortryp"),
    ],
)
def test_what_differs_only_in_how_it_was_written_has_one_key(raw: str, key: str) -> None:
    assert normalize(raw).key == key


@pytest.mark.parametrize(
    "good", ["chien•ne errant•e", "Привет", "Ελλάδα", "こんにちは", "107-0¤¤¤0", "naïve"]
)
def test_good_text_is_not_repaired(good: str) -> None:
    assert repair(good) == good


def test_scripts_stay_and_a_second_key_is_in_latin_letters() -> None:
    assert normalize("Чайковский").key == "чаиковскии"
    assert normalize_latin("Чайковский").key == "chaykovskiy"
    assert normalize_latin("Μίκης").key == "mikis"
    assert normalize_latin("ガーデン").key == "gaden"
    assert normalize_latin("Хачатрян Արամ").key == "khachatryan aram"
    assert normalize_latin("Plain").key == "plain"
    assert latin("北京") == "北京"


@pytest.mark.parametrize(
    ("raw", "key", "flags"),
    [
        ("Rain.mp3", "rain", ("suffix",)),
        ("01 - Rain", "rain", ("track_number",)),
        ("3. Rain", "rain", ("track_number",)),
        ("Rain (Remastered 2011)", "rain", ("remaster", "year")),
        ("Rain [Live at the Barn] (Radio Edit)", "rain", ("edit", "live")),
        ("Rain - Remastered 2011", "rain", ("remaster", "year")),
        ("Rain (Someone's Remix)", "rain", ("remix",)),
        ("99 Luftballons", "99 luftballons", ()),
        ("25.juni", "25 juni", ()),
        ("3.14", "3 14", ()),
        ("Live and Let Live", "live and let live", ()),
        ("Rain (in May)", "rain in may", ()),
    ],
)
def test_file_marks_and_qualifiers_become_flags(raw: str, key: str, flags: tuple[str, ...]) -> None:
    found = normalize(raw)
    assert (found.key, found.flags) == (key, flags)


@pytest.mark.parametrize(
    ("raw", "key", "guests"),
    [
        ("Rain feat. Ann & Bo", "rain", ("ann", "bo")),
        ("Rain (ft. Ann)", "rain", ("ann",)),
        ("Rain (feat.Ann)", "rain", ("ann",)),
        ("Eat_Em_Up_(feat._P-Brian)", "eat em up", ("p brian",)),
        ("Rain (with Ann)", "rain", ("ann",)),
        ("Rain feat. Ann (Remix)", "rain", ("ann",)),
        ("Dancing with Ann", "dancing with ann", ()),
        ("Ten 10 ft tall", "ten 10 ft tall", ()),
        ("Left Behind", "left behind", ()),
    ],
)
def test_guests_are_moved_to_a_list(raw: str, key: str, guests: tuple[str, ...]) -> None:
    found = normalize(raw)
    assert (found.key, found.guests) == (key, guests)


@pytest.mark.parametrize("raw", ["(Live)", "feat. Ann", "01.mp3", "The", "(2011)", "Remix"])
def test_nothing_is_stripped_that_would_leave_nothing(raw: str) -> None:
    assert normalize(raw).key


def test_signs_compare_as_themselves_and_nothing_compares_as_nothing() -> None:
    at, minus, nothing = (normalize(raw) for raw in ("@", "-", " "))
    assert at.key == minus.key == ""
    assert at.comparable == "@" != minus.comparable
    assert nothing.comparable == ""


@given(st.text(max_size=60))
def test_any_text_has_a_key_of_single_spaced_words(text: str) -> None:
    key = normalize(text).key
    assert key == " ".join(key.split())
    assert (
        normalize(text.upper().lower()).key == normalize(text.upper().lower().title().lower()).key
    )
    assert normalize_latin(text).key == " ".join(normalize_latin(text).key.split())


@given(st.text(alphabet="abcdeгдеё é", min_size=1, max_size=30))
def test_entities_do_not_change_the_key(text: str) -> None:
    assert normalize(html.escape(f"{text} & x")).key == normalize(f"{text} & x").key

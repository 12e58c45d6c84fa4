"""Whatever surrounds it, a restriction or a denial never passes; what only decorates a license never spoils it.

A choice between licenses ("or") is another matter: see test_license_expressions.
"""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.curation.licenses import LicenseStage, read_license

ACCEPTED = {
    "CC0": "CC0-1.0",
    "CC0 1.0 Universal": "CC0-1.0",
    "https://creativecommons.org/publicdomain/zero/1.0/": "CC0-1.0",
    "CC BY 4.0": "CC-BY-4.0",
    "CC-BY-4.0": "CC-BY-4.0",
    "Creative Commons Attribution 4.0 International": "CC-BY-4.0",
    "https://creativecommons.org/licenses/by/4.0/": "CC-BY-4.0",
    "CC BY 3.0 US": "CC-BY-3.0-US",
    "Attribution 3.0 Norway": "CC-BY-3.0",
    "Attribution": "LicenseRef-CC-BY-unversioned",
    "Sampling+": "LicenseRef-scancode-cc-sampling-plus-1.0",
    "Namensnennung 4.0 International": "CC-BY-4.0",
    "署名 4.0 国际": "CC-BY-4.0",
}
RESTRICTIONS = [
    *(
        "NC",
        "ND",
        "SA",
        "by-nc",
        "CC BY-ND 4.0",
        "non-commercial",
        "NonCommercial",
        "no commercial use",
        "NoDerivs",
    ),
    *(
        "share-alike",
        "all rights reserved",
        "Nicht-kommerziell",
        "Keine Bearbeitungen",
        "non commerciale",
    ),
    *(
        "pas d'utilisation commerciale",
        "Sin Derivadas",
        "NãoComercial",
        "NietCommercieel",
        "użycie niekomercyjne",
    ),
    *(
        "非商业性使用",
        "禁止演绎",
        "非営利",
        "改変禁止",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
]
DENIALS = [
    *(
        "not",
        "no",
        "none",
        "never",
        "without",
        "except",
        "isn't",
        "don't",
        "nicht",
        "kein",
        "keine",
        "non",
        "sans",
        "ne",
    ),
    *(
        "pas",
        "sin",
        "no es",
        "não",
        "nem",
        "niet",
        "geen",
        "bez",
        "nie",
        "不是",
        "不",
        "ない",
        "なし",
        "prohibited",
        "only",
    ),
]
SEPARATORS = st.sampled_from(
    [
        " ",
        ", ",
        " - ",
        "; ",
        "\n",
        "\t",
        " / ",
        " (",
        ") ",
        ": ",
        ". ",
        " and ",
        "\u00a0",
        " | ",
    ]
)
texts = st.sampled_from(list(ACCEPTED))


def verdict(text: str) -> str | None:
    (found,) = LicenseStage().process([{"license_raw": text, "license_url_raw": None}], Path("."))
    return found.verdict


def joined(parts: list[str], separators: list[str]) -> str:
    pairs = zip(parts, [*separators, ""], strict=False)
    return "".join(part + separator for part, separator in pairs)


@given(
    st.lists(texts, max_size=3),
    st.sampled_from([*RESTRICTIONS, *DENIALS]),
    st.lists(texts, max_size=3),
    st.lists(SEPARATORS, min_size=7, max_size=7),
    st.sampled_from([str, str.upper, str.lower, str.title]),
)
def test_no_text_with_a_restriction_or_a_denial_passes(
    before, word, after, separators, case
) -> None:
    written = case(joined([*before, word, *after], separators))
    # "CC BY 3.0 NO" in capitals after one space is Norway's license, the only reading of that word as a grant.
    if case is str.upper and word == "no":
        return
    assert verdict(written) == "refuse", written


@given(
    texts,
    st.sampled_from(RESTRICTIONS),
    st.text("\u200b\u200d\u2060\ufeff\u00ad-_ \u00a0\u2011", max_size=3),
    st.data(),
)
def test_no_spelling_hides_a_restriction(license, word, filler, data) -> None:
    place = data.draw(st.integers(0, len(word)))
    assert verdict(f"{license} {word[:place]}{filler}{word[place:]}") == "refuse"


DECORATIONS = [
    *(
        "{}",
        " {} ",
        "({})",
        "“{}”",
        "License: {}",
        "licensed under {}",
        "{}.",
        "Licence – {}",
        "<p>{}</p>",
        "[{}]",
    ),
    *(
        '["{}"]',
        "\ufeff{}",
        "{}\r\n",
        "&nbsp;{}&nbsp;",
        "This work is licensed under {}.",
        "{0} ({0})",
        "{0}, {0}",
    ),
]


@given(texts, st.sampled_from(DECORATIONS), st.sampled_from([str, str.upper, str.lower]))
def test_decorations_do_not_spoil_a_license(license, decoration, case) -> None:
    found = read_license(decoration.format(case(license)), None).license
    assert found is not None and found.spdx == ACCEPTED[license]


@given(st.text(), st.text())
def test_reading_is_total(text, url) -> None:
    found = read_license(text, url)
    assert (found.license is None) == (found.problem is not None)


PATTERNS = [
    "CC BY ",
    "<a ",
    '<a x="',
    "&#1",
    "/",
    "\n",
    "https://creativecommons.org/licenses/a",
    "署名",
    "%",
    "license ",
    "<a/",
    "/\n ",
    '"id" ',
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_time_is_linear_in_the_length(pattern: str) -> None:
    def seconds(length: int) -> float:
        text = "CC BY " + (pattern * (length // len(pattern) + 1))[:length]
        return min(_timed(text) for _ in range(2))

    short, long = seconds(500), seconds(4_000)
    assert long < 24 * short + 0.02  # eight times as long; quadratic time would be 64 times as much


def _timed(text: str) -> float:
    start = time.thread_time()
    read_license(text, None)
    return time.thread_time() - start


def test_a_number_too_long_for_an_integer_is_only_not_understood() -> None:
    assert read_license("CC BY &#" + "9" * 5_000 + ";", None).problem == "license_unknown"

"""Cyrillic, Greek, Armenian and kana in Latin letters, roughly as catalogues of music write them.

Letters without an entry stay: a guess at the reading of a Chinese character would invent names.
"""

import unicodedata

_CYRILLIC = dict(
    zip(
        "абвгдезийклмнопрстуфхцчшщъыьэюяёіїєґўјљњћђџ",
        "a b v g d e z i y k l m n o p r s t u f kh ts ch sh shch  y  e yu ya e i yi ye g u j lj nj c dj dz".split(
            " "
        ),
        strict=True,
    )
) | {"ж": "zh"}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        "a v g d e z i th i k l m n x o p r s s t y f ch ps o".split(),
        strict=True,
    )
)
_ARMENIAN = dict(
    zip(
        "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
        "a b g d e z e y t zh i l kh ts k h dz gh ch m y n sh o ch p j r s v t r ts w p k o f".split(),
        strict=True,
    )
)
_LETTERS = _CYRILLIC | _GREEK | _ARMENIAN
_TABLE = str.maketrans(_LETTERS | {letter.upper(): text for letter, text in _LETTERS.items()})
_KANA = ("HIRAGANA LETTER ", "KATAKANA LETTER ")


def latin(text: str) -> str:
    """The text with the letters of these scripts written in Latin ones."""
    composed = unicodedata.normalize("NFKC", _without_accents(text))
    return "".join(_kana(sign) for sign in composed.translate(_TABLE))


def _without_accents(text: str) -> str:
    """Greek without its accents; the marks that make other letters of Cyrillic and kana stay."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(sign for sign in decomposed if sign not in "\u0301\u0300\u0342\u0344")


def _kana(sign: str) -> str:
    if sign == "ー":  # makes the vowel before it long
        return ""
    if not "\u3041" <= sign <= "\u30fa":
        return sign
    name = unicodedata.name(sign, "")
    reading = next((name.removeprefix(prefix) for prefix in _KANA if name.startswith(prefix)), sign)
    return reading.removeprefix("SMALL ").lower()

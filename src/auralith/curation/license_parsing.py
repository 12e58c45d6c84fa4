"""From what a source writes to a `License`: names, short forms and SPDX ids, and Creative Commons URLs.

Accepting is strict and refusing is not: a text counts as a license that we accept only if every word of it is
understood ("Attribution, but ask me first" is unknown), while NC, ND or SA anywhere are enough to see that it isn't
one. A version or port that Creative Commons never published is unknown too.
"""

import re
import unicodedata

from auralith.curation.license_terms import License, is_known_id

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/"
    r"(?:licenses/|publicdomain/(?=zero/|mark/|certification/))(?P<code>[a-z0-9+-]+)(?:/(?P<version>\d\.\d))?(?:/(?P<port>(?!deed|rdf)[a-z]{2,8}))?"
    r"(?:/(?:deed|legalcode)(?:\.[a-z_-]+)?|/rdf)?/?",
)
_LINK = re.compile(r"(?:https?://|(?:www\.)?creativecommons\.org/)\S+", re.IGNORECASE)
_OTHER_HOSTS = re.compile(r"https?://(?:www\.)?(?:artlibre|gnu|opensource)\.org/.*")
_VERSIONS = {
    "zero": {"1.0"},
    "mark": {"1.0"},
    "sampling": {"1.0"},
    "sampling+": {"1.0"},
    "nc-sampling+": {"1.0"},
}
_BY_VERSIONS = {"1.0", "2.0", "2.1", "2.5", "3.0", "4.0"}
_PORTS = {
    "am": "armenia",
    "ar": "argentina",
    "at": "austria",
    "au": "australia",
    "az": "azerbaijan",
    "be": "belgium",
    "bg": "bulgaria",
    "br": "brazil",
    "ca": "canada",
    "ch": "switzerland",
    "cl": "chile",
    "cn": "china mainland",
    "co": "colombia",
    "cr": "costa rica",
    "cz": "czech republic",
    "de": "germany",
    "dk": "denmark",
    "ec": "ecuador",
    "ee": "estonia",
    "eg": "egypt",
    "es": "spain",
    "fi": "finland",
    "fr": "france",
    "ge": "georgia",
    "gr": "greece",
    "gt": "guatemala",
    "hk": "hong kong",
    "hr": "croatia",
    "hu": "hungary",
    "ie": "ireland",
    "igo": "igo",
    "il": "israel",
    "in": "india",
    "it": "italy",
    "jp": "japan",
    "kr": "south korea",
    "lu": "luxembourg",
    "mk": "macedonia",
    "mt": "malta",
    "mx": "mexico",
    "my": "malaysia",
    "nl": "netherlands",
    "no": "norway",
    "nz": "new zealand",
    "pe": "peru",
    "ph": "philippines",
    "pl": "poland",
    "pr": "puerto rico",
    "pt": "portugal",
    "ro": "romania",
    "rs": "serbia",
    "scotland": "uk scotland",
    "se": "sweden",
    "sg": "singapore",
    "si": "slovenia",
    "th": "thailand",
    "tw": "taiwan",
    "ug": "uganda",
    "uk": "uk england wales",
    "us": "united states",
    "ve": "venezuela",
    "vn": "vietnam",
    "za": "south africa",
}
_PORT_OF = {name: port for port, name in _PORTS.items()} | {port: port for port in _PORTS}
_PORT_OF |= {"korea": "kr", "usa": "us", "england and wales": "uk", "uk england and wales": "uk"}
_PHRASES = {
    r"creative commons (?:0|zero)|cc ?zero|cc ?0": "zero",
    r"public domain mark|cc pdm|pdm": "mark",
    r"public domain dedication and certification|cc pddc|pddc": "pddc",
    r"public domain dedication|licenseref|scancode|aka music sharing|creative commons|cc(?= )|cc$": "",
    r"licen[cs]ed?|the|under|unported|international|generic|universal|unversioned": "",
    r"ccby|attribution|by": "by",
    r"ccbync": "by nc",
    r"ccbynd": "by nd",
    r"ccbysa": "by sa",
    r"ccbyncnd|ccbyndnc": "by nc nd",
    r"ccbyncsa": "by nc sa",
    r"non ?com+ercial|nc": "nc",
    r"no ?deriv(?:ative|ative works|atives|s)?|nd": "nd",
    r"share ?alike|sa": "sa",
    r"sampling ?(?:\+|plus)": "sampling+",
}
_ANY_PHRASE = re.compile(
    "|".join(rf"(?P<p{i}>(?<![\w.])(?:{p})(?![\w+]))" for i, p in enumerate(_PHRASES))
)
_REPLACEMENTS = list(_PHRASES.values())
_UNUSUAL = re.compile(r"[^\w\s+\-_:,;()\[\]/.&'\"]")
_SEPARATORS = re.compile(r"(?:[\s\-_:,;()\[\]/&'\"]|\.(?!\d))+")
_OTHER = re.compile(r"fma limited|free art|art libre|gpl|gnu|all rights reserved|copyright")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-")
_ELEMENTS = ("by", "nc", "nd", "sa")
_NAMES = {*_ELEMENTS, "zero", "mark", "pddc", "sampling+", "sampling"}


def parse_url(url: str) -> License | None:
    """The license that a URL names, with or without deed, legal code, query or trailing slash; None if it is unknown."""
    plain = re.split(r"[?#]", url.strip().casefold(), maxsplit=1)[0].replace("%2b", "+")
    match = _URL.fullmatch(plain)
    if not match:
        return License("other") if _OTHER_HOSTS.fullmatch(plain) else None
    code, version, port = match["code"], match["version"], match["port"]
    if code in ("publicdomain", "certification"):
        return License("pddc")
    if code in ("gpl", "lgpl", "mit", "bsd", "devnations"):
        return License("other")
    return _checked(code, version, port) if version else _restricted(set(code.split("-")))


def parse_text(text: str) -> License | None:
    """The license that a text names; None if it is empty or not wholly understood."""
    plain = unicodedata.normalize("NFKC", text).strip()
    if is_known_id(plain) and not plain.startswith(("CC", "LicenseRef")):
        return License("other", other_id=plain)
    words = _SEPARATORS.sub(" ", plain.casefold().translate(_DASHES)).strip()
    found = _ANY_PHRASE.sub(lambda m: _REPLACEMENTS[int((m.lastgroup or "p0")[1:])], words).split()
    versions = {word.lstrip("v") for word in found if re.fullmatch(r"v?\d\.\d", word)}
    names = {name for name in found if name in _NAMES}
    rest = " ".join(w for w in found if w not in _NAMES and w.lstrip("v") not in versions)
    if not names:
        return _without_grant(words)
    code = _code(names)
    understood = len(versions) <= 1 and not _UNUSUAL.search(plain)
    port = _PORT_OF.get(rest)
    if code is None or not understood or (rest and port is None):
        return _restricted(names)
    return _checked(code, min(versions, default=None), port)


def parse(written: str) -> list[License | None]:
    """What the words and what the link in a text say: none, one or two readings, None for one that is unknown."""
    link = _LINK.search(written)
    words = _LINK.sub(" ", written).strip(' ()<>"')
    readings = [parse_text(words)] if words else []
    return [*readings, parse_url(link[0].rstrip(').,;>"'))] if link else readings


def _code(names: set[str]) -> str | None:
    """The deed's code of the elements named, None where they make no license."""
    if names <= set(_ELEMENTS):
        return "-".join(name for name in _ELEMENTS if name in names)
    if names == {"nc", "sampling+"}:
        return "nc-sampling+"
    return min(names) if len(names) == 1 else None


def _checked(code: str, version: str | None, port: str | None) -> License | None:
    """The license, if Creative Commons has published that version and port; unversioned if only its terms matter."""
    if code in _VERSIONS:
        version = version or "1.0"
        known = version in _VERSIONS[code] and (port is None or port in _PORTS)
        return License(code, version, port) if known else _restricted(set(code.split("-")))
    if code == "pddc":
        return License(code)
    elements = set(code.split("-"))
    if not elements <= set(_ELEMENTS):
        return None
    ported = port is None or (port in _PORTS and version != "4.0")
    if not ported or version not in {None, *_BY_VERSIONS} or (version == "2.1" and port is None):
        return _restricted(elements)
    return License(_code(elements) or code, version, port)


def _restricted(names: set[str]) -> License | None:
    """What isn't fully understood, but says NC, ND or SA: enough to refuse it for that."""
    limits = [name for name in ("nc", "nd", "sa") if name in names]
    return License("-".join(["by", *limits])) if limits else None


def _without_grant(words: str) -> License | None:
    if words == "public domain":
        return License("public-domain")
    return License("other") if _OTHER.search(words) else None

"""The steps `license` and `preference`: permission to use a recording, by its license and by the preference of its uploader.

The license step reads license text and URL. CC0, CC BY (each version and port) and CC Sampling+ 1.0 are accepted unless the
selection leaves them out, and other licenses if it names them; everything else, including unknown licenses, is refused
with its reason. Every statement in text and URL counts and the strictest wins, unless the text offers a choice ("or"); of
two versions or ports of one license neither is stricter, so they are refused as a conflict. Verdicts are cached by the raw pair, since a source repeats a few of them thousands of times. Obligations are
recorded per license; whether training triggers them is not decided here.

The preference step compares the preference of an uploader about generative AI with the intended use of the model. The
`gen_ai_preference` of Freesound has four values, each of which refuses some intended uses. Without the field a recording is
kept; an unknown value goes to quarantine. Refusals by preference have reason codes of their own, so that the funnel
counts them apart from licenses.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from auralith.curation.license_expressions import Expression, Joined, exact, read_expression
from auralith.curation.license_expressions import shown as expressed
from auralith.curation.license_ids import (
    CC0,
    FAMILIES,
    SAMPLING_PLUS,
    UNVERSIONED,
    Family,
    License,
    is_known_id,
    spdx_licensing,
)
from auralith.curation.license_parsing import parse
from auralith.curation.stage import Finding, Row
from auralith.errors import Field, InvalidRequest, shown

__all__ = [
    "CC0",
    "FAMILIES",
    "SAMPLING_PLUS",
    "UNVERSIONED",
    "Family",
    "License",
    "LicenseSettings",
    "LicenseStage",
    "Obligations",
    "PreferenceSettings",
    "PreferenceStage",
    "Reading",
    "family_of",
    "is_known_id",
    "obligations",
    "parse_selection",
    "read_license",
    "refusal",
]

_CACHED = 65_536
"""Number of raw pairs in the cache; sources have some hundreds."""
_ALIASES: dict[str, Family] = {"sampling-plus": "sampling+", "cc-sampling+": "sampling+"}
_COLUMNS = ("license_spdx", "license_version", "license_port", "license_uri", "license_stated")
PERMISSIVE = ("MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "Zlib")
"""Licenses of software that ask for their notice alone; accepted if they are named."""
_NAMED, _NO_GRANT, _REFUSED = 5, 6, 7
_SEVERITIES = {"public-domain": 0, "zero": 1, "by": 3, "sampling+": 4, "mark": 6, "pddc": 6}
_PERMISSIVE_SEVERITY = 2
_BY_ID = re.compile(r"(?:LicenseRef-)?CC-BY-(\d\.\d)(?:-[A-Z]+)?")
IntendedUse = Literal["open", "open-noncommercial", "closed"]
NOT_STATED = "not-stated"
"""Value of `preference` for sources without the field."""
_REFUSED_USES: dict[str, frozenset[str]] = {
    "no-additional-preferences": frozenset(),
    "open-source-models": frozenset({"closed"}),
    "noncommercial-open-source-models": frozenset({"open", "closed"}),
    "no-gen-ai": frozenset({"open", "open-noncommercial", "closed"}),
}
"""Intended uses that each preference refuses."""


@dataclass(frozen=True)
class LicenseSettings:
    """Selection of accepted licenses."""

    licenses: tuple[str, ...] = FAMILIES
    """Accepted families, among "cc0", "cc-by" and "sampling+", and other licenses by their SPDX ids, such as "MIT"."""
    public_domain_marks: bool = False
    """Accept the Public Domain Mark (PDM) and CC-PDDC too, which grant no rights."""

    def __post_init__(self) -> None:
        unknown = [one for one in self.licenses if one not in FAMILIES and not is_known_id(one)]
        if not self.licenses or unknown:
            raise InvalidRequest(
                Field("licenses"),
                f" are {', '.join(self.licenses) or 'none'};"
                f" choose one or more of {', '.join(FAMILIES)}, or SPDX ids such as MIT",
            )


def parse_selection(text: str) -> tuple[str, ...]:
    """Return the licenses of `--licenses cc0,cc-by,MIT`: families in fixed order, then SPDX ids in theirs.

    Raises `InvalidRequest` for unknown ones.
    """
    found = [_selected(name.strip()) for name in text.split(",")]
    return tuple(sorted(set(found), key=lambda one: (one not in FAMILIES, one != "cc0", one)))


def _selected(name: str) -> str:
    key = _ALIASES.get(name.casefold(), name.casefold())
    if key in FAMILIES:
        return key
    ids = (id for id in spdx_licensing().known_symbols if id.casefold() == key)
    if (found := next(ids, None)) is None:
        raise InvalidRequest(
            Field("licenses"),
            f": {shown(name)} is not one to choose; known are {', '.join(FAMILIES)}, and SPDX ids such as MIT",
        )
    return found


@dataclass(frozen=True)
class Reading:
    """Result of reading text and URL together: a license, or the reason for not finding one."""

    license: License | None
    problem: Literal["license_unknown", "license_conflict"] | None = None
    stated: str | None = None
    """Statement of several licenses that this one was chosen from, or that all apply, as an SPDX expression."""


def read_license(
    text: str | None, url: str | None, settings: LicenseSettings | None = None
) -> Reading:
    """Return the license of a raw text (which may hold links) and a raw URL; None and blank both mean "not given".

    All statements in both count, as if joined by AND, and the strictest wins. Of a choice ("or") the strictest license
    wins that the settings accept. Licenses that are refused come before text that is not understood, and that before
    every accepted license.
    """
    settings = settings or LicenseSettings()
    fields = [written for written in (text, url) if written and not written.isspace()]
    read = [read_expression(written) for written in fields]
    known = [one for one in read if one is not None]
    if len(known) == len(fields) and any(map(_is_beyond_deeds, known)):
        whole = known[0] if len(known) == 1 else Joined("AND", tuple(known))
        found = _resolved(whole, settings)
        return replace(found, stated=expressed(whole)) if isinstance(whole, Joined) else found
    return _read_statements(fields, settings)


def _is_beyond_deeds(expression: Expression) -> bool:
    """Return whether an expression is more than one license of Creative Commons."""
    return isinstance(expression, Joined) or expression.code == "other"


def _resolved(expression: Expression, settings: LicenseSettings) -> Reading:
    """Return the license under which something may be used, or the one that refuses it."""
    if isinstance(expression, License):
        return Reading(expression)
    found = [_resolved(part, settings) for part in expression.parts]
    licenses = [one.license for one in found if one.license is not None]
    refused = [one for one in licenses if refusal(one, settings)]
    accepted = [one for one in licenses if not refusal(one, settings)]
    if expression.operator == "OR":
        if accepted:
            return Reading(max(accepted, key=lambda one: _preference(one, settings)))
    elif not refused and len(licenses) == len(found):
        return _strictest(accepted, settings)
    if refused:
        return Reading(max(refused, key=_exactness))
    return Reading(None, "license_conflict")


def _preference(license: License, settings: LicenseSettings) -> tuple[int, str, str]:
    """Return a rank among licenses to choose from: the strictest of those accepted by family, and its newest version."""
    severity = _severity(license, settings)
    rank = severity if severity < _NAMED else -severity
    return rank, license.version or "", license.port or ""


def _read_statements(fields: Sequence[str], settings: LicenseSettings) -> Reading:
    """Return the license of fields that are no expressions: of all statements in them, the strictest."""
    parsed = [parse(written) for written in fields]
    stated = [license for found in parsed for license in found.licenses]
    if refused := [one for one in stated if _severity(one, settings) == _REFUSED]:
        return Reading(max(refused, key=_exactness))
    if not stated or not all(found.understood for found in parsed):
        return Reading(None, "license_unknown")
    return _strictest(stated, settings)


def _strictest(licenses: Sequence[License], settings: LicenseSettings) -> Reading:
    """Return the strictest of licenses that all apply, or their contradiction."""
    severities = [_severity(one, settings) for one in licenses]
    strictest = max(severities)
    merged = _merged(
        [one for one, rank in zip(licenses, severities, strict=True) if rank == strictest]
    )
    if len(set(severities) - {0}) > 1 and strictest == _NO_GRANT:
        merged = None  # a mark without obligations contradicts a license with obligations
    return Reading(merged, None if merged else "license_conflict")


def _severity(license: License, settings: LicenseSettings) -> int:
    """Return the rank of a license's demands; "public domain" adds nothing to an exact statement."""
    if license.spdx in PERMISSIVE and license.spdx in settings.licenses:
        return _PERMISSIVE_SEVERITY
    otherwise = _NAMED if license.spdx in settings.licenses else _REFUSED
    return _SEVERITIES.get(license.code, otherwise)


def _exactness(license: License) -> tuple[bool, bool, bool, bool]:
    """Return a rank for naming a refused license: NC before ND before SA, and those with an SPDX id first."""
    limits = license.elements
    return "nc" in limits, "nd" in limits, "sa" in limits, license.spdx is not None


def _merged(licenses: Sequence[License]) -> License | None:
    """Return one license for several of the same kind: the exact one if the others leave its version or port open.

    None if they contradict each other; several licenses of software don't, and the first stands for them.
    """
    if all(one.code == "other" for one in licenses):
        return licenses[0]
    return exact(licenses)


def refusal(license: License, settings: LicenseSettings) -> str | None:
    """Return the reason code of a refused license; None if it is accepted."""
    if license.spdx in settings.licenses:
        return None
    if limits := [name for name in ("nc", "nd", "sa") if name in license.code.split("-")]:
        return f"license_{limits[0]}"
    if license.code == "sampling":
        return "license_sampling"
    if license.code in ("mark", "pddc") and settings.public_domain_marks:
        return None
    if license.code in ("mark", "pddc", "public-domain"):
        return "license_not_a_grant"
    if license.family is None:
        return "license_other"
    return None if license.family in settings.licenses else "license_not_selected"


class LicenseStage:
    """Raw license text and URL → SPDX id, version, port, URI and verdict."""

    name = "license"
    provider = "auralith"
    provider_version = "3"
    inputs: tuple[str, ...] = ("license_raw", "license_url_raw")

    def __init__(self, settings: LicenseSettings | None = None) -> None:
        self.settings = settings or LicenseSettings()
        self._findings: dict[tuple[str | None, str | None], Finding] = {}

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in _COLUMNS])

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording; never an error."""
        return [self._finding(row["license_raw"], row["license_url_raw"]) for row in rows]

    def _finding(self, text: str | None, url: str | None) -> Finding:
        found = self._findings.get((text, url))
        if found is None:
            if len(self._findings) >= _CACHED:
                self._findings.clear()
            found = self._findings[text, url] = self._judge(read_license(text, url, self.settings))
        return found

    def _judge(self, reading: Reading) -> Finding:
        if reading.license is None:
            return Finding("ok", "refuse", reading.problem, columns=_columns(reading))
        reason = refusal(reading.license, self.settings)
        return Finding("ok", "refuse" if reason else "pass", reason, columns=_columns(reading))


def _columns(reading: Reading) -> Mapping[str, Any]:
    found = reading.license
    exact = (found.spdx, found.version, found.port, found.uri) if found else (None,) * 4
    return dict(zip(_COLUMNS, (*exact, reading.stated), strict=True))


@dataclass(frozen=True)
class Obligations:
    """Obligations of a license, and the commercial uses that it allows."""

    attribution: bool
    title: Literal["none", "if_supplied", "optional", "required"]
    """Condition on which the credit must name the title."""
    changes: Literal["none", "name_the_use", "label_changes", "label_all_changes"]
    """Required statement of changes: the use in the derivative, a label of changes, or a label of earlier ones too."""
    whole_commercial: bool
    """The whole work may be redistributed commercially."""
    derivative_commercial: bool
    advertising: Literal["allowed", "derivative_only"]
    """derivative_only: advertising only for the derivative itself."""
    notice: Literal["none", "uri_or_copy", "uri_or_link", "source_page", "deed", "copy"]
    """Form of the license notice; "source_page" is a link to the source, with "version as stated there", "copy" the text."""


_OLD_BY = Obligations(True, "if_supplied", "name_the_use", True, True, "allowed", "uri_or_copy")
_SOFTWARE = Obligations(True, "none", "none", True, True, "allowed", "copy")
_OBLIGATIONS = {
    **dict.fromkeys(PERMISSIVE, _SOFTWARE),
    "Apache-2.0": replace(_SOFTWARE, changes="label_changes"),
    CC0: Obligations(False, "none", "none", True, True, "allowed", "none"),
    SAMPLING_PLUS: Obligations(
        True, "required", "label_changes", False, True, "derivative_only", "deed"
    ),
    UNVERSIONED: replace(_OLD_BY, title="required", changes="label_changes", notice="source_page"),
    **dict.fromkeys(("1.0", "2.0", "2.1", "2.5"), _OLD_BY),
    "3.0": replace(_OLD_BY, changes="label_changes"),
    "4.0": replace(_OLD_BY, title="optional", changes="label_all_changes", notice="uri_or_link"),
}


def obligations(spdx: str) -> Obligations | None:
    """Return the obligations of a license; None for one that is neither Creative Commons' nor in `PERMISSIVE`."""
    match = _BY_ID.fullmatch(spdx)
    return _OBLIGATIONS.get(match[1] if match else spdx)


def family_of(spdx: str) -> Family | None:
    """Return the family of an SPDX id that we write; None for one that isn't accepted by default."""
    if spdx == CC0:
        return "cc0"
    if spdx == SAMPLING_PLUS:
        return "sampling+"
    return "cc-by" if spdx == UNVERSIONED or _BY_ID.fullmatch(spdx) else None


@dataclass(frozen=True)
class PreferenceSettings:
    """Intended use of the model, and whether uploaders' preferences about it are honored."""

    intended_use: IntendedUse = "open"
    """Purpose of the model; open: released with its weights, commercial use allowed; closed: anything that isn't released."""
    honor: bool = True
    """Refuse recordings by preference. False keeps them, as the published data set did; unknown values stay quarantined."""


class PreferenceStage:
    """`gen_ai_preference` × intended use → keep or refuse."""

    name = "preference"
    provider = "auralith"
    provider_version = "1"
    inputs: tuple[str, ...] = ("gen_ai_preference",)

    def __init__(self, settings: PreferenceSettings | None = None) -> None:
        self.settings = settings or PreferenceSettings()
        self._findings: dict[str, Finding] = {}

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("preference", pa.string())])

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording; never an error."""
        return [self._finding(row["gen_ai_preference"]) for row in rows]

    def _finding(self, written: str | None) -> Finding:
        value = (written or "").strip() or NOT_STATED
        if value not in _REFUSED_USES and value != NOT_STATED:
            return Finding("ok", "quarantine", "preference_unknown", columns={"preference": value})
        if value not in self._findings:
            self._findings[value] = self._judge(value)
        return self._findings[value]

    def _judge(self, value: str) -> Finding:
        refused = self.settings.intended_use in _REFUSED_USES.get(value, ())
        if not (self.settings.honor and refused):
            return Finding("ok", "pass", columns={"preference": value})
        reason = "preference_" + value.replace("-", "_")
        return Finding("ok", "refuse", reason, columns={"preference": value})

"""Licenses as values: the ids that we write, the families that select them, and the link of a deed.

A `License` is the code of its deed URL ("by", "by-nc-sa", "zero", "sampling+"), a version and a jurisdiction ("port").
Its SPDX id follows from SPDX's own list (license-expression), to which we add two ids: for CC BY without a version, and
for CC BY 2.1, which existed only in ports.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from auralith.extras import require

CC0 = "CC0-1.0"
UNVERSIONED = "LicenseRef-CC-BY-unversioned"
"""CC BY without any version: accepted, counted apart, under the strictest terms of all versions."""
SAMPLING_PLUS = "LicenseRef-scancode-cc-sampling-plus-1.0"
SAMPLING_PLUS_DEED = "https://creativecommons.org/licenses/sampling+/1.0/"
PUBLIC_DOMAIN = "LicenseRef-scancode-public-domain"
"""Words of a dedication to the public domain, without a license text; they grant nothing by themselves."""
_BY_2_1 = "LicenseRef-CC-BY-2.1"
OWN_IDS = (UNVERSIONED, _BY_2_1)

Family = Literal["cc0", "cc-by", "sampling+"]
"""Families for selection: `--licenses cc0,cc-by`."""
FAMILIES: tuple[Family, ...] = ("cc0", "cc-by", "sampling+")
_FAMILY_OF_CODE: dict[str, Family] = {"zero": "cc0", "by": "cc-by", "sampling+": "sampling+"}
_PUBLIC_DOMAIN = {"zero": "zero/1.0", "mark": "mark/1.0", "pddc": "certification/1.0/us"}
_FIXED_IDS = {"zero": CC0, "mark": "CC-PDM-1.0", "pddc": "CC-PDDC", "sampling+": SAMPLING_PLUS}
_FIXED_IDS |= {"public-domain": PUBLIC_DOMAIN}
ELEMENTS = ("by", "nc", "nd", "sa")
"""Elements of licenses, in the order of a deed's code."""


@dataclass(frozen=True)
class License:
    """A license, as a text or URL names it."""

    code: str
    """Code of the deed's URL, with elements in the order by-nc-nd-sa; "other" if it isn't Creative Commons."""
    version: str | None = None
    port: str | None = None
    """Jurisdiction, such as "us"; None for the unported text."""
    other_id: str | None = None
    """SPDX id of a license that isn't Creative Commons."""

    @property
    def family(self) -> Family | None:
        """Return the family that selects the license; None if none does."""
        return _FAMILY_OF_CODE.get(self.code)

    @property
    def spdx(self) -> str | None:
        """Return the SPDX id of the port if SPDX has one, else of the version; None without either."""
        if self.code == "other":
            return self.other_id
        if self.code in _FIXED_IDS:
            return _FIXED_IDS[self.code]
        if self.version is None:
            return UNVERSIONED if self.code == "by" else None
        base = f"CC-{self.code.upper()}-{self.version}"
        known = spdx_licensing().known_symbols
        if self.port and f"{base}-{self.port.upper()}" in known:
            return f"{base}-{self.port.upper()}"
        return base if base in known else _BY_2_1 if base == "CC-BY-2.1" else None

    @property
    def uri(self) -> str | None:
        """Return the link to the deed, or to SPDX's copy of another license; None if the version is unknown."""
        if self.other_id is not None and not self.other_id.startswith("LicenseRef"):
            return f"https://spdx.org/licenses/{self.other_id}.html"
        if self.code in _PUBLIC_DOMAIN:
            return f"https://creativecommons.org/publicdomain/{_PUBLIC_DOMAIN[self.code]}/"
        if self.version is None or self.code == "other":
            return None
        port = f"{self.port}/" if self.port else ""
        return f"https://creativecommons.org/licenses/{self.code}/{self.version}/{port}"

    @property
    def elements(self) -> frozenset[str]:
        """Return the license's elements among by, nc, nd and sa."""
        return frozenset(ELEMENTS) & set(self.code.split("-"))


@cache
def spdx_licensing() -> Any:
    """Return license-expression's SPDX list with our own ids, which contains every id that we write."""
    library = require("license_expression", "curate")
    symbols = library.get_spdx_licensing().known_symbols.values()
    return library.Licensing([*symbols, *map(library.LicenseSymbol, OWN_IDS)])


def is_known_id(spdx: str) -> bool:
    """Return whether an SPDX id is in `spdx_licensing`."""
    return spdx in spdx_licensing().known_symbols

"""License expressions: a choice passes with one accepted license, a sum only with all; what isn't read never passes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.curation.license_expressions import Joined, read_expression, shown
from auralith.curation.licenses import (
    LicenseSettings,
    LicenseStage,
    Reading,
    is_known_id,
    obligations,
    parse_selection,
    read_license,
    refusal,
)
from auralith.curation.stage import Finding
from auralith.errors import InvalidRequest

NAMED = LicenseSettings(("cc0", "cc-by", "MIT", "BSD-3-Clause"))
BY_3 = "https://creativecommons.org/licenses/by/3.0/"


def judge(text: str, url: str | None = None, settings: LicenseSettings = NAMED) -> Finding:
    (found,) = LicenseStage(settings).process(
        [{"license_raw": text, "license_url_raw": url}], Path(".")
    )
    return found


@pytest.mark.parametrize(
    ("written", "chosen", "stated"),
    [
        ("GPL-3 or CC-BY-3", "CC-BY-3.0", "GPL-3.0-only OR CC-BY-3.0"),
        ("CC-BY-3.0 or GPL-2+", "CC-BY-3.0", "CC-BY-3.0 OR GPL-2.0-or-later"),
        ("GPL-3.0-only OR CC-BY-3.0", "CC-BY-3.0", "GPL-3.0-only OR CC-BY-3.0"),
        ("dual licensed under MIT and Apache", "MIT", "MIT OR LicenseRef-other"),
        ("dual-licensed: GPL-2 / MIT", "MIT", "GPL-2.0-only OR MIT"),
        ("CC0 or Public Domain", "CC0-1.0", "CC0-1.0 OR LicenseRef-scancode-public-domain"),
        ("CC0 or CC BY-ND 4.0", "CC0-1.0", "CC0-1.0 OR CC-BY-ND-4.0"),
        ("MIT or CC BY-NC", "MIT", "MIT OR LicenseRef-by-nc"),
        ("GPL v2 or (at your option) any later version, or MIT", "MIT", "GPL-2.0-or-later OR MIT"),
        ("(GPL-2 or later) or MIT", "MIT", "GPL-2.0-or-later OR MIT"),
        ("GPL version 2 (or later) OR Expat", "MIT", "GPL-2.0-or-later OR MIT"),
        ("MIT, BSD-3-Clause or Apache-2.0", "MIT", "MIT OR BSD-3-Clause OR Apache-2.0"),
        ("CC0-1.0 and GPL-3+ or MIT", "MIT", "(CC0-1.0 AND GPL-3.0-or-later) OR MIT"),
        ("(MIT or GPL-2+) and CC-BY-3.0", "CC-BY-3.0", "(MIT OR GPL-2.0-or-later) AND CC-BY-3.0"),
        ("MIT and CC BY 4.0", "CC-BY-4.0", "MIT AND CC-BY-4.0"),
        ("Sampling+ or CC0", "CC0-1.0", "LicenseRef-scancode-cc-sampling-plus-1.0 OR CC0-1.0"),
        ("CC0 and/or CC-BY-4.0", "CC-BY-4.0", "CC0-1.0 OR CC-BY-4.0"),
        ("Expat", "MIT", None),
        ("MIT/X11", "MIT", None),
        ("The MIT License (MIT)", "MIT", None),
        ("Licensed under the MIT license.", "MIT", None),
        ("https://opensource.org/licenses/MIT", "MIT", None),
        ("3-clause BSD license", "BSD-3-Clause", None),
    ],
)
def test_what_people_write_passes_under_a_license_that_is_accepted(
    written: str, chosen: str, stated: str | None
) -> None:
    found = judge(written)
    assert (found.verdict, found.columns["license_spdx"]) == ("pass", chosen)
    assert found.columns["license_stated"] == stated


@pytest.mark.parametrize(
    ("written", "reason", "spdx"),
    [
        ("GPL-2+ or CC-BY-SA-3.0", "license_sa", "CC-BY-SA-3.0"),
        ("MIT/Apache-2.0", "license_other", "Apache-2.0"),
        ("GPL-2+, and CC-BY-3.0", "license_other", "GPL-2.0-or-later"),
        ("CC BY-SA 3.0 / GPL 2.0", "license_sa", "CC-BY-SA-3.0"),
        ("LGPL-2.1+ and CC-BY-SA-4.0", "license_sa", "CC-BY-SA-4.0"),
        ("Artistic-2.0 or GPL-1+", "license_other", "Artistic-2.0"),
        ("GPL-2+ with composition exception", "license_other", None),
        ("Apache", "license_other", None),
        ("BSD", "license_other", None),
        ("(CC0 or MIT), GPL", "license_other", None),
        ("CC0 or NC", "license_nc", None),
        ("GPL-9 or MIT", "license_other", None),
        ("public-domain", "license_not_a_grant", "LicenseRef-scancode-public-domain"),
        *[
            (text, "license_unknown", None)
            for text in (
                *("MIT or", "or MIT", "MIT and", "(MIT", "MIT)", "()", "MIT OR OR CC0", "not MIT"),
                *("MIT or not", "MIT not CC0", "either MIT or a commercial license", "CC-BY-3.0+"),
                *("dual licensed", "dual licensed under MIT", "dual licensed under MIT and more"),
                *("CC BY 4.0 (code MIT)", "MIT, CC0 or BSD-3-Clause and ISC"),
                "(" * 99 + "MIT" + ")" * 99,
            )
        ],
    ],
)
def test_everything_else_is_refused_with_the_reason(
    written: str, reason: str, spdx: str | None
) -> None:
    found = judge(written)
    assert (found.verdict, found.reason_code) == ("refuse", reason)
    assert found.columns["license_spdx"] == spdx


def test_nothing_is_accepted_that_the_selection_does_not_name() -> None:
    assert judge("MIT or GPL-2", settings=LicenseSettings()).reason_code == "license_other"
    assert judge("CC-BY-3.0", settings=LicenseSettings(("CC-BY-4.0",))).verdict == "refuse"
    assert judge("CC-BY-4.0", settings=LicenseSettings(("CC-BY-4.0",))).verdict == "pass"
    domain = LicenseSettings(("LicenseRef-scancode-public-domain",))
    assert judge("public-domain", settings=domain).verdict == "pass"


def test_of_text_and_url_that_contradict_each_other_the_stricter_counts() -> None:
    found = judge("MIT", BY_3)
    assert found.columns["license_spdx"] == "CC-BY-3.0"
    assert found.columns["license_stated"] == "MIT AND CC-BY-3.0"
    assert judge("CC0 or MIT", BY_3.replace("/by/", "/by-sa/")).reason_code == "license_sa"
    assert judge("MIT", BY_3, LicenseSettings()).reason_code == "license_other"


def test_a_selection_names_spdx_ids_whatever_their_case() -> None:
    assert parse_selection("mit, cc-by,CC0,isc,Apache-2.0") == (
        *("cc0", "cc-by", "Apache-2.0", "ISC", "MIT"),
    )
    with pytest.raises(InvalidRequest, match=r"WTF-9.* is not one to choose"):
        parse_selection("cc0,WTF-9")
    with pytest.raises(InvalidRequest, match="or SPDX ids such as MIT"):
        LicenseSettings(("cc0", "WTF-9"))


def test_software_licenses_ask_for_their_text() -> None:
    mit, apache = obligations("MIT"), obligations("Apache-2.0")
    assert mit and (mit.attribution, mit.notice, mit.changes) == (True, "copy", "none")
    assert apache and apache.changes == "label_changes"
    assert judge("MIT").columns["license_uri"] == "https://spdx.org/licenses/MIT.html"


LEAVES = {
    "CC0": True,
    "CC-BY-3.0": True,
    "MIT": True,
    "Expat": True,
    "GPL-2+": False,
    "CC BY-SA 4.0": False,
    "CC-BY-NC-4.0": False,
    "LGPL-2.1": False,
    "Apache-2.0": False,
}
_Tree = tuple[str, bool]
trees: st.SearchStrategy[_Tree] = st.recursive(
    st.sampled_from(list(LEAVES.items())),
    lambda inner: st.builds(
        lambda left, right, is_and, case: (
            f"({left[0]}) {case('and' if is_and else 'or')} ({right[0]})",
            (left[1] and right[1]) if is_and else (left[1] or right[1]),
        ),
        *(inner, inner, st.booleans(), st.sampled_from([str.lower, str.upper])),
    ),
    max_leaves=6,
)


@settings(max_examples=30)
@given(trees)
def test_an_expression_passes_exactly_if_its_logic_does(tree: _Tree) -> None:
    written, accepted = tree
    found = judge(written)
    assert (found.verdict == "pass") == accepted, written


@settings(max_examples=30)
@given(trees)
def test_a_shown_expression_reads_as_itself(tree: _Tree) -> None:
    expression = read_expression(tree[0])
    assert expression is not None
    again = read_expression(shown(expression))
    assert again is not None and shown(again) == shown(expression)


@settings(max_examples=30)
@given(trees, st.sampled_from(["not", "except", "unless", "nobody", "commercial use forbidden"]))
def test_an_operand_that_is_no_license_spoils_the_whole(tree: _Tree, word: str) -> None:
    for written in (f"({tree[0]}) or {word}", f"{word} and ({tree[0]})", f"({tree[0]}) {word}"):
        assert read_expression(written) is None
        assert judge(written).verdict == "refuse"


@given(st.text(alphabet="()MITorand CC0-,/|&+GPL2", max_size=60))
def test_reading_is_total_and_consistent(written: str) -> None:
    found = read_license(written, None, NAMED)
    assert isinstance(found, Reading) and (found.license is None) == (found.problem is not None)
    if found.license is not None and refusal(found.license, NAMED) is None:
        assert found.license.spdx and is_known_id(found.license.spdx)
    expression = read_expression(written)
    assert expression is None or not isinstance(expression, Joined) or len(expression.parts) > 1

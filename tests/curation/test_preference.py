"""`gen_ai_preference` × intended use, as published; what nobody knows goes to quarantine."""

from pathlib import Path
from typing import Literal, get_args

import pytest

from auralith.curation.licenses import IntendedUse, PreferenceSettings, PreferenceStage
from auralith.curation.stage import Finding, Stage

KEEP, REFUSE = True, False
TABLE = {
    "no-additional-preferences": (KEEP, KEEP, KEEP),
    "open-source-models": (KEEP, KEEP, REFUSE),
    "noncommercial-open-source-models": (REFUSE, KEEP, REFUSE),
    "no-gen-ai": (REFUSE, REFUSE, REFUSE),
}


def judge(
    value: str | None,
    use: Literal["open", "open-noncommercial", "closed"] = "open",
    honor: bool = True,
) -> Finding:
    stage = PreferenceStage(PreferenceSettings(use, honor))
    (finding,) = stage.process([{"rec_id": "a:1", "gen_ai_preference": value}], Path("."))
    return finding


@pytest.mark.parametrize("value", TABLE)
def test_each_preference_refuses_the_uses_of_the_table(value: str) -> None:
    findings = [judge(value, use) for use in get_args(IntendedUse)]
    assert tuple(finding.verdict == "pass" for finding in findings) == TABLE[value]
    reasons = {finding.reason_code for finding in findings} - {None}
    assert reasons <= {"preference_" + value.replace("-", "_")}


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_source_without_the_field_is_kept_and_counted_apart(value: str | None) -> None:
    finding = judge(value, "closed")
    assert (finding.verdict, finding.columns["preference"]) == ("pass", "not-stated")


@pytest.mark.parametrize("value", ["maybe", "No-Gen-AI", "no-gen-ai\u200b", "not-stated!"])
@pytest.mark.parametrize("honor", [True, False])
def test_a_value_outside_the_four_goes_to_quarantine(value: str, honor: bool) -> None:
    finding = judge(value, honor=honor)
    assert (finding.verdict, finding.reason_code) == ("quarantine", "preference_unknown")
    assert finding.columns["preference"] == value


def test_preferences_are_honored_unless_it_is_switched_off() -> None:
    assert PreferenceSettings().honor and PreferenceSettings().intended_use == "open"
    assert judge("no-gen-ai").verdict == "refuse"
    kept = judge("no-gen-ai", honor=False)
    assert (kept.verdict, kept.columns["preference"]) == ("pass", "no-gen-ai")


def test_it_is_a_stage_whose_columns_are_its_schema() -> None:
    stage = PreferenceStage(PreferenceSettings())
    assert isinstance(stage, Stage)
    assert stage.schema.names == list(judge(None).columns)

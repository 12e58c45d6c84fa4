"""What every identification backend promises, and how several are one."""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer

from auralith.cli.curate import identification
from auralith.cli.fields import name_options
from auralith.curation.identification import (
    AcoustIdIdentifier,
    AudibleMagicIdentifier,
    AudioRef,
    CompositeIdentifier,
    ContentIdentifier,
    Fingerprint,
    Fpcalc,
    Identification,
    IdentifierFiles,
    Identify,
    IdentifySettings,
    LandmarkIdentifier,
    Match,
    ProviderInfo,
    make_identifier,
)
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.stage import params_hash
from auralith.curation.store import RECORDINGS, Store
from auralith.errors import InvalidRequest
from auralith.fingerprint import build_index, pruned, read_landmarks
from auralith.settings import load_settings
from tests.curation.identifier_stubs import (
    FPCALC,
    ITEM_SAMPLES,
    FreeClock,
    acoustid_server,
    write_program,
    write_sound,
)
from tests.fingerprint.melodies import SAMPLE_RATE, melody

KEY = "TopSecret1"
START = 65 * ITEM_SAMPLES
"""Where the excerpt begins in its reference (samples): 8.05 s."""
REFERENCES = {"song": 1, "other": 2, "third": 3}
TOOLKIT = """
import hashlib, json, pathlib, sys
assert sys.argv[1] == "-c" and sys.argv[3] == "-i" and sys.argv[5] == "-e", sys.argv
sound, asset = pathlib.Path(sys.argv[4]), sys.argv[6]
match = {"ruleCode": "block", "matchType": "audio", "amItemID": "song", "matchTimeInUnknown": 0,
         "matchDurationInUnknown": 12, "matchTimeInReference": %r, "metadata": {"Title": "Song"}}
known = hashlib.sha256(sound.read_bytes()).hexdigest() == %r
print(json.dumps({"statusCode": 2006 if known else 2005, "statusDescription": "…",
                  "unknownAssetID": asset, "matches": [match] if known else []}))
"""


@dataclass(frozen=True)
class Case:
    """A backend that knows the reference "song", and where it should find the excerpt of it."""

    identifier: ContentIdentifier
    reference_start_s: float


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sounds to ask about, references, and the programs."""
    folder = tmp_path_factory.mktemp("identifiers")
    for name, seed in REFERENCES.items():
        write_sound(folder / f"{name}.wav", melody(seed, 30))
    song = melody(REFERENCES["song"], 30)
    write_sound(folder / "excerpt.wav", song[START : START + 12 * SAMPLE_RATE])
    write_sound(folder / "unknown.wav", melody(9, 12))
    write_sound(folder / "short.wav", melody(9, 1.5))
    (folder / "broken.wav").write_bytes(b"RIFF, but no sound")
    write_program(folder / "fpcalc", FPCALC)
    digest = hashlib.sha256((folder / "excerpt.wav").read_bytes()).hexdigest()
    write_program(folder / "toolkit", TOOLKIT % (START / SAMPLE_RATE, digest))
    (folder / "toolkit.cfg").write_text("customer")
    return folder


def landmark(folder: Path) -> LandmarkIdentifier:
    sounds = ((name, pruned(read_landmarks(folder / f"{name}.wav"))) for name in REFERENCES)
    if not (folder / "landmarks").is_dir():
        build_index(sounds, folder / "landmarks")
    return LandmarkIdentifier(folder / "landmarks")


def audible_magic(folder: Path) -> AudibleMagicIdentifier:
    config = folder / "toolkit.cfg"
    return AudibleMagicIdentifier(str(folder / "toolkit"), config, no_match_codes=(2005,))


@pytest.fixture(scope="module")
def acoustid(folder: Path) -> Iterator[AcoustIdIdentifier]:
    fpcalc = Fpcalc(str(folder / "fpcalc"))
    with acoustid_server(KEY) as (url, stub):
        known = fpcalc.compressed(folder / "excerpt.wav", 120.0)[0]
        stub.tracks[known] = {"id": "song", "score": 0.98, "recordings": []}
        yield AcoustIdIdentifier(
            fpcalc, KEY, url=url, clock=FreeClock(), folder=folder / "acoustid"
        )


@pytest.fixture(scope="module", params=["landmark", "acoustid", "audible-magic", "composite"])
def case(request: pytest.FixtureRequest, folder: Path) -> Case:
    start = START / SAMPLE_RATE
    if request.param == "landmark":
        return Case(landmark(folder), start)
    if request.param == "acoustid":
        return Case(request.getfixturevalue("acoustid"), 0.0)  # it knows whole tracks
    if request.param == "audible-magic":
        return Case(audible_magic(folder), start)
    return Case(CompositeIdentifier([landmark(folder), audible_magic(folder)]), start)


def ask(case: Case, folder: Path, *names: str) -> list[Identification]:
    refs = [AudioRef(f"asset:{name}", folder / f"{name}.wav") for name in names]
    return case.identifier.identify([case.identifier.analyze(ref) for ref in refs])


def test_a_backend_is_a_content_identifier(case: Case) -> None:
    assert isinstance(case.identifier, ContentIdentifier)
    assert case.identifier.info.name
    assert case.identifier.info.version
    assert case.identifier.info.min_seconds > 0


def test_answers_come_in_order_with_their_ids_and_the_provider(case: Case, folder: Path) -> None:
    names = ["unknown", "broken", "excerpt", "short", "unknown"]
    answers = ask(case, folder, *names)
    assert [answer.asset_id for answer in answers] == [f"asset:{name}" for name in names]
    assert [answer.status for answer in answers] == [
        *("no_match", "error", "match", "indeterminate", "no_match")
    ]
    info = case.identifier.info
    assert {(one.provider, one.provider_version) for one in answers} == {(info.name, info.version)}


def test_an_unreadable_file_is_an_error_with_its_reason(case: Case, folder: Path) -> None:
    broken, missing = ask(case, folder, "broken", "missing")
    assert (broken.status, broken.reason) == ("error", "not_audio")
    assert (missing.status, missing.reason) == ("error", "missing_file")


def test_a_sound_that_is_too_short_is_indeterminate(case: Case, folder: Path) -> None:
    (answer,) = ask(case, folder, "short")
    assert answer.status == "indeterminate"
    assert str(answer.reason).endswith("too_short")


def test_a_known_sound_is_a_match_where_it_is(case: Case, folder: Path) -> None:
    (answer,) = ask(case, folder, "excerpt")
    assert answer.status == "match"
    best = answer.matches[0]
    assert best.ref_id == "song"
    distance = best.ref_start_s - best.query_start_s
    assert distance == pytest.approx(case.reference_start_s, abs=0.15)
    assert 0 <= best.query_start_s < 2
    assert 8 < best.duration_s <= 12.2


def test_an_unknown_sound_is_no_match(case: Case, folder: Path) -> None:
    (answer,) = ask(case, folder, "unknown")
    assert (answer.status, answer.matches, answer.reason) == ("no_match", (), None)


def test_a_fingerprint_without_a_payload_is_an_error(case: Case) -> None:
    (answer,) = case.identifier.identify([Fingerprint("asset:lost", 12.0)])
    assert answer.status == "error"


def test_nothing_asked_is_nothing_answered(case: Case) -> None:
    assert case.identifier.identify([]) == []


def test_analysis_asks_nobody_and_repeats_itself(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    one, two = (case.identifier.analyze(AudioRef("a", folder / "excerpt.wav")) for _ in range(2))
    assert one.seconds == pytest.approx(12, abs=1e-3)
    assert flat(one) == flat(two)


def test_whoever_is_long_enough_for_an_answer_is_found(folder: Path, tmp_path: Path) -> None:
    """What could not match, short as it is, may not be called unknown."""
    identifier, song = landmark(folder), melody(REFERENCES["song"], 30)
    seconds = identifier.info.min_seconds
    for start_s in (2, 9, 14, 21):
        part = song[start_s * SAMPLE_RATE :][: round((seconds + 0.05) * SAMPLE_RATE)]
        sound = AudioRef("a", write_sound(tmp_path / "part.wav", part))
        (answer,) = identifier.identify([identifier.analyze(sound)])
        assert answer.status == "match", start_s


def test_a_sound_too_short_for_the_index_is_not_called_unknown(
    folder: Path, tmp_path: Path
) -> None:
    identifier = landmark(folder)
    seconds = identifier.info.min_seconds
    for length, status in ((seconds - 0.1, "indeterminate"), (seconds + 0.2, "no_match")):
        sound = AudioRef("x", write_sound(tmp_path / "x.wav", melody(1_000, length)))
        (answer,) = identifier.identify([identifier.analyze(sound)])
        assert answer.status == status
        assert answer.reason == ("too_short" if status == "indeterminate" else None)


def test_the_version_of_the_landmark_backend_names_the_index(folder: Path, tmp_path: Path) -> None:
    identifier, again = landmark(folder), landmark(folder)
    query = identifier.analyze(AudioRef("x", folder / "excerpt.wav"))
    assert identifier.identify([query]) == again.identify([query])
    assert again.info == identifier.info
    build_index([("song", pruned(read_landmarks(folder / "song.wav")))], tmp_path / "other")
    assert LandmarkIdentifier(tmp_path / "other").info.version != identifier.info.version


def flat(value: Any) -> Any:
    """Arrays as lists, whatever they are in, so that fingerprints compare."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [flat(one) for one in value]
    return flat(tuple(vars(value).values())) if hasattr(value, "__dict__") else str(value)


class Told:
    """A backend that says what it was told, and notes what it was asked."""

    def __init__(self, name: str, answers: Sequence[str], deterministic: bool = False) -> None:
        self.info = ProviderInfo(name, "1", True, 1.0, deterministic)
        self.answers, self.asked = list(answers), list[list[str]]()

    def analyze(self, audio: AudioRef) -> Fingerprint:
        return Fingerprint(audio.asset_id, 5.0, "fingerprint")

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        self.asked.append([one.asset_id for one in fingerprints])
        return [self._said(one.asset_id, self.answers.pop(0)) for one in fingerprints]

    def _said(self, asset: str, status: str) -> Identification:
        matches = (Match("ref", 0.0, 5.0, 0.0, 1.0),) if status == "match" else ()
        reason = "timeout" if status in ("error", "indeterminate") else None
        raw = json.dumps({"said": status})
        answer = Identification(asset, "no_match", self.info.name, "1", raw=raw)
        return replace(answer, status=status, matches=matches, reason=reason)


def composed(*members: Told) -> Identification:
    composite = CompositeIdentifier(members)
    return composite.identify([composite.analyze(AudioRef("a", Path("a.wav")))])[0]


@pytest.mark.parametrize("status", ["error", "indeterminate"])
def test_one_member_that_cant_tell_keeps_the_rest_from_passing(status: str) -> None:
    for answers in (["no_match", status], [status, "no_match"]):
        answer = composed(*(Told(f"m-{i}", [said]) for i, said in enumerate(answers)))
        assert answer.status == status
        assert answer.reason == f"m_{answers.index(status)}_timeout"


def test_a_match_of_any_member_wins_even_over_an_error() -> None:
    answer = composed(Told("a", ["error"]), Told("b", ["match"]), Told("c", ["no_match"]))
    assert answer.status == "match"
    assert json.loads(answer.raw or "") == {"a": '{"said": "error"}', "b": '{"said": "match"}'}


def test_members_are_asked_only_about_what_is_not_found_yet() -> None:
    first, second = Told("a", ["match", "no_match"]), Told("b", ["no_match"])
    composite = CompositeIdentifier([first, second])
    prints = [composite.analyze(AudioRef(name, Path(name))) for name in "xy"]
    assert [one.status for one in composite.identify(prints)] == ["match", "no_match"]
    assert second.asked == [["y"]]


def test_a_composite_has_different_members() -> None:
    for members in ([], [Told("a", []), Told("a", [])]):
        with pytest.raises(InvalidRequest, match="different backends"):
            CompositeIdentifier(members)


def rows(folder: Path, *names: str) -> list[dict[str, str]]:
    for name in names:
        if not (folder / name).exists():
            (folder / name).write_bytes(b"sound")
    return [{"rec_id": f"x:{name}", "path": name} for name in names]


@pytest.mark.parametrize("status", ["error", "indeterminate"])
def test_no_answer_of_a_service_is_asked_for_again_and_ends_in_quarantine(
    tmp_path: Path, status: str
) -> None:
    slept: list[float] = []
    service = Told("a", ["no_match", *[status] * 4])
    stage = Identify(identifier=service, sleep=slept.append)
    passed, held = stage.process(rows(tmp_path, "p", "q"), tmp_path)
    assert (passed.verdict, held.verdict, held.status) == ("pass", "quarantine", status)
    assert held.reason_code == "timeout"
    assert service.asked == [["x:p", "x:q"], ["x:q"], ["x:q"], ["x:q"]]
    assert slept == [1.0, 2.0, 4.0]


def test_an_answer_on_the_second_try_counts(tmp_path: Path) -> None:
    stage = Identify(identifier=Told("a", ["error", "match"]), sleep=lambda _: None)
    (finding,) = stage.process(rows(tmp_path, "p"), tmp_path)
    assert (finding.verdict, finding.reason_code) == ("flag", "content_match")


def test_a_sound_too_short_is_not_asked_about_again(folder: Path) -> None:
    stage = Identify(identifier=audible_magic(folder), sleep=lambda _: pytest.fail("asked again"))
    (finding,) = stage.process([{"rec_id": "x:s", "path": "short.wav"}], folder)
    assert (finding.verdict, finding.reason_code) == ("quarantine", "too_short")


def test_providers_are_chosen_by_the_settings(folder: Path) -> None:
    landmark(folder)
    toolkit = IdentifierFiles(
        audible_magic=str(folder / "toolkit"), audible_magic_config=folder / "toolkit.cfg"
    )
    settings = load_settings(
        CurationSettings,
        overrides=[
            'identify.providers=["landmark", "audible-magic"]',
            "identify.no_match_codes=[2005]",
            f'identifier.audible_magic="{toolkit.audible_magic}"',
        ],
    )
    chosen = make_identifier(settings.identify, folder / "landmarks", toolkit)
    assert chosen.info.name == "landmark+audible-magic"
    stage = Identify(settings.identify, folder / "landmarks", toolkit)
    sounds = [{"rec_id": f"x:{name}", "path": f"{name}.wav"} for name in ("excerpt", "unknown")]
    assert [one.verdict for one in stage.process(sounds, folder)] == ["flag", "pass"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command and gives what it printed."""
    app = typer.Typer()
    identification.register(app)
    name_options(app)

    def run(*arguments: object) -> str:
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_commands_index_and_ask_several_backends(
    run: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    known.mkdir()
    (known / "song.wav").symlink_to(folder / "song.wav")
    assert "landmarks" in run("index", known, "-o", tmp_path / "marks", "--set", "eval")
    store = Store(tmp_path / "curation")
    sounds = [
        {"rec_id": f"x:{n}", "source": "x", "path": f"{n}.wav"}
        for n in ("excerpt", "unknown", "short")
    ]
    store.append("recordings", pa.Table.from_pylist(sounds, schema=RECORDINGS), "0")
    said = run(
        *("identify", store.folder, "--root", folder, "--index", tmp_path / "marks"),
        *("--provider", "landmark", "--provider", "audible-magic"),
        *("--audible-magic", folder / "toolkit"),
        *("--audible-magic-config", folder / "toolkit.cfg"),
        *("--set", "no_match_codes=[2005]", "--set", "retries=0", "--workers", 1),
    )
    assert [line.split() for line in said.splitlines()] == [
        ["1", "flag:", "content_match"],
        ["1", "pass"],
        ["1", "quarantine:", "landmark_too_short"],
    ]
    evidence = store.read("identify").to_pylist()
    assert {row["provider"] for row in evidence} == {"landmark+audible-magic"}
    assert "audible-magic=1+2005" in evidence[0]["provider_version"]


def test_a_recipe_names_what_is_missing_before_any_work(tmp_path: Path) -> None:
    recipe = tmp_path / "curate.toml"
    recipe.write_text(
        'stages = ["license", "identify"]\n[identify]\nproviders = ["audible-magic"]\n'
    )
    settings = load_settings(CurationSettings, recipe, [f"folder={tmp_path}/curation"])
    with pytest.raises(InvalidRequest, match="audible_magic_config"):
        list(curate(settings))


@pytest.mark.parametrize(
    "text",
    ['[identify]\nproviders = ["landmark", "chromaprint"]\n', '[identifier]\nfingerprints = "x"\n'],
)
def test_recipes_that_use_the_removed_matcher_get_the_remedy(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "curate.toml"
    recipe.write_text(text)
    with pytest.raises(
        InvalidRequest, match=r"Chromaprint matcher was removed.*curate index"
    ) as one:
        load_settings(CurationSettings, recipe)
    assert "\n" not in str(one.value)


def test_what_changes_answers_changes_the_mark_of_the_evidence() -> None:
    plain = IdentifySettings()
    others = [
        IdentifySettings(providers=("landmark", "acoustid")),
        IdentifySettings(no_match_codes=(2005,)),
        IdentifySettings(min_seconds=4.0),
    ]
    assert len({params_hash(one) for one in (plain, *others)}) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["providers=[]"], "different providers"),
        (['providers=["landmark", "landmark"]'], "different providers"),
        (['providers=["shazam"]'], "landmark"),
        (["no_match_codes=[2006]"], "2006"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        load_settings(IdentifySettings, overrides=overrides)


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("landmark", "curate index"),
        ("acoustid", "AURALITH_ACOUSTID_KEY"),
        ("audible-magic", "audible_magic_config"),
    ],
)
def test_what_a_provider_lacks_is_told_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, provider: Any, message: str
) -> None:
    monkeypatch.delenv("AURALITH_ACOUSTID_KEY", raising=False)
    files = IdentifierFiles(fpcalc=str(folder / "fpcalc"))
    with pytest.raises(InvalidRequest, match=message):
        make_identifier(IdentifySettings(providers=(provider,)), None, files)
    with pytest.raises(InvalidRequest, match="no program"):
        Fpcalc(str(folder / "nowhere"))

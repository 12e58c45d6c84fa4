"""What a server says of its models' licenses, of labels, and of the training sounds that an output is nearest to."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from auralith.cli.main import run
from auralith.cli.serve import nearest_sounds
from auralith.jobs.tasks import ModelPlace
from auralith.server.cards import read_card
from auralith.server.service import Service, ServiceSettings
from tests.memorization.sounds import RATE, melody
from tests.serving import Client, settings

SECONDS = 1.4


@dataclass(frozen=True)
class Case:
    client: Client
    sound: str
    """Id of a sound that was made, and is among the training sounds."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("trained")
    service = Service(settings(folder / "data"))
    service.start()
    client = Client(service)
    job = client.make(seed="7", seconds=SECONDS, label="a set").json()
    sound = job["outputs"][0]["id"]
    (folder / "copy.wav").write_bytes(client("GET", f"/v1/audio/{sound}").content)
    for place, seeds in ((folder, range(3)), (folder / "null", range(50, 53))):
        place.mkdir(exist_ok=True)
        for seed in seeds:
            soundfile.write(place / f"{seed}.wav", melody(3, seed)[0].numpy(), RATE)
    rows = [f"{seed}.wav,artist {seed},CC0-1.0,javascript:alert(1)" for seed in range(3)]
    header = "audio,artist,license,url"
    table = "\n".join([header, *rows, "copy.wav,a <b>machine</b>,CC-BY-4.0,https://example.org/1"])
    (folder / "training.csv").write_text(table)
    known = nearest_sounds(folder / "training.csv", folder / "work", folder / "null")
    service.training = known
    yield Case(client, sound)
    service.stop(0.0)


def test_the_nearest_training_sounds_have_author_license_and_p_value(case: Case) -> None:
    answer = case.client("GET", f"/v1/audio/{case.sound}/nearest")
    assert answer.status_code == 200, answer.text
    first, *others = answer.json()["nearest"]
    assert (first["id"], first["author"]) == ("copy.wav", "a <b>machine</b>")
    assert (first["license"], first["url"]) == ("CC-BY-4.0", "https://example.org/1")
    assert first["cosine"] > 0.99 and first["p_value"] == 0.25
    assert len(others) == 3
    assert case.client("GET", f"/v1/audio/{case.sound}/nearest").json() == answer.json()
    assert case.client("GET", "/v1/limits").json()["training_sounds"] == 4
    assert case.client("GET", "/v1/audio/none-0/nearest").status_code == 404


def test_without_an_index_the_answer_says_how_to_load_one(case: Case) -> None:
    known, case.client.service.training = case.client.service.training, None
    try:
        answer = case.client("GET", f"/v1/audio/{case.sound}/nearest")
        assert case.client("GET", "/v1/limits").json()["training_sounds"] is None
    finally:
        case.client.service.training = known
    assert answer.status_code == 404 and "--training" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--training .", "--training-work"),
        ("--training-work w", "--training"),
        ("--training-null n", "--training"),
    ],
)
def test_options_that_go_together_name_each_other(
    options: str, named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["serve", "--data", str(tmp_path), "--device", "cpu", *options.split()]) == 2
    said = capsys.readouterr().err
    assert named in said and said.count("\n") == 1


def test_a_label_is_kept_and_found(case: Case) -> None:
    found = case.client("GET", "/v1/jobs?search=A+SET").json()["jobs"]
    assert [one["request"]["label"] for one in found] == ["a set"]
    for label in ("", "x" * 201, 5):
        answer = case.client.make(label=label)
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "label"


def test_models_say_their_license_and_card(case: Case) -> None:
    model = case.client("GET", "/v1/models").json()["models"][0]
    card = case.client("GET", f"/v1/models/{model['id']}/card").json()
    assert model["license"] is None and card["card"] is None  # the tiny one has none
    assert case.client("GET", "/v1/models/none/card").status_code == 404


def test_the_embedded_model_has_a_card(tmp_path: Path) -> None:
    service = Service(ServiceSettings(tmp_path / "data", (ModelPlace("embedded"),), ("cpu",)))
    try:
        assert service.view_models()[0]["license"] == "apache-2.0"
        assert service.card("embedded")["card"].startswith("# The embedded model")
    finally:
        service.store.close()


@pytest.mark.parametrize(
    ("front", "license"),
    [
        ("license: mit", "mit"),
        ("license: other\nlicense_name: stable-audio-community", "stable-audio-community"),
        ("tags:\n- audio\nlicense: 'cc-by-4.0'  # as the data", "cc-by-4.0"),
        ("tags: []", None),
    ],
)
def test_a_card_names_its_license_as_the_hub_reads_it(
    front: str, license: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# A model\n")
    (tmp_path / "LICENSE").write_bytes(b"Do what you \xff want")
    found = read_card(tmp_path)
    assert (found["license"], found["card"]) == (license, "# A model")
    assert found["license_text"] == "Do what you \ufffd want"
    with monkeypatch.context() as closed:  # files that have not changed are not read again
        closed.delattr(Path, "open")
        assert read_card(tmp_path) == found
    (tmp_path / "README.md").write_text("no metadata, license: none\n")
    assert read_card(tmp_path)["license"] is None

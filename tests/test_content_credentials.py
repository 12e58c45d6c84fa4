"""Signed C2PA manifests: what the library's own reader finds in our files, and what is refused before any work."""

import json
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
import soundfile
from certificates import Identity, make_identity
from cryptography.hazmat.primitives.asymmetric import ec

from auralith import GenerationRequest
from auralith.cli.main import run
from auralith.content_credentials import ContentSigner, manifest_of, open_signer
from auralith.edits import Extension, Inpainting, Loop, Variation
from auralith.errors import InvalidRequest
from auralith.pipeline import Audio, load
from auralith.provenance import read_provenance
from auralith.sound.reading import read
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
QUICK = ("--model", MODEL, "--steps", "2", "--seconds", "0.3", "--window", "fit", "--seed", "7")
MIMES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def sound() -> Audio:
    model = load(MODEL, device="cpu", dtype="float32")
    return model.generate(GenerationRequest("rain", seconds_total=0.3, steps=2, seed=1))


def options(identity: Identity) -> tuple[str, ...]:
    return ("--c2pa-cert", str(identity.chain), "--c2pa-key", str(identity.key))


def read_manifest(path: Path, trusted: Path | None = None) -> tuple[str, dict[str, Any], list[str]]:
    """By c2pa-python's reader: the state of the validation, the manifest, and what it has to say against it."""
    settings: dict[str, Any] = {"verify": {"verify_trust": True}}
    if trusted is not None:
        settings["trust"] = {"user_anchors": trusted.read_text()}
    context = c2pa.Context.from_dict(settings)
    with path.open("rb") as file:
        reader = c2pa.Reader(MIMES[path.suffix[1:]], file, context=context)
        store = json.loads(reader.json())
    codes = [status["code"] for status in store.get("validation_status", [])]
    return store["validation_state"], store["manifests"][store["active_manifest"]], codes


@pytest.mark.parametrize("suffix", MIMES)
def test_the_librarys_own_reader_verifies_a_signed_file(
    suffix: str, identity: Identity, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"rain.{suffix}"
    assert run(["generate", "rain", *QUICK, *options(identity), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    state, manifest, codes = read_manifest(path)
    assert (state, codes) == ("Valid", ["signingCredential.untrusted"])
    state, manifest, codes = read_manifest(path, trusted=identity.root)
    assert (state, codes) == ("Trusted", [])
    (assertion,) = manifest["assertions"]
    (action,) = assertion["data"]["actions"]
    assert assertion["label"] == "c2pa.actions.v2"
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SYNTHETIC)
    origin = read_provenance(path)
    assert action["softwareAgent"]["name"] == "auralith"
    assert origin.model_hash in action["description"]
    assert manifest["title"] == path.name


@pytest.mark.parametrize("suffix", MIMES)
def test_the_sound_and_our_tags_are_as_without_a_signature(
    suffix: str, identity: Identity, sound: Audio, tmp_path: Path
) -> None:
    plain, signed = (tmp_path / f"{name}.{suffix}" for name in ("plain", "signed"))
    sound.save(plain)
    sound.save(signed, signer=open_signer(identity.chain, identity.key))
    assert read_provenance(signed) == read_provenance(plain) == sound.provenance
    assert np.array_equal(soundfile.read(signed)[0], soundfile.read(plain)[0])
    assert signed.stat().st_size > plain.stat().st_size


@pytest.mark.parametrize("suffix", MIMES)
def test_a_changed_file_is_found_out(
    suffix: str, identity: Identity, sound: Audio, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    sound.save(path, signer=open_signer(identity.chain, identity.key))
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 500 if suffix == "wav" else len(data) - 500
    data[place] ^= 1
    path.write_bytes(data)
    state, _, codes = read_manifest(path, trusted=identity.root)
    assert (state, codes) == ("Invalid", ["assertion.dataHash.mismatch"])


def test_every_verb_that_writes_sound_signs(
    identity: Identity, sound: Audio, tmp_path: Path
) -> None:
    sound.save(tmp_path / "in.wav")
    quick = ("--model", MODEL, "--steps", "2", *options(identity))
    source = str(tmp_path / "in.wav")
    for verb in (
        ("vary", source, "rain"),
        ("inpaint", source, "rain", "--range", "0.1-0.2", "--passes", "1"),
        ("extend", source, "rain", "--seconds", "0.5", "--passes", "1"),
        ("loop", "rain", "--seconds", "0.5"),
    ):
        path = tmp_path / f"{verb[0]}.wav"
        assert run([*verb, *quick, "-o", str(path)]) == 0
        state, manifest, _ = read_manifest(path)
        source_type = manifest["assertions"][0]["data"]["actions"][0]["digitalSourceType"]
        assert state == "Valid"
        assert source_type.endswith("/trainedAlgorithmicMedia") == (verb[0] in ("vary", "loop"))


@pytest.mark.parametrize(
    ("edit", "source_type"),
    [
        (None, "trainedAlgorithmicMedia"),
        (Variation(0.5), "trainedAlgorithmicMedia"),
        (Loop(seconds=1.0), "trainedAlgorithmicMedia"),
        (Inpainting(((0.0, 1.0),)), "compositeWithTrainedAlgorithmicMedia"),
        (Extension(2.0), "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_samples_that_no_model_made_are_named(edit: Any, source_type: str, sound: Audio) -> None:
    from dataclasses import replace

    manifest = manifest_of(replace(sound.provenance, edit=edit), "a.wav")
    found = manifest["assertions"][0]["data"]["actions"][0]["digitalSourceType"]
    assert found == f"http://cv.iptc.org/newscodes/digitalsourcetype/{source_type}"


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name
)
def test_each_curve_has_its_algorithm(curve: ec.EllipticCurve, tmp_path: Path) -> None:
    identity = make_identity(tmp_path, curve=curve)
    expected = {256: "es256", 384: "es384", 521: "es512"}[curve.key_size]
    assert open_signer(identity.chain, identity.key).algorithm == expected


def test_the_key_is_not_shown(identity: Identity) -> None:
    signer = open_signer(identity.chain, identity.key)
    assert "PRIVATE" not in repr(signer)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that must fail, before a model is loaded."""
    assert run(["generate", "rain", "--model", "no/such/model", "-o", "a.wav", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert not list(Path().iterdir()), "something was written"
    return captured.err


def test_what_cannot_be_signed_is_one_line_before_anything_is_generated(
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    other = make_identity(tmp_path / "other")
    expired = make_identity(tmp_path / "expired", first_day=-40)
    future = make_identity(tmp_path / "future", first_day=2)
    locked = make_identity(tmp_path / "locked", password=b"secret")
    root = make_identity(tmp_path / "root", for_signing=False)
    chain, key = str(identity.chain), str(identity.key)
    missing, folder = str(tmp_path / "none.pem"), str(tmp_path)
    for arguments, message in (
        (("--c2pa-cert", chain), "give --c2pa-cert and --c2pa-key"),
        (("--c2pa-key", key), "give --c2pa-cert and --c2pa-key"),
        (
            ("--c2pa-cert", chain, "--c2pa-key", str(other.key)),
            "is not that of the first certificate",
        ),
        (options(expired), "expired on"),
        (options(future), "is valid from"),
        (options(locked), "is encrypted"),
        (options(root), "take a certificate for signing C2PA manifests"),
        (("--c2pa-cert", str(identity.root), "--c2pa-key", key), "is not that of the first"),
        (("--c2pa-cert", key, "--c2pa-key", key), "holds no PEM certificate"),
        (("--c2pa-cert", chain, "--c2pa-key", chain), "holds no PEM key"),
        (("--c2pa-cert", missing, "--c2pa-key", key), "can't be read"),
        (("--c2pa-cert", chain, "--c2pa-key", folder), "can't be read"),
    ):
        assert message in refused(capsys, *arguments), arguments
    message = refused(capsys, *options(identity), "-o", "a.ogg")
    assert ".ogg files can't hold a C2PA manifest; choose one of .wav, .flac, .mp3" in message
    assert ".ogg" in refused(capsys, *options(identity), "--format", "ogg", "-o", "a")


def test_without_the_library_the_extra_is_named(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from auralith.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingExtra, match=r"auralith\[provenance\]; pip install"):
        open_signer(identity.chain, identity.key)


def test_a_file_that_fails_to_be_signed_leaves_the_old_one(
    identity: Identity, sound: Audio, tmp_path: Path
) -> None:
    """The signature fails last of all; then nothing is written, and no part of it stays."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    signer = ContentSigner(identity.chain.read_bytes(), b"no key", "es256")
    from auralith.errors import AudioError

    with pytest.raises(AudioError, match="can't be signed"):
        sound.save(path, signer=signer)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(InvalidRequest, match=r"\.ogg"):
        sound.save(tmp_path / "a.ogg", signer=open_signer(identity.chain, identity.key))
    assert list(tmp_path.iterdir()) == [path]


def test_a_signed_file_is_made_again(identity: Identity, tmp_path: Path) -> None:
    made, again = str(tmp_path / "a.flac"), str(tmp_path / "b.flac")
    assert run(["generate", "rain", *QUICK, *options(identity), "-o", made]) == 0
    assert run(["generate", "--from", made, "--model", MODEL, "-o", again]) == 0
    assert np.array_equal(read(made)[0].numpy(), read(again)[0].numpy())

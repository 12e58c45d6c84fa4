"""A signed statement in a sound file that a model made it: a C2PA manifest ("content credentials").

The manifest says by which program and model the file was made, and with IPTC's digital source type that it is
synthetic; the signature covers the file's bytes. `c2pa-python` writes it (extra `provenance`). A reader
trusts the signature as far as the certificate. Everything that can be wrong with certificate and key is found when
they are opened, before there is anything to sign.
"""

import datetime
import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auralith.edits import Extension, Inpainting
from auralith.errors import AudioError, InvalidRequest
from auralith.extras import LazyModule, require
from auralith.files import whole_file
from auralith.provenance import Provenance, provenance_of

EXTRA = "provenance"
c2pa = LazyModule("c2pa", EXTRA)
x509 = LazyModule("cryptography.x509", EXTRA)
exceptions = LazyModule("cryptography.exceptions", EXTRA)
serialization = LazyModule("cryptography.hazmat.primitives.serialization", EXTRA)
MIME_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg"}
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_REMEDY = "take a certificate for signing C2PA manifests, its own first, then its issuers"
_TEST_WAV = (
    b"RIFF" + struct.pack("<I", 38) + b"WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 44_100, 88_200, 2, 16) + b"data" + struct.pack("<IH", 2, 0)
)  # fmt: skip


@dataclass(frozen=True)
class ContentSigner:
    """Signs files with a certificate chain (its own certificate first) and that certificate's key, both PEM."""

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    """C2PA's name of it, such as es256."""

    def check_format(self, path: str | Path) -> None:
        """Raise `InvalidRequest` if a file of this suffix can't be signed."""
        suffix = Path(path).suffix.lower()
        if suffix not in MIME_TYPES:
            raise InvalidRequest(
                f"{suffix} files can't hold a C2PA manifest; choose one of {', '.join(MIME_TYPES)}"
            )
        if MIME_TYPES[suffix] not in c2pa.Builder.get_supported_mime_types():
            raise InvalidRequest(
                f"this c2pa-python ({c2pa.__version__}) can't sign {suffix} files; update it or choose .wav"
            )

    def sign(self, data: bytes, path: str | Path, provenance: Provenance) -> bytes:
        """A file's bytes with the manifest inside; `path` is where they will be written.

        Raises `InvalidRequest` as `check_format` does, `AudioError` if the library refuses the file.
        """
        self.check_format(path)
        try:
            return self._signed(data, Path(path), manifest_of(provenance, Path(path).name))
        except c2pa.C2paError as error:
            raise AudioError(f"{path} can't be signed ({error})") from error

    def _signed(self, data: bytes, path: Path, manifest: dict[str, Any]) -> bytes:
        signed = io.BytesIO()
        info = c2pa.C2paSignerInfo(self.algorithm, self.chain, self.key, None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
            builder.sign(signer, MIME_TYPES[path.suffix.lower()], io.BytesIO(data), signed)
        return signed.getvalue()


def write_tagged(data: bytes, signer: ContentSigner | None, path: Path) -> None:
    """Write the bytes of a file with our tags, whole or not at all; with a manifest of what they say if there is a signer.

    Raises as `sign` and `read_provenance` do, and `ResourceError` where it can't be written.
    """
    if signer is not None:
        data = signer.sign(data, path, provenance_of(data, path.suffix[1:]))
    with whole_file(path) as file:
        file.write(data)


def manifest_of(provenance: Provenance, title: str) -> dict[str, Any]:
    """Return the manifest of a file called `title`, as c2pa-python takes it (C2PA 2, actions version 2).

    An inpainted or extended recording holds samples that no model made, and says so.
    """
    name, _, version = provenance.generator.partition(" ")
    mixed = isinstance(provenance.edit, Inpainting | Extension)
    source_type = "compositeWithTrainedAlgorithmicMedia" if mixed else "trainedAlgorithmicMedia"
    model = f"model {provenance.model} (SHA-256 {provenance.model_hash})"
    return _manifest(title, {"name": name, "version": version}, source_type, model)


def _manifest(
    title: str, program: dict[str, str], source_type: str, description: str
) -> dict[str, Any]:
    action = {
        "action": "c2pa.created",
        "digitalSourceType": _SOURCE_TYPES + source_type,
        "softwareAgent": program,
        "description": description,
    }
    return {
        "claim_generator_info": [program],
        "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }


def open_signer(chain: str | Path, key: str | Path) -> ContentSigner:
    """The signer of a certificate chain and its key, PEM files; tried out on a file of one sample.

    Raises:
        InvalidRequest: one of them is missing or not PEM, they don't belong together, the certificate is out of date, or
            not one that C2PA allows for signing.
        MissingExtra: c2pa-python is not installed.
    """
    require("c2pa", EXTRA)  # said before anything of the files
    public_key = _public_key(Path(chain))
    signer = ContentSigner(_read(chain), _read(key), _algorithm(Path(key), public_key, chain))
    manifest = _manifest("test", {"name": "auralith"}, "trainedAlgorithmicMedia", "a trial")
    try:
        signed = signer._signed(_TEST_WAV, Path("test.wav"), manifest)
        with c2pa.Reader(MIME_TYPES[".wav"], io.BytesIO(signed)) as reader:
            state, results = reader.get_validation_state(), reader.get_validation_results()
    except c2pa.C2paError as error:
        raise InvalidRequest(f"{chain} can't sign ({error}); {_REMEDY}") from error
    if state not in ("Valid", "Trusted"):
        raise InvalidRequest(
            f"what {chain} signs is not valid ({_failures(results or {})}); {_REMEDY}"
        )
    return signer


def _failures(results: dict[str, Any]) -> str:
    failures = results.get("activeManifest", {}).get("failure", [])
    return ", ".join(failure["code"] for failure in failures) or "no reason given"


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read ({error.strerror}); give a PEM file") from error


def _public_key(path: Path) -> Any:
    """Return the public key of a chain's first certificate, which is within its time."""
    data = _read(path)
    try:
        certificate = x509.load_pem_x509_certificates(data)[0]
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        public_key = certificate.public_key()
    except _pem_errors() as error:
        raise InvalidRequest(
            f"{path} holds no PEM certificate; give the chain to sign with"
        ) from error
    now = datetime.datetime.now(datetime.UTC)
    if now > last:
        raise InvalidRequest(f"the certificate in {path} expired on {last:%Y-%m-%d}; renew it")
    if now < first:
        raise InvalidRequest(
            f"the certificate in {path} is valid from {first:%Y-%m-%d} on; wait or take another"
        )
    return public_key


def _pem_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of cryptography for damaged PEM and for unsupported algorithms."""
    return (ValueError, exceptions.UnsupportedAlgorithm, x509.InvalidVersion)


def _algorithm(path: Path, public_key: Any, chain: str | Path) -> str:
    """Return the name of the signature that a key makes; it must belong to the certificate's public key."""
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise InvalidRequest(f"the key in {path} is encrypted; decrypt it first") from error
    except _pem_errors() as error:
        raise InvalidRequest(
            f"{path} holds no PEM key; give the certificate's private key"
        ) from error
    if key.public_key() != public_key:
        raise InvalidRequest(
            f"the key in {path} is not that of the first certificate in {chain}; give the key that belongs to it"
        )
    return _algorithm_of(path, key)


def _algorithm_of(path: Path, key: Any) -> str:
    asymmetric = "cryptography.hazmat.primitives.asymmetric"
    if isinstance(key, require(f"{asymmetric}.ed25519", EXTRA).Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, require(f"{asymmetric}.rsa", EXTRA).RSAPrivateKey):
        return "ps256"
    curves = {256: "es256", 384: "es384", 521: "es512"}
    if isinstance(key, require(f"{asymmetric}.ec", EXTRA).EllipticCurvePrivateKey):
        return curves.get(key.curve.key_size, "es256")
    raise InvalidRequest(f"{path} is a key of a kind that C2PA has not; take an elliptic curve one")

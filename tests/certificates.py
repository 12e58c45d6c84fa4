"""Certificates for tests: a root that we make ourselves and a certificate for signing, from it."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    "key_cert_sign crl_sign encipher_only decipher_only"
).split()


@dataclass(frozen=True)
class Identity:
    """PEM files of a certificate chain and of its key."""

    chain: Path
    key: Path
    root: Path


def make_identity(
    folder: Path,
    first_day: int = -1,
    days: int = 30,
    curve: ec.EllipticCurve | None = None,
    password: bytes | None = None,
    for_signing: bool = True,
) -> Identity:
    """An identity that is valid for so many days, from `first_day` on, counted from now."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = (ec.generate_private_key(curve or ec.SECP256R1()) for _ in range(2))
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=first_day)
    life = (start, start + datetime.timedelta(days=days))
    root = _certificate("Test root", root_key.public_key(), root_key, life, is_root=True)
    own = _certificate("Test", key.public_key(), root_key, life, is_root=not for_signing)
    encryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password)
    )
    identity = Identity(folder / "chain.pem", folder / "key.pem", folder / "root.pem")
    identity.chain.write_bytes(_pem(own) + _pem(root))
    identity.root.write_bytes(_pem(root))
    identity.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return identity


def _certificate(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePrivateKey,
    life: tuple[datetime.datetime, datetime.datetime],
    is_root: bool,
) -> x509.Certificate:
    wanted = ("key_cert_sign", "crl_sign") if is_root else ("digital_signature",)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Test root"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in wanted for use in USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
    )
    if not is_root:
        mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(mail, critical=False)
    return builder.sign(issuer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Auralith tests"))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

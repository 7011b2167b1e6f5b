"""A GitHub with one repository, and what our tests send there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from receiver.dispatch import Dispatch
from tests.receiver.fakes import START, Clock
from tests.stand_ins.github import GitHubStandIn, Workflow

REPOSITORY = "acme/serving"
DISPATCHES = f"POST /repos/{REPOSITORY}/dispatches"
PAT = "github_pat_11AAAAAAA_secret"
CLIENT_ID = "Iv23liHandoff"
KEY = "8f14e45fceea167a"
WORKFLOW = Workflow("deploy.yml", types=("BUILD_AND_DEPLOY",))


@contextmanager
def github_at(clock: Clock) -> Iterator[GitHubStandIn]:
    """A GitHub that has the repository and the token; in the end, nothing may have broken its description."""
    with GitHubStandIn(now=clock) as github:
        github.add_repository(REPOSITORY, workflows=(WORKFLOW,))
        github.add_token(
            PAT, repositories=(REPOSITORY,), permissions={"contents": "write", "actions": "read"}
        )
        yield github
    assert github.violations == []


def a_dispatch(**changes: Any) -> Dispatch:
    """A dispatch of a promotion."""
    fields: dict[str, Any] = {
        "id": "d1",
        "delivery_id": "v1",
        "repository": REPOSITORY,
        "event_type": "BUILD_AND_DEPLOY",
        "client_payload": {"artifact_collection_name": "μοντέλο 🐍", "handoff": {"key": KEY}},
        "key": KEY,
        "lane": "github/acme/serving/model",
        "accepted_at": START,
    }
    return Dispatch(**(fields | changes))


@lru_cache(maxsize=2)
def private_key(name: str) -> rsa.RSAPrivateKey:  # noqa: ARG001 - the name tells keys apart
    """A key as GitHub makes it for an App."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(kind: PrivateFormat = PrivateFormat.TraditionalOpenSSL, name: str = "app") -> str:
    """The key as GitHub lets one download it (PKCS#1), or as other tools write it (PKCS#8)."""
    return private_key(name).private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


def public_pem() -> bytes:
    """The half of the key that GitHub keeps."""
    return private_key("app").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def self_signed(directory: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that no authority knows, in one file."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key("app").public_key())
        .serial_number(1)
        .not_valid_before(START - timedelta(days=365))
        .not_valid_after(START + timedelta(days=36_500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private_key("app").public_key()), critical=False
        )
        .sign(private_key("app"), SHA256())
    )
    path = directory / "server.pem"
    path.write_bytes(private_pem().encode() + certificate.public_bytes(Encoding.PEM))
    return path


def seconds(number: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=number)

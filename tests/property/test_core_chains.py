"""Chains of random shape, judged by the path validation here and by OpenSSL: the two have to agree."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finial.core import pem
from finial.core.errors import X509VerifyError
from finial.core.x509path import verify_x509
from support import forge

OPENSSL = shutil.which("openssl")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
URI = x509.UniformResourceIdentifier

# What is changed about one signing certificate, and whether that alone spoils the chain.
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "expired": {"not_after": forge.NOW - forge.DAY / 2},
    "not yet valid": {"not_before": forge.NOW + forge.DAY / 2},
    "no signing certificate": {"ca": False},
    "no certificate signing": {"usages": ("cRLSign",)},
    "no key usage": {"usages": None},
    "path length 0": {"path_length": 0},
    "path length 1": {"path_length": 1},
    "unknown critical extension": {"extra": [(UNKNOWN, True)]},
    "unknown extension": {"extra": [(UNKNOWN, False)]},
    "own domain permitted": {"constraints": forge.constraints([URI("a.test")])},
    "other domain permitted": {"constraints": forge.constraints([URI("b.test")])},
    "domains below permitted": {"constraints": forge.constraints([URI(".test")])},
    "own domain excluded": {"constraints": forge.constraints((), [URI("a.test")])},
    "other domain excluded": {"constraints": forge.constraints((), [URI("b.test")])},
    "no identifiers": {"identified": False},
}


@dataclass(frozen=True)
class Shape:
    """The change of each signing certificate from the root down, and what is odd about the presentation."""

    changes: tuple[str, ...]
    shuffled: bool
    forged: bool
    missing: bool


SHAPES = st.builds(
    Shape,
    changes=st.lists(
        st.one_of(st.just("nothing"), st.sampled_from(list(CHANGES))), min_size=1, max_size=4
    ).map(tuple),
    shuffled=st.booleans(),
    forged=st.sampled_from([False] * 7 + [True]),
    missing=st.sampled_from([False] * 7 + [True]),
)


def build(shape: Shape) -> tuple[forge.Made, list[forge.Made]]:
    """The root, and the leaf with its intermediates."""
    root = forge.root("level 0", **CHANGES[shape.changes[0]])
    chain = [root]
    for level, change in enumerate(shape.changes[1:], 1):
        chain.append(forge.authority(f"level {level}", chain[-1], **CHANGES[change]))
    signer = chain[-1]
    if shape.forged:
        signer = forge.Made(signer.der, forge.key("forger"))
    below = [forge.leaf(signer), *(chain[1:] if shape.shuffled else chain[:0:-1])]
    if shape.missing and len(below) > 1:
        del below[-1]
    return root, below


def openssl_accepts(folder: Path, root: forge.Made, chain: list[forge.Made]) -> bool:
    assert OPENSSL is not None
    (folder / "root").write_bytes(pem.write(pem.CERTIFICATE, [root.der]))
    (folder / "leaf").write_bytes(pem.write(pem.CERTIFICATE, [chain[0].der]))
    (folder / "others").write_bytes(pem.write(pem.CERTIFICATE, [made.der for made in chain[1:]]))
    command = [OPENSSL, "verify", "-attime", str(int(forge.NOW.timestamp())), "-CAfile", "root"]
    untrusted = ["-untrusted", "others"] if chain[1:] else []
    done = subprocess.run([*command, *untrusted, "leaf"], cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(OPENSSL is None, reason="the openssl program is not installed")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHAPES)
def test_openssl_agrees(tmp_path: Path, shape: Shape) -> None:
    root, chain = build(shape)
    try:
        verify_x509([made.der for made in chain], forge.bundles(a=root), now=forge.NOW)
        findings: list[str] = []
    except X509VerifyError as refused:
        findings = [f"{finding.where}: {finding.reason.id}" for finding in refused.findings]
    assert (not findings) == openssl_accepts(tmp_path, root, chain), findings


@settings(max_examples=60, deadline=None)
@given(SHAPES)
def test_a_sound_chain_is_accepted_and_each_change_alone_is_named(shape: Shape) -> None:
    harmless = {
        "nothing",
        "no key usage",
        "unknown extension",
        "own domain permitted",
        "domains below permitted",
        "other domain excluded",
        "no identifiers",
    }
    root, chain = build(shape)
    sound = not (shape.forged or shape.missing) and set(shape.changes) <= harmless
    try:
        path = verify_x509([made.der for made in chain], forge.bundles(a=root), now=forge.NOW).path
    except X509VerifyError as refused:
        assert not sound, refused  # noqa: PT017 - both outcomes are asserted
        assert all(finding.reason.id.startswith("x509-") for finding in refused.findings)  # noqa: PT017
    else:
        assert len(path) == len(shape.changes) + 1

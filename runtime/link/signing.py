# SPDX-License-Identifier: Apache-2.0
"""Signatures of updates: EdDSA over edwards25519 with BLAKE2b, as Monocypher's ``crypto_eddsa`` has it. PROTOCOL.md §6.

It is not Ed25519, whose hash is SHA-512: keys and signatures of the two are of no use to each other. A key is kept as one
line of text, a word that says what it is and hexadecimal digits: 128 of the secret key (seed and public key, 32 bytes each,
as Monocypher has it) or 64 of the public key.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from joulet.errors import MissingDependencyError, UsageError
from joulet.link import wire

MAGIC = b"joulet-update-1"
SECRET_WORD, PUBLIC_WORD = "joulet-eddsa-blake2b-secret", "joulet-eddsa-blake2b-public"
_KEY_BYTES, _SECRET_BYTES = 32, 64


def signed_bytes(slot: str, content: bytes) -> bytes:
    """Return what is signed of an update: a Signed record."""
    record = np.zeros((), wire.dtype("Signed"))
    record["magic"][: len(MAGIC)] = np.frombuffer(MAGIC, np.uint8)
    record["slot"], record["bytes"] = wire.CODES["Slot"][slot], len(content)
    record["sha256"] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
    return record.tobytes()


def sign(secret: bytes, slot: str, content: bytes) -> bytes:
    """Return the signature of an update, 64 bytes.

    Parameters
    ----------
    secret : bytes
        Seed and public key, 64 bytes.

    Raises
    ------
    UsageError
        If the key has another size.
    MissingDependencyError
        Without pymonocypher.
    """
    if len(secret) != _SECRET_BYTES:
        raise UsageError(f"a secret key has {_SECRET_BYTES} bytes, not {len(secret)}")
    return bytes(_monocypher().signature_sign(secret, signed_bytes(slot, content)))


def public_key(secret: bytes) -> bytes:
    """Return the public key of a secret one, 32 bytes."""
    return secret[-_KEY_BYTES:]


def new_secret() -> bytes:
    """Return a new secret key, 64 bytes.

    Raises
    ------
    MissingDependencyError
        Without pymonocypher.
    """
    secret, _ = _monocypher().generate_signing_key_pair()
    return bytes(secret)


def write_keys(path: Path, secret: bytes) -> Path:
    """Write a secret key, for its owner's eyes only, and beside it the public one; return the latter's path.

    Raises
    ------
    UsageError
        If there is such a file already.
    """
    public_path = path.with_name(path.name + ".pub")
    public = public_key(secret)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{SECRET_WORD} {secret.hex()}\n")
    except FileExistsError as error:
        raise UsageError(f"'{path}' is there already: a key is not overwritten; name another file") from error
    public_path.write_text(f"{PUBLIC_WORD} {public.hex()}\n", encoding="ascii")
    return public_path


def read_secret(path: Path) -> bytes:
    """Return the secret key in a file that :func:`write_keys` made.

    Raises
    ------
    UsageError
        If it holds none.
    """
    return _read(path, SECRET_WORD, _SECRET_BYTES)


def read_public(text: str) -> bytes:
    """Return a public key: 64 hexadecimal digits, or a file that :func:`write_keys` made.

    Raises
    ------
    UsageError
        If it is neither.
    """
    path = Path(text)
    if path.is_file():
        return _read(path, PUBLIC_WORD, _KEY_BYTES)
    return _key(text, _KEY_BYTES, f"--key {text}: neither a file nor {2 * _KEY_BYTES} hexadecimal digits")


def _read(path: Path, word: str, n_bytes: int) -> bytes:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from error
    if text.startswith("-----BEGIN"):
        raise UsageError(
            f"'{path}' is a PEM file, of Ed25519 or another kind; boards check EdDSA with BLAKE2b: joulet keys makes keys"
        )
    words = text.split()
    if words[:1] == [SECRET_WORD] and word == PUBLIC_WORD:
        raise UsageError(
            f"'{path}' is the secret key: give the public one, '{path}.pub', and keep this one to yourself"
        )
    if len(words) != 2 or words[0] != word:
        raise UsageError(f"'{path}' holds no key of the kind {word}; joulet keys makes them")
    return _key(words[1], n_bytes, f"'{path}' holds a damaged key")


def _key(text: str, n_bytes: int, problem: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise UsageError(problem) from error
    if len(key) != n_bytes:
        raise UsageError(problem)
    return key


def _monocypher() -> Any:
    try:
        return importlib.import_module("monocypher")
    except ImportError as error:
        raise MissingDependencyError("signing needs pymonocypher: pip install 'joulet[sign]'") from error

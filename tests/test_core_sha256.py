# SPDX-License-Identifier: Apache-2.0
"""csrc/core/sha256.c against hashlib, whole and in pieces."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def sha(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("sha") / "sha256.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    subprocess.run([compiler, *flags, str(ROOT / "csrc/core/sha256.c"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def digest(sha: ctypes.CDLL, *pieces: bytes) -> bytes:
    state, out = ctypes.create_string_buffer(128), ctypes.create_string_buffer(32)
    sha.jlt_sha256_begin(state)
    for piece in pieces:
        sha.jlt_sha256_take(state, piece, ctypes.c_size_t(len(piece)))
    sha.jlt_sha256_end(state, out)
    return out.raw


@pytest.mark.parametrize("n_bytes", [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 1000, 4096])
def test_it_agrees_with_hashlib(sha: ctypes.CDLL, n_bytes: int) -> None:
    data = np.random.default_rng(n_bytes).bytes(n_bytes)
    assert digest(sha, data) == hashlib.sha256(data).digest()


def test_the_examples_of_nist(sha: ctypes.CDLL) -> None:
    assert digest(sha, b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert digest(sha, text).hex() == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"


def test_pieces_make_no_difference(sha: ctypes.CDLL) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        pieces = [rng.bytes(int(size)) for size in rng.integers(0, 140, rng.integers(0, 8))]
        assert digest(sha, *pieces) == hashlib.sha256(b"".join(pieces)).digest()

# SPDX-License-Identifier: Apache-2.0
"""Whatever the bytes are, the importer answers with a graph or with one of our errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from joulet.errors import JouletError, MalformedModelError, ModelError
from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes
from joulet.passes.verify import verify

MODELS = sorted((Path(__file__).parent / "models").glob("*.tflite"))
PER_MODEL = 40


def outcome(data: bytes) -> str:
    """Return what importing did; anything but a verified graph or our own error fails the test by itself."""
    try:
        graph = load_tflite(data)
    except ModelError as error:
        message, kind = str(error), type(error).__name__
    else:
        verify(graph)
        return "ok"
    assert message.startswith("model: ")
    assert "\n" not in message
    return kind


def flipped(data: bytes, rng: np.random.Generator, bits: int) -> bytes:
    """Return ``data`` with some random bits inverted."""
    broken = bytearray(data)
    for position in rng.integers(0, 8 * len(data), bits).tolist():
        broken[position // 8] ^= 1 << (position % 8)
    return bytes(broken)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_flipped_bits_give_a_graph_or_our_error(path: Path) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    outcomes = {outcome(flipped(data, rng, 1 + i % 12)) for i in range(PER_MODEL)}
    assert outcomes <= {"ok", "MalformedModelError", "UnsupportedModelError", "ModelError"}


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_flipped_words_of_the_tables_give_a_graph_or_our_error(path: Path) -> None:
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    nasty = [0, 1, 2, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    for _ in range(PER_MODEL):
        broken = bytearray(data)
        at = int(rng.integers(0, len(data) // 4)) * 4
        broken[at : at + 4] = int(rng.choice(nasty)).to_bytes(4, "little")
        assert outcome(bytes(broken)) != ""


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_truncation_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 40).astype(int).tolist():
        # What lies at the very end may be padding or a name: a graph is then still whole.
        if outcome(data[:length]) == "ok":
            assert length > len(data) * 0.9


def test_random_bytes_are_refused() -> None:
    rng = np.random.default_rng(3)
    for size in (0, 1, 4, 7, 8, 15, 16, 64, 1024, 4096):
        noise = rng.bytes(size)
        assert outcome(noise) == "MalformedModelError"
        assert outcome(noise[:4] + b"TFL3" + noise[8:]) != "ok"


def test_a_mutated_graph_that_imports_also_passes_the_passes() -> None:
    rng = np.random.default_rng(4)
    survived = 0
    for path in MODELS:
        data = path.read_bytes()
        for _ in range(10):
            try:
                exact_passes(load_tflite(flipped(data, rng, 2)))
                survived += 1
            except JouletError:
                continue
    assert survived > 10


def test_a_missing_file_is_named() -> None:
    with pytest.raises(JouletError, match=r"nowhere\.tflite"):
        load_tflite(Path("nowhere.tflite"))


def test_the_identifier_is_checked() -> None:
    with pytest.raises(MalformedModelError, match="TFL3"):
        load_tflite(bytes(64))

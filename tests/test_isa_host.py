# SPDX-License-Identifier: Apache-2.0
"""Kernels of every instruction set that this machine runs, byte for byte against the reference kernels."""

from __future__ import annotations

import numpy as np
import pytest
from isa_cases import CASES

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array

ISAS = [name for name, code in layout.CODES["Isa"].items() if name != "REF" and lib.jlt_host_runs(code)]
SEEDS = range(40)
SAMPLES = 3


def inputs_of(engine: HostEngine, seed: int) -> list[Array]:
    """Random int8 over the whole range; one sample all at the low end, one at both ends."""
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (SAMPLES, *info.shape)).astype(np.int8) for info in engine.inputs]
    for array in arrays:
        array[1] = -128
        array[2] = rng.choice([-128, 127], array[2].shape)
    return arrays


def in_tiles(engine: HostEngine, sample: list[Array], path: int, rng: np.random.Generator) -> bytes:
    """Run one sample in tiles of drawn sizes over an arena of ones, and return the answer."""
    engine._arena[:] = 0xFF
    engine.start(sample, path)
    event = ffi.new("jlt_event_t *")
    while event.kind != lib.JLT_EVENT_EXIT:
        assert lib.jlt_engine_tile(engine._engine, 0, int(rng.integers(1, 4)), event) == 0
    engine._event[0] = event[0]
    return engine.answer().tobytes()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_kernels_equal_the_reference(isa: str, name: str) -> None:
    """Whole and tile by tile, at every precision."""
    bad = []
    for seed in SEEDS:
        content = CASES[name](seed)
        reference, engine = HostEngine(content, isa="REF"), HostEngine(content, isa=isa)
        arrays = inputs_of(reference, seed)
        rng = np.random.default_rng(seed)
        for path, label in enumerate(reference.path_names):
            wanted = reference.infer(arrays, path=path).outputs[0]
            if not (engine.infer(arrays, path=path).outputs[0] == wanted).all():
                bad.append((seed, label, "whole"))
            for sample in range(SAMPLES):
                if in_tiles(engine, [array[sample] for array in arrays], path, rng) != wanted[sample].tobytes():
                    bad.append((seed, label, "tiles"))
    assert not bad, f"{isa} {name}: (seed, path, how) {bad[:20]}"

# SPDX-License-Identifier: Apache-2.0
"""Band groups: the same bytes as whole tensors, in less memory; and what is spoiled is refused."""

from __future__ import annotations

import numpy as np
import pytest
from band_cases import chain

from joulet._core import lib
from joulet.container import layout
from joulet.container.isa_plan import arena_bytes, band_groups, with_isa_plan
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array

ISAS = [name for name, code in layout.CODES["Isa"].items() if name != "REF" and lib.jlt_host_runs(code)]
SEEDS = range(24)
SAMPLES = 3


def inputs_of(engine: HostEngine, seed: int) -> list[Array]:
    """Random int8 over the whole range; one sample at both ends."""
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (SAMPLES, *info.shape)).astype(np.int8) for info in engine.inputs]
    for array in arrays:
        array[1] = rng.choice([-128, 127], array[1].shape)
    return arrays


@pytest.mark.parametrize("isa", ISAS)
def test_bands_give_the_bytes_of_whole_tensors(isa: str) -> None:
    """Under limits that are easy, hard and out of reach, at every precision; the check of the C side admits each."""
    banded = 0
    for seed in SEEDS:
        content = chain(seed)
        reference = HostEngine(content, isa="REF")
        arrays = inputs_of(reference, seed)
        whole = arena_bytes(with_isa_plan(content, isa), isa)
        for limit in (whole - 1, whole * 2 // 3, 0):
            planned = with_isa_plan(content, isa, ram_bytes=limit)
            engine = HostEngine(planned, isa=isa)
            assert not band_groups(planned, isa) or arena_bytes(planned, isa) < whole
            banded += bool(band_groups(planned, isa))
            for path in range(len(reference.path_names)):
                engine._arena[:] = 0xA5
                wanted = reference.infer(arrays, path=path)
                got = engine.infer(arrays, path=path)
                assert (got.outputs[0] == wanted.outputs[0]).all(), (seed, limit, path)
                assert (got.macs == wanted.macs).all()
    assert banded > len(SEEDS) // 4

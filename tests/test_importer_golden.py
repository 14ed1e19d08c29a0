# SPDX-License-Identifier: Apache-2.0
"""The small models through importer, passes and C engine: the judges' bytes, with no judge at hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes

TESTS = Path(__file__).parent
MANIFEST = json.loads((TESTS / "golden" / "MANIFEST.json").read_text())["models"]


@pytest.mark.parametrize("optimised", [False, True], ids=["as_imported", "after_passes"])
@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_the_engine_gives_the_judges_bytes(name: str, optimised: bool) -> None:
    host = pytest.importorskip("joulet.engine.host", reason="the C engine is not built", exc_type=ImportError)
    from joulet.container.write import write_container
    from joulet.quant.bare import bare_quant_graph

    data = (TESTS / "models" / f"{name}.tflite").read_bytes()
    assert hashlib.sha256(data).hexdigest() == MANIFEST[name]["model_sha256"]
    graph = load_tflite(data)
    engine = host.HostEngine(write_container(bare_quant_graph(exact_passes(graph) if optimised else graph)))
    golden = np.load(TESTS / "golden" / f"{name}.npz")
    result = engine.infer([golden[f"input_{i}"] for i in range(len(graph.inputs))])
    assert len(result.outputs) == len(graph.outputs)
    for i, got in enumerate(result.outputs):
        want = golden[f"output_{i}"]
        assert got.dtype == want.dtype
        assert np.array_equal(got.reshape(want.shape), want)

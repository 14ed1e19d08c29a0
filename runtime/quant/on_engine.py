# SPDX-License-Identifier: Apache-2.0
"""Probes on the C engine of this machine, one thread a core."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.ir import QuantGraph
from joulet.quant.probe import Array

_MOST_THREADS = 8
_LEAST_SAMPLES_A_THREAD = 8


def execute_on_engine(source: QuantGraph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Run the only path of a quantised graph on a batch; see :data:`joulet.quant.probe.Execute`."""
    container = write_container(source)
    n = len(inputs[0])
    threads = max(1, min(os.cpu_count() or 1, _MOST_THREADS, n // _LEAST_SAMPLES_A_THREAD))
    edges = np.linspace(0, n, threads + 1).astype(int)

    def run(part: int) -> tuple[Array, ...]:
        taken = slice(edges[part], edges[part + 1])
        arrays = [np.ascontiguousarray(a[taken]) for a in inputs]
        return tuple(HostEngine(container).infer(arrays).outputs)

    if threads == 1:
        return run(0)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(run, range(threads)))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))

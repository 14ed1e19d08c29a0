# SPDX-License-Identifier: Apache-2.0
"""``joulet bench --plot``: each op's rate against its MACs per byte, counted on a virtual board or timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from joulet.boards import load_board
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import stored_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array, Engine
from joulet.errors import UsageError
from joulet.plan.step_costs import step_bills
from joulet.plan.work import work_class
from joulet.report.roofline import Roof, RoofPoint, roofline_png

_COPY_BYTES = 1 << 20


def write_roofline(target: Path, engine: Engine, spec: str, path: str, inputs: Sequence[Array]) -> dict[str, Any]:
    """Write the roofline of a path as PNG; return its points and roof.

    Parameters
    ----------
    target
        File to write.
    engine, spec
        Where the container runs, and the name it was opened by: ``host…`` or ``virtual:BOARD``.
    path
        Path of the container.
    inputs : sequence of ndarray
        Samples; the first one runs.

    Raises
    ------
    UsageError
        If the engine counts no single ops, or the file cannot be written.
    MissingDependencyError
        If matplotlib is not installed.
    """
    kind, _, where = spec.partition(":")
    if kind == "virtual":
        container, points, roof = _on_board(engine, where, path, inputs)
    elif isinstance(engine, HostEngine):
        container, points, roof = _on_host(engine, path)
    else:
        raise UsageError(
            f"--plot needs what each op takes, which --engine {spec} does not tell; use host or virtual:BOARD"
        )
    if not points:
        raise UsageError("--plot shows ops that multiply; this model has none")
    content = roofline_png(f"{container.meta.get('name', 'model')}, {path}, on {spec}", points, roof)
    try:
        target.write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write '{target}': {error.strerror}") from error
    return {
        "file": str(target),
        "unit": roof.unit,
        "peak": roof.peak,
        "bytes_rate": roof.bytes_rate,
        "points": [
            {"op": p.name, "work": p.work, "macs_per_byte": p.macs_per_byte, "rate": p.rate, "share": p.share}
            for p in points
        ],
    }


def _on_board(engine: Engine, name: str, path: str, inputs: Sequence[Array]) -> tuple[Container, list[RoofPoint], Roof]:
    from joulet.live.measure import measured_costs

    board, container = load_board(name), engine.container  # type: ignore[attr-defined]
    precision = _one_precision(container, list(engine.path_names).index(path), path)
    cycles = measured_costs(container.data, name, tuple(array[0] for array in inputs)).cycles[precision]
    bills = step_bills(container, board, precision, stored_copies(container, board.isa))
    whole = float(cycles.sum())
    points = [
        RoofPoint(
            name=f"{op} {work_class(container, op, bill.kernels)}",
            work=work_class(container, op, bill.kernels),
            macs_per_byte=1.0 / bill.accesses_per_mac,
            rate=bill.macs / int(cycles[op]),
            share=int(cycles[op]) / whole,
        )
        for op, bill in enumerate(bills)
        if int(container.ops[op]["weight"]) != NO_INDEX and bill.accesses_per_mac
    ]
    roof = Roof(
        unit="MAC/cycle",
        bytes_unit="bytes/cycle",
        peak=board.roof.macs_per_cycle,
        bytes_rate=board.roof.bytes_per_cycle,
        source=board.provenance["roof"],
    )
    return container, points, roof


def _one_precision(container: Container, index: int, path: str) -> int:
    precisions = {int(each) for each in container.paths[index]["precisions"][: len(container.exits)]}
    if len(precisions) != 1:
        raise UsageError(f"--plot counts one precision at a time; path {path} has several: take --precision w8")
    return precisions.pop()


def _on_host(engine: HostEngine, path: str) -> tuple[Container, list[RoofPoint], Roof]:
    from joulet.tools.bench_host import op_rows, peak_gmac_per_s

    container = engine.container
    precision = _one_precision(container, list(engine.path_names).index(path), path)
    rows = op_rows(engine, path)
    whole = sum(row["time_s"] for row in rows)
    points = [
        RoofPoint(
            name=f"{row['op']} {work_class(container, row['op'], engine.isa)}",
            work=work_class(container, row["op"], engine.isa),
            macs_per_byte=row["macs"] / _touched_bytes(container, row["op"], precision),
            rate=row["gmac_per_s"],
            share=row["time_s"] / whole,
        )
        for row in rows
        if int(container.ops[row["op"]]["weight"]) != NO_INDEX
    ]
    peak, copied = peak_gmac_per_s(engine.isa), _copy_gbyte_per_s()
    best = max((p.rate for p in points), default=1.0)
    source = (
        f"measured here: peak of int8 products of {engine.isa} on one core"
        if peak
        else "no peak known for the reference kernels"
    )
    return (
        container,
        points,
        Roof(
            unit="GMAC/s",
            bytes_unit="GB/s",
            peak=peak or best,
            bytes_rate=copied,
            source=f"{source}; bytes read and written by a copy of 1 MiB; an op's bytes are its tensors and weights, once each",
        ),
    )


def _touched_bytes(container: Container, op: int, precision: int) -> int:
    """Return the bytes of an op's tensors and weights, each once."""
    record = container.ops[op]
    tensors = [int(record["output"]), *(int(each) for each in record["inputs"][: int(record["n_inputs"])])]
    weight = container.weights[int(record["weight"])]
    bits = int(container.layers[precision * len(container.weights) + int(record["weight"])]["bits"])
    n_weights = int(weight["rows"]) * int(weight["row_elements"])
    width = {CODES["DType"]["S8"]: 1}
    moved = sum(
        int(container.tensors[t]["elements"]) * width.get(int(container.tensors[t]["dtype"]), 4) for t in tensors
    )
    return moved + n_weights * bits // 8


def _copy_gbyte_per_s() -> float:
    source, target = np.zeros(_COPY_BYTES, np.uint8), np.zeros(_COPY_BYTES, np.uint8)
    least = float("inf")
    for _ in range(50):
        started = time.perf_counter()
        np.copyto(target, source)
        least = min(least, time.perf_counter() - started)
    return 2 * _COPY_BYTES / least * 1e-9

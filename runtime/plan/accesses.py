# SPDX-License-Identifier: Apache-2.0
"""How often ops access their tensors, and what a second, slower memory makes them wait.

An access is one instruction's, whatever its width: kernels read words where they can. Counts are linear in the work that the kernel
does (:mod:`joulet.plan.work`), with coefficients fitted to ops that were counted on a virtual board, or read off a kernel's loops
(:class:`joulet.boards.AccessModel`, ``tests/studies/fit_accesses.py``). Scratch is not among them: it lies in the fast memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import AccessModel, Board
from joulet.container.isa_plan import slow_tensors
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import Copies, IsaNeeds, isa_needs
from joulet.container.read import Container
from joulet.plan.kernel_costs import kernel_choice
from joulet.plan.work import Counts, op_params, taps, whole_windows, work_class, work_of

_CONST = CODES["TensorFlag"]["CONST"]
_S8 = CODES["DType"]["S8"]


def access_counts(container: Container, op: int, kernels: str) -> Counts:
    """Return what accesses are linear in: the work of an op, and words of its tensors and of rows of its patches."""
    counts = dict(work_of(container, op, kernels))
    params = op_params(container, op)
    counts["in_words"] = -(-sum(_bytes(container, tensor) for tensor in _inputs(container, op)) // 4)
    if kernels == "MVE":  # the work says how many vectors are read
        return counts
    if work_class(container, op, kernels) == "fc":
        # a vector that is no whole words is copied once, with what pads it
        passes = counts["row"] if sum(_bytes(container, tensor) for tensor in _inputs(container, op)) % 4 == 0 else 1
        counts["vector_words"] = passes * counts["in_words"]
    counts["out_words"] = -(-_bytes(container, int(container.ops[op]["output"])) // 4)
    if params is not None and "k_w" in params.dtype.names and "in_c" in params.dtype.names:
        row = int(params["k_w"]) * int(params["in_c"]) // max(1, int(params["groups"]))
        pixels = int(params["n"]) * int(params["out_h"]) * int(params["out_w"])
        counts["row_words"] = pixels * int(params["k_h"]) * -(-row // 4)
        counts["row_bytes_left"] = pixels * int(params["k_h"]) * (row % 4)
        if "border" in counts and "patch" in counts:
            counts["patch_words"] = _patch_words(params, row)
    return counts


def _patch_words(params: Any, row: int) -> float:
    """Return the reads that gather patches: words of a row; where columns are missing bytes, unless pixels are words."""
    channels, whole = int(params["in_c"]), whole_windows(params, "w")
    cut = (taps(params, "w") - whole * int(params["k_w"])) * channels
    return float(
        int(params["n"]) * taps(params, "h") * (whole * -(-row // 4) + (cut / 4 if channels % 4 == 0 else cut))
    )


def op_accesses(container: Container, op: int, kernels: str, model: AccessModel) -> tuple[float, float]:
    """Return how often an op reads its inputs in RAM and writes its output, when kernels of a set run it."""
    key = (kernels, work_class(container, op, kernels))
    counts = access_counts(container, op, kernels)
    reads, writes = (_times(units.get(key), counts) for units in (model.reads, model.writes))
    if reads is None or writes is None:  # nobody has counted such ops: a word at a time in, a byte at a time out
        return float(counts["in_words"]), float(_bytes(container, int(container.ops[op]["output"])))
    return (reads if _inputs(container, op) else 0.0), writes


def tensor_waits(container: Container, board: Board, stored: Copies | None) -> tuple[float, ...]:
    """Return what each tensor would make an inference wait in the slow memory, in the mean over integer precisions [cycles].

    Parameters
    ----------
    container
        Its records.
    board
        With a slow memory.
    stored
        Packed copies in the plan part; None without such a part.
    """
    waits = np.zeros(len(container.tensors))
    integer = [index for index, each in enumerate(container.precisions) if not each["is_f32"]]
    for precision in integer:
        for shares in _shares(container, board, precision, stored):
            for tensor, cycles in shares.items():
                waits[tensor] += cycles / len(integer)
    for tensor in container.model["inputs"][: int(container.model["n_inputs"])]:
        assert board.slow is not None
        waits[int(tensor)] += -(-_bytes(container, int(tensor)) // 4) * board.slow.write_wait_cycles  # copied in
    return tuple(float(each) for each in waits)


def memory_waits(container: Container, board: Board, stored: Copies | None) -> npt.NDArray[np.float64]:
    """Return what the slow memory adds to each op as a container is planned [cycles], ``(n_precisions, n_ops)``."""
    waits = np.zeros((len(container.precisions), len(container.ops)))
    if board.slow is None:
        return waits
    slow = slow_tensors(container, board.isa)
    for precision, record in enumerate(container.precisions):
        if not slow or record["is_f32"]:
            continue
        for op, shares in enumerate(_shares(container, board, precision, stored)):
            waits[precision, op] = sum(cycles for tensor, cycles in shares.items() if tensor in slow)
    return waits


def _shares(container: Container, board: Board, precision: int, stored: Copies | None) -> list[Mapping[int, float]]:
    """Return for each op what each of its tensors would make it wait."""
    slow = board.slow
    assert slow is not None
    found: list[Mapping[int, float]] = []
    for op, (reads, writes) in enumerate(_accesses(container, board, precision, stored)):
        shares = {tensor: reads * part * slow.read_wait_cycles for tensor, part in read_shares(container, op).items()}
        output = int(container.ops[op]["output"])
        shares[output] = shares.get(output, 0.0) + writes * slow.write_wait_cycles
        found.append(shares)
    return found


def _accesses(container: Container, board: Board, precision: int, stored: Copies | None) -> list[tuple[float, float]]:
    assert board.slow is not None
    needs: Sequence[IsaNeeds | None] = [None] * len(container.ops)
    if stored is not None:
        needs = isa_needs(container, CODES["Isa"][board.isa])
    found = []
    for op, record in enumerate(container.ops):
        weight = int(record["weight"])
        bits = 0 if weight == NO_INDEX else int(container.layers[precision * len(container.weights) + weight]["bits"])
        choice = kernel_choice(container, op, bits, board.isa, needs[op], stored or frozenset())
        found.append(op_accesses(container, op, choice.kernels, board.slow.accesses))
    return found


def read_shares(container: Container, op: int) -> dict[int, float]:
    """Return the part of an op's reads that each of its inputs in RAM has: by their bytes."""
    inputs = _inputs(container, op)
    total = sum(_bytes(container, tensor) for tensor in inputs)
    shares: dict[int, float] = {}
    for tensor in inputs:
        shares[tensor] = shares.get(tensor, 0.0) + _bytes(container, tensor) / total
    return shares


def _inputs(container: Container, op: int) -> list[int]:
    record = container.ops[op]
    inputs = [int(tensor) for tensor in record["inputs"][: int(record["n_inputs"])]]
    return [tensor for tensor in inputs if not int(container.tensors[tensor]["flags"]) & _CONST]


def _bytes(container: Container, tensor: int) -> int:
    record = container.tensors[tensor]
    return int(record["elements"]) * (1 if int(record["dtype"]) == _S8 else 4)


def _times(units: Mapping[str, float] | None, counts: Counts) -> float | None:
    return None if units is None else sum(each * counts.get(name, 0.0) for name, each in units.items())

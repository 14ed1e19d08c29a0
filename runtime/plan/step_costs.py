# SPDX-License-Identifier: Apache-2.0
"""What each step of a container costs on a board, and what holds it up.

Bytes are counted as kernels move them that gather the patch of each output pixel once, padding left out, and read all weights of
the op, their biases, multipliers and shifts once for each block of four pixels, or once for each row of a fully connected layer.
Cycles are the board's model of the kernel that the step gets (:mod:`joulet.plan.kernel_costs`); what a group of bands adds is
counted with its last op. Energy is cycles times the board's figure.

``bound`` compares two floors, neither of which a kernel can go below: *compute* is MACs at the core's best rate and one
requantisation an output; *memory* is the bytes above at the width of the core's loads and stores. The greater one names the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulet.boards import Board
from joulet.container.isa_plan import slow_tensors
from joulet.container.layout import BACKBONE, CODES, NO_INDEX
from joulet.container.needs import SHARED, SPARSE, Copies, IsaNeeds, isa_needs
from joulet.container.read import Container
from joulet.container.sparse import sparse_copies
from joulet.plan.accesses import memory_waits, read_shares
from joulet.plan.band_costs import band_cycles
from joulet.plan.kernel_costs import KernelChoice, kernel_choice, op_cycles
from joulet.plan.work import op_name, op_params, taps

BLOCK_PIXELS = 4
_OPS = {code: name for name, code in CODES["OpCode"].items()}
_WINDOWS = ("CONV", "DWCONV", "FC", "AVGPOOL", "MAXPOOL")
_S8 = CODES["DType"]["S8"]
_CONST = CODES["TensorFlag"]["CONST"]
_PER_CHANNEL_BYTES = 12  # bias, multiplier and shift


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBill:
    """One op at one precision.

    Attributes
    ----------
    name, op, exit
        ``exit`` is the head that the op belongs to, None for the backbone.
    kernels
        Set that the kernel is of: REF, or an instruction set.
    macs
        Multiply-accumulates.
    arena_read_bytes, arena_written_bytes
        Of RAM [bytes].
    weight_bytes
        What the kernel reads weights from takes, at this precision [bytes].
    weights_from
        ``packed`` copies of the plan part, ``shared`` ones that serve both precisions, ``sparse`` ones, ``planes``, ``plane`` (the
        high one) or ``s8``; empty without weights.
    flash_read_bytes
        Weights and what goes with them, as often as they are read, and constant operands [bytes].
    cycles, energy_nj
        By the board's model.
    slow_read_bytes, slow_written_bytes
        Those of ``arena_read_bytes`` and ``arena_written_bytes`` that a second, slower memory has [bytes].
    wait_cycles
        Those of ``cycles`` in which the core waits for it.
    bound
        ``compute`` or ``memory``.
    """

    name: str
    op: str
    exit: int | None
    kernels: str
    macs: int
    arena_read_bytes: int
    arena_written_bytes: int
    weight_bytes: int
    weights_from: str
    flash_read_bytes: int
    cycles: int
    energy_nj: float
    bound: str
    slow_read_bytes: int = 0
    slow_written_bytes: int = 0
    wait_cycles: int = 0

    @property
    def accesses_per_mac(self) -> float | None:
        """Bytes that are moved for one MAC; None without MACs."""
        moved = self.arena_read_bytes + self.arena_written_bytes + self.flash_read_bytes
        return moved / self.macs if self.macs else None


def step_bills(container: Container, board: Board, precision: int, stored: Copies | None) -> tuple[StepBill, ...]:
    """Return one bill an op.

    Parameters
    ----------
    container
        Its records.
    board
        Whose cycles and energy count.
    precision
        Index; of integers.
    stored
        Packed copies that there are on the board; None where the reference kernels run all.
    """
    waits = memory_waits(container, board, stored)[precision]
    cycles = np.rint(
        op_cycles(container, board.cycles, board.isa, stored)[precision] + band_cycles(container, board) + waits
    )
    slow = slow_tensors(container, board.isa) if board.slow is not None else frozenset()
    needs: Sequence[IsaNeeds | None] = [None] * len(container.ops)
    sizes: dict[int, int] = {}
    if stored is not None:
        needs = known = isa_needs(container, CODES["Isa"][board.isa])
        if any(bits == SPARSE for _, bits in stored):
            sizes = {weight: len(copy) for weight, copy in sparse_copies(container, board.isa, known).items()}
    bills = (
        _bill(container, board, precision, op, int(cycles[op]), needs[op], stored or frozenset(), sizes)
        for op in range(len(container.ops))
    )
    return tuple(_with_waits(container, op, bill, slow, round(float(waits[op]))) for op, bill in enumerate(bills))


def _with_waits(container: Container, op: int, bill: StepBill, slow: frozenset[int], wait_cycles: int) -> StepBill:
    """Add what an op moves from and to the slow memory: inputs have their shares of what is read."""
    share = sum(part for tensor, part in read_shares(container, op).items() if tensor in slow)
    return replace(
        bill,
        slow_read_bytes=round(bill.arena_read_bytes * share),
        slow_written_bytes=bill.arena_written_bytes if int(container.ops[op]["output"]) in slow else 0,
        wait_cycles=wait_cycles,
    )


def _bill(
    container: Container,
    board: Board,
    precision: int,
    op: int,
    cycles: int,
    need: IsaNeeds | None,
    stored: Copies,
    sparse_bytes: Mapping[int, int],
) -> StepBill:
    record = container.ops[op]
    code = _OPS[int(record["code"])]
    params: Any = op_params(container, op) if code in _WINDOWS else None
    bits = 0
    if int(record["weight"]) != NO_INDEX:
        bits = int(container.layers[precision * len(container.weights) + int(record["weight"])]["bits"])
    choice = kernel_choice(container, op, bits, board.isa, need, stored)
    copy_bytes = sparse_bytes[int(record["weight"])] if choice.reading == "sparse" else _copy_bytes(choice, need, bits)
    weight_bytes, where = _weights(container, record, choice, copy_bytes, bits)
    outputs = int(container.tensors[int(record["output"])]["elements"])
    arena, flash = _inputs(container, record, params)
    flash += _passes(params) * (weight_bytes + (_PER_CHANNEL_BYTES * int(params["out_c"]) if where else 0))
    written = outputs * _width(container, int(record["output"]))
    rates = board.roof
    compute = int(record["macs"]) / rates.macs_per_cycle + outputs * rates.requantise_cycles
    memory = (arena + flash + written) / rates.bytes_per_cycle
    return StepBill(
        name=op_name(container, op),
        op=code.lower(),
        exit=None if int(record["exit"]) == BACKBONE else int(record["exit"]),
        kernels=choice.kernels,
        macs=int(record["macs"]),
        arena_read_bytes=arena,
        arena_written_bytes=written,
        weight_bytes=weight_bytes,
        weights_from=where,
        flash_read_bytes=flash,
        cycles=cycles,
        energy_nj=cycles * board.load.energy_pj_per_cycle / 1e3,
        bound="compute" if compute >= memory else "memory",
    )


def _copy_bytes(choice: KernelChoice, need: IsaNeeds | None, bits: int) -> int:
    if need is None:
        return 0
    return need.packed.get(SHARED if choice.reading.startswith("shared") else bits, 0)


def _passes(params: Any) -> int:
    """Return how often the weights are read."""
    if params is None or "out_c" not in params.dtype.names:
        return 0
    pixels = int(params["n"]) * int(params["out_h"]) * int(params["out_w"])
    return -(-pixels // BLOCK_PIXELS) if int(params["out_h"]) * int(params["out_w"]) > 1 else pixels


def _weights(
    container: Container, record: np.void, choice: KernelChoice, copy_bytes: int, bits: int
) -> tuple[int, str]:
    """Return the bytes of the copy that is read, and which one it is."""
    if choice.reading == "plain":
        return 0, ""
    if choice.reading.startswith(("packed", "shared", "sparse")):
        return copy_bytes, choice.reading.partition("_")[0]
    weight = container.weights[int(record["weight"])]
    rows, elements = int(weight["rows"]), int(weight["row_elements"])
    if choice.reading == "s8":
        return rows * elements, "s8"
    return (2 if bits == 8 else 1) * rows * -(-elements // 2), choice.reading


def _width(container: Container, tensor: int) -> int:
    return 1 if int(container.tensors[tensor]["dtype"]) == _S8 else 4


def _inputs(container: Container, record: np.void, params: Any) -> tuple[int, int]:
    """Return the bytes of inputs that are read from the arena and from flash, where constants are."""
    if params is not None:
        rows = taps(params, "h")
        columns = taps(params, "w")
        channels = int(params["in_c"]) if "in_c" in params.dtype.names else int(params["c"])
        return int(params["n"]) * rows * columns * channels, 0
    arena = flash = 0
    for tensor in record["inputs"][: int(record["n_inputs"])]:
        n_bytes = int(container.tensors[int(tensor)]["elements"]) * _width(container, int(tensor))
        if int(container.tensors[int(tensor)]["flags"]) & _CONST:
            flash += n_bytes
        else:
            arena += n_bytes
    return arena, flash

# SPDX-License-Identifier: Apache-2.0
"""What each step of a container costs on a board, and what holds it up.

Bytes are counted as kernels move them that gather the patch of each output pixel once, padding left out, and read all weights of
the op, their biases, multipliers and shifts once for each block of four pixels, or once for each row of a fully connected layer.
Cycles are the board's model (:mod:`joulet.plan.cost`), energy is cycles times the board's figure.

``bound`` compares two floors, neither of which a kernel can go below: *compute* is MACs at the core's best rate and one
requantisation an output; *memory* is the bytes above at the width of the core's loads and stores. The greater one names the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulet.boards import Board
from joulet.container.layout import BACKBONE, CODES, dtype
from joulet.plan.cost import Decoded, board_costs

BLOCK_PIXELS = 4
_OPS = {code: name for name, code in CODES["OpCode"].items()}
_NESTED = CODES["Storage"]["NESTED"]
_S8 = CODES["DType"]["S8"]
_CONST = CODES["TensorFlag"]["CONST"]
_PER_CHANNEL_BYTES = 12  # bias, multiplier and shift


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRates:
    """The best that a core does: MACs and bytes moved in a cycle, cycles of one requantisation."""

    macs_per_cycle: float
    bytes_per_cycle: float
    requantise_cycles: float


# Arm's Technical Reference Manuals, memory without wait states. M4: SMLAD, LDR 2 cycles; SMULL, shift, add, saturate. M0+: MULS
# and ADDS, LDR 2 cycles; a product of 64 bits takes a routine. M55: VMLADAV on 16 bytes in two beats, 8 bytes a cycle.
RATES: Mapping[str, CoreRates] = {
    "ARMV6M": CoreRates(macs_per_cycle=0.5, bytes_per_cycle=2.0, requantise_cycles=30.0),
    "ARMV7EM": CoreRates(macs_per_cycle=2.0, bytes_per_cycle=2.0, requantise_cycles=6.0),
    "MVE": CoreRates(macs_per_cycle=8.0, bytes_per_cycle=8.0, requantise_cycles=1.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBill:
    """One op at one precision.

    Attributes
    ----------
    name, op, exit
        ``exit`` is the head that the op belongs to, None for the backbone.
    macs
        Multiply-accumulates.
    arena_read_bytes, arena_written_bytes
        Of RAM [bytes].
    weight_bytes
        What the kernel reads weights from takes, at this precision [bytes].
    weights_from
        ``packed`` copies of the plan part, ``planes``, ``plane`` (the high one) or ``s8``; empty without weights.
    flash_read_bytes
        Weights and what goes with them, as often as they are read, and constant operands [bytes].
    cycles, energy_nj
        By the board's model.
    bound
        ``compute`` or ``memory``.
    """

    name: str
    op: str
    exit: int | None
    macs: int
    arena_read_bytes: int
    arena_written_bytes: int
    weight_bytes: int
    weights_from: str
    flash_read_bytes: int
    cycles: int
    energy_nj: float
    bound: str

    @property
    def accesses_per_mac(self) -> float | None:
        """Bytes that are moved for one MAC; None without MACs."""
        moved = self.arena_read_bytes + self.arena_written_bytes + self.flash_read_bytes
        return moved / self.macs if self.macs else None


def step_bills(
    container: Decoded, board: Board, packed: Sequence[Mapping[int, int]], precision: int
) -> tuple[StepBill, ...]:
    """Return one bill an op.

    Parameters
    ----------
    container : Decoded
        Its records.
    board : Board
        Whose cycles and energy count.
    packed : sequence of mapping
        For each op, bytes of its packed weights by bits, 0 where kernels read the canonical ones.
    precision : int
        Index; of integers.
    """
    cycles = board_costs(container, board).cycles[precision]
    rates = RATES.get(board.isa, RATES["ARMV6M"])
    return tuple(
        _bill(container, board, rates, packed[op], precision, op, int(cycles[op])) for op in range(len(cycles))
    )


def _bill(
    container: Decoded, board: Board, rates: CoreRates, packed: Mapping[int, int], precision: int, op: int, cycles: int
) -> StepBill:
    record = container.ops[op]
    code = _OPS[int(record["code"])]
    params = _params(container, op, code)
    weight_bytes, where = _weights(container, record, packed, precision)
    outputs = int(container.tensors[int(record["output"])]["elements"])
    arena, flash = _inputs(container, record, params)
    flash += _passes(params) * (weight_bytes + (_PER_CHANNEL_BYTES * int(params["out_c"]) if where else 0))
    written = outputs * _width(container, int(record["output"]))
    compute = int(record["macs"]) / rates.macs_per_cycle + outputs * rates.requantise_cycles
    memory = (arena + flash + written) / rates.bytes_per_cycle
    names = container.meta.get("ops", ())
    return StepBill(
        name=str(names[op]) if op < len(names) else f"op {op}",
        op=code.lower(),
        exit=None if int(record["exit"]) == BACKBONE else int(record["exit"]),
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


def _params(container: Decoded, op: int, code: str) -> Any:
    """Return the window record of an op that has one."""
    struct = {"AVGPOOL": "PoolParams", "MAXPOOL": "PoolParams"}.get(code)
    if code in ("CONV", "DWCONV", "FC"):
        struct = "ConvParams"
    if struct is None:
        return None
    return np.frombuffer(bytes(container.pool), dtype(struct), 1, int(container.ops[op]["params_offset"]))[0]


def _passes(params: Any) -> int:
    """Return how often the weights are read."""
    if params is None or "out_c" not in params.dtype.names:
        return 0
    pixels = int(params["n"]) * int(params["out_h"]) * int(params["out_w"])
    return -(-pixels // BLOCK_PIXELS) if int(params["out_h"]) * int(params["out_w"]) > 1 else pixels


def _weights(container: Decoded, record: np.void, packed: Mapping[int, int], precision: int) -> tuple[int, str]:
    """Return the bytes of the copy that is read, and which one it is."""
    index = int(record["weight"])
    if index >= len(container.weights):
        return 0, ""
    weight = container.weights[index]
    bits = int(container.layers[precision * len(container.weights) + index]["bits"])
    if packed.get(bits):
        return int(packed[bits]), "packed"
    rows, elements = int(weight["rows"]), int(weight["row_elements"])
    if int(weight["storage"]) != _NESTED:
        return rows * elements, "s8"
    plane = rows * -(-elements // 2)
    return (2 * plane, "planes") if bits == 8 else (plane, "plane")


def _width(container: Decoded, tensor: int) -> int:
    return 1 if int(container.tensors[tensor]["dtype"]) == _S8 else 4


def _inputs(container: Decoded, record: np.void, params: Any) -> tuple[int, int]:
    """Return the bytes of inputs that are read from the arena and from flash, where constants are."""
    if params is not None:
        rows = _taps(params, "h")
        columns = _taps(params, "w")
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


def _taps(params: Any, axis: str) -> int:
    """Return how many taps along an axis fall on the input, over all outputs."""
    dilation = int(params[f"dilation_{axis}"]) if f"dilation_{axis}" in params.dtype.names else 1
    pad = int(params["pad_top" if axis == "h" else "pad_left"])
    starts = np.arange(int(params[f"out_{axis}"])) * int(params[f"stride_{axis}"]) - pad
    at = starts[:, None] + np.arange(int(params[f"k_{axis}"])) * dilation
    return int(((at >= 0) & (at < int(params[f"in_{axis}"]))).sum())

# SPDX-License-Identifier: Apache-2.0
"""What a container costs on a board: cycles of each op at each precision, and of each step along each path.

The model is linear in counts of work per class of op (:class:`joulet.boards.CycleModel`); the board's file says where its
coefficients come from and how far off they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from joulet.boards import Board, CycleModel
from joulet.container.layout import BACKBONE, CODES, dtype
from joulet.records import BoardCosts, CostTable, StepCost

_OP = {code: name.lower() for name, code in CODES["OpCode"].items()}
_WEIGHTED = (CODES["OpCode"]["CONV"], CODES["OpCode"]["DWCONV"], CODES["OpCode"]["FC"])
_CONV_PARAMS = dtype("ConvParams")
_Records = npt.NDArray[np.void]


class Decoded(Protocol):
    """The decoded sections of a container that cost depends on."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Names."""

    @property
    def tensors(self) -> _Records:
        """Tensor records."""

    @property
    def ops(self) -> _Records:
        """Op records."""

    @property
    def weights(self) -> _Records:
        """Weight records."""

    @property
    def layers(self) -> _Records:
        """Layer records, precision-major."""

    @property
    def precisions(self) -> _Records:
        """Precision records."""

    @property
    def exits(self) -> _Records:
        """Exit records."""

    @property
    def paths(self) -> _Records:
        """Path records."""

    @property
    def pool(self) -> bytes:
        """Op parameters."""


def board_costs(container: Decoded, board: Board) -> BoardCosts:
    """Return the cost table of a container on a board, ``cycles`` being ``(n_precisions, n_ops)``."""
    n_precisions, n_ops = len(container.precisions), len(container.ops)
    cycles = np.zeros((n_precisions, n_ops), np.uint32)
    for precision in range(n_precisions):
        for index in range(n_ops):
            cycles[precision, index] = round(_op_cycles(container, index, precision, board.cycles))
    return BoardCosts(
        name=board.name,
        clock_hz=board.load.clock_hz,
        energy_pj_per_cycle=board.load.energy_pj_per_cycle,
        cycles=cycles,
    )


def work_class(container: Decoded, index: int) -> str:
    """Return the class an op's work is counted in: conv, conv1x1, dwconv, fc, or the lower-case op code."""
    op = container.ops[index]
    name = _OP[int(op["code"])]
    if name == "conv":
        params = np.frombuffer(bytes(container.pool), _CONV_PARAMS, 1, int(op["params_offset"]))[0]
        return "conv1x1" if int(params["k_h"]) * int(params["k_w"]) == 1 else "conv"
    return name


def _op_cycles(container: Decoded, index: int, precision: int, model: CycleModel) -> float:
    op = container.ops[index]
    is_f32 = bool(container.precisions[precision]["is_f32"])
    outputs = int(container.tensors[int(op["output"])]["elements"])
    work = work_class(container, index)
    if int(op["code"]) not in _WEIGHTED:
        inputs = [int(container.tensors[int(t)]["elements"]) for t in op["inputs"][: int(op["n_inputs"])]]
        factor = model.f32_per_element_factor if is_f32 else 1.0
        return model.per_element[work] * max([outputs, *inputs]) * factor
    if is_f32:
        return model.f32_per_mac * int(op["macs"]) + model.f32_per_output * outputs
    factor = model.weight_factor[_reading(container, int(op["weight"]), precision, work)]
    return model.per_mac[work] * int(op["macs"]) * factor + model.per_output[work] * outputs


def _reading(container: Decoded, weight: int, precision: int, work: str) -> str:
    if int(container.weights[weight]["storage"]) == CODES["Storage"]["S8"]:
        return "s8"
    bits = int(container.layers[precision * len(container.weights) + weight]["bits"])
    return ("dw_" if work == "dwconv" else "") + f"nested_w{bits}"


def cost_table(container: Decoded, costs: BoardCosts) -> CostTable:
    """Return what every step along every path of a container costs."""
    n_exits = len(container.exits)
    steps, prefixes, accuracy = [], [], []
    for path in container.paths:
        prefix = tuple(int(p) for p in path["precisions"][:n_exits])
        cycles, bits = _along(container, prefix, costs.cycles)
        steps.append(tuple(_from(container, k, n_exits, cycles, bits) for k in range(-1, n_exits)))
        prefixes.append(prefix)
        accuracy.append(tuple(int(a) / 32768 for a in path["accuracy_q15"][:n_exits]))
    return CostTable(
        board=costs.name,
        path_names=_names(container.meta["paths"]),
        exit_names=_names(container.meta["exits"]),
        steps=tuple(steps),
        prefixes=tuple(prefixes),
        accuracy=tuple(accuracy),
    )


def ladder_table(names: Sequence[str], tables: Sequence[CostTable]) -> CostTable:
    """Return the costs of several networks as paths of one: each is its table's first path, run to its last exit.

    Parameters
    ----------
    names
        Of the paths.
    tables
        One a network, all of one board. Accuracies are those of their last exits.
    """
    whole = [table.steps[0][0][-1] for table in tables]
    return CostTable(
        board=tables[0].board,
        path_names=tuple(names),
        exit_names=("last",),
        steps=tuple(((step,),) for step in whole),
        prefixes=tuple((index,) for index in range(len(tables))),
        accuracy=tuple((table.accuracy[0][-1],) for table in tables),
    )


def _names(entries: Any) -> tuple[str, ...]:
    return tuple(str(entry["name"]) if isinstance(entry, Mapping) else str(entry) for entry in entries)


def _along(
    container: Decoded, prefix: tuple[int, ...], cycles: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return cycles and weight bits of each op when ``prefix`` governs its segment."""
    n_weights = len(container.weights)
    taken = np.zeros(len(container.ops), np.int64)
    bits = np.zeros(len(container.ops), np.int64)
    for index, op in enumerate(container.ops):
        precision = prefix[int(op["segment"])]
        taken[index] = cycles[precision, index]
        if int(op["code"]) in _WEIGHTED:
            bits[index] = container.layers[precision * n_weights + int(op["weight"])]["bits"]
    return taken, bits


def _from(
    container: Decoded, start: int, n_exits: int, cycles: npt.NDArray[np.int64], bits: npt.NDArray[np.int64]
) -> tuple[StepCost | None, ...]:
    ops = container.ops
    head, segment, macs = ops["exit"].astype(np.int64), ops["segment"].astype(np.int64), ops["macs"].astype(np.int64)
    row: list[StepCost | None] = []
    for stop in range(n_exits):
        if stop <= start:
            row.append(None)
            continue
        run = ((head == BACKBONE) & (segment > start) & (segment <= stop)) | (head == stop)
        row.append(
            StepCost(cycles=int(cycles[run].sum()), macs=int(macs[run].sum()), bit_macs=int((bits * macs)[run].sum()))
        )
    return tuple(row)

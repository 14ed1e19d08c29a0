# SPDX-License-Identifier: Apache-2.0
"""Cycles of each class of instructions on a Cortex-M, for the block counter of the virtual board.

Memory without wait states, no contention, every branch that leaves straight code refills the pipeline once. Cores with
pipelined loads are given the mean of a first load (2) and one that follows another (1) as 2: what is counted is not too
little. Sources: Cortex-M4 Technical Reference Manual (DDI 0439, 3.3.1), Cortex-M0+ TRM (DDI 0484, 3.3), Cortex-M3 TRM
(DDI 0337, 3.3.1). The Cortex-M33 is counted as an M4; the M55, whose timing Arm does not publish as a table, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from joulet.errors import UsageError

PROVENANCE = (
    "modelled: instructions executed in emulation, weighed by class with the cycles of Arm's technical reference manual, "
    "without wait states"
)

_M4 = {
    "plain": 1,
    "load": 2,
    "store": 1,
    "multiple": 1,
    "each": 1,
    "multiply": 1,
    "multiply_long": 1,
    "divide": 7,
    "taken": 2,
    "call": 0,
    "fp": 1,
    "fp_divide": 14,
    "special": 2,
    "wide": 0,
}
_CLASSES: Mapping[str, Mapping[str, int]] = {
    "cortex-m4": _M4,
    "cortex-m33": _M4,
    "cortex-m55": _M4,
    "cortex-m3": {**_M4, "multiply_long": 4},
    "cortex-m0plus": {**_M4, "store": 2, "taken": 1, "call": 1, "multiply": 1, "divide": 1, "special": 3},
}

# Mean cycles of an instruction of the reference kernels, counted on the virtual boards over the MLPerf Tiny models: what
# an engine that only counts instructions multiplies with.
CYCLES_PER_INSTRUCTION: Mapping[str, float] = {
    "cortex-m0plus": 1.37,
    "cortex-m3": 1.49,
    "cortex-m4": 1.49,
    "cortex-m33": 1.49,
    "cortex-m55": 1.49,
    "rv32imc": 1.0,  # no core of anybody's: an instruction a cycle
}


def cycle_classes(core: str) -> Mapping[str, int]:
    """Return the cycles of each class for a core such as ``cortex-m4``.

    Raises
    ------
    UsageError
        If the core is not known.
    """
    if core not in _CLASSES:
        raise UsageError(f"no cycle model for core '{core}'; there are: {', '.join(_CLASSES)}")
    return _CLASSES[core]

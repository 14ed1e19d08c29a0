# SPDX-License-Identifier: Apache-2.0
"""Which kernel runs each op of a container, and its cycles by the model of a core (:class:`joulet.boards.CycleModel`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.boards import CycleModel
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import SHARED, SPARSE, Copies, IsaNeeds, copy_read, isa_needs
from joulet.container.read import Container
from joulet.container.values import weight_values
from joulet.plan.packings import RUN_ISAS, runs_of_a_row, stored_share
from joulet.plan.work import Counts, work_class, work_of

_S8 = CODES["Storage"]["S8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChoice:
    """The kernel that runs an op: of which set, and how it reads weights (``plain``: there are none)."""

    kernels: str
    reading: str


def kernel_choice(
    container: Container, op: int, bits: int, isa: str, need: IsaNeeds | None, stored: Copies
) -> KernelChoice:
    """Return which kernel runs an op, as ``jlt_choose`` does.

    Parameters
    ----------
    container
        Its records.
    op, bits
        Index, and bits of its weights (0 without any).
    isa
        Of the plan part.
    need
        What the set's kernel asks for; None where there is no plan part.
    stored
        Packed copies in the plan part.
    """
    weight = int(container.ops[op]["weight"])
    taken = need is not None and need.taken
    if weight == NO_INDEX:
        return KernelChoice(kernels=isa if taken else "REF", reading="plain")
    if taken and need is not None and need.packed[bits]:
        copy = copy_read(stored, weight, bits)
        if copy == SPARSE:
            return KernelChoice(kernels=isa, reading="sparse")
        if copy == SHARED:
            return KernelChoice(kernels=isa, reading=f"shared_{bits}")
        if copy is not None:
            # where both copies have the same bytes they are read alike
            same = need.packed[8] == need.packed[4]
            return KernelChoice(kernels=isa, reading="packed_8" if same else f"packed_{bits}")
        taken = False
    nested = "planes" if bits == 8 else "plane"
    is_s8 = int(container.weights[weight]["storage"]) == _S8
    return KernelChoice(kernels=isa if taken else "REF", reading="s8" if is_s8 else nested)


def op_cycles(container: Container, model: CycleModel, isa: str, stored: Copies | None) -> npt.NDArray[np.float64]:
    """Return the cycles of each op at each precision, ``(n_precisions, n_ops)``.

    Parameters
    ----------
    container
        Its records.
    model
        Of the core.
    isa
        Set of kernels.
    stored
        Packed copies in the plan part for it; None without such a part.
    """
    n_precisions, n_ops = len(container.precisions), len(container.ops)
    needs: Sequence[IsaNeeds | None] = [None] * n_ops if stored is None else isa_needs(container, CODES["Isa"][isa])
    layers = container.layers.reshape(n_precisions, len(container.weights))
    cycles = np.zeros((n_precisions, n_ops))
    for op in range(n_ops):
        weight = int(container.ops[op]["weight"])
        known: dict[KernelChoice, float] = {}
        for precision in range(n_precisions):
            if bool(container.precisions[precision]["is_f32"]):
                cycles[precision, op] = _f32_cycles(container, op, model)
                continue
            bits = 0 if weight == NO_INDEX else int(layers[precision, weight]["bits"])
            choice = kernel_choice(container, op, bits, isa, needs[op], stored or frozenset())
            if choice not in known:
                known[choice] = _cycles(container, op, model, choice)
            cycles[precision, op] = known[choice]
    return cycles


def op_work(container: Container, op: int, choice: KernelChoice) -> Counts:
    """Return the counts of an op's work, by name, when a kernel runs it.

    What depends on the weights' values is among it: no blocks that a sparse copy lacks, and runs of nibbles.
    """
    counts = work_of(container, op, choice.kernels)
    weight = int(container.ops[op]["weight"])
    if choice.reading == "sparse":
        there = stored_share(choice.kernels, weight_values(container, weight))
        return {**counts, "mac": counts["mac"] * there}
    is_matrix = work_class(container, op, choice.kernels) in ("conv", "conv1x1", "fc")
    if choice.reading == "packed_4" and choice.kernels in RUN_ISAS and is_matrix:
        return {**counts, "run": counts["row"] * runs_of_a_row(choice.kernels, weight_values(container, weight))}
    return counts


def _cycles(container: Container, op: int, model: CycleModel, choice: KernelChoice) -> float:
    counts = op_work(container, op, choice)
    return model.cycles(choice.kernels, work_class(container, op, choice.kernels), choice.reading, counts)


def _f32_cycles(container: Container, op: int, model: CycleModel) -> float:
    record = container.ops[op]
    if int(record["weight"]) != NO_INDEX:
        outputs = int(container.tensors[int(record["output"])]["elements"])
        return model.f32_per_mac * int(record["macs"]) + model.f32_per_output * outputs
    return model.f32_per_element_factor * _cycles(container, op, model, KernelChoice(kernels="REF", reading="plain"))

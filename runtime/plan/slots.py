# SPDX-License-Identifier: Apache-2.0
"""Which IR tensors exist at run time: reshapes become aliases, weights and biases disappear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulet.errors import MalformedModelError, PlanError
from joulet.ir import WEIGHTED, DType, Graph, Op, OpKind, Quant, Tensor
from joulet.plan.steps import MAX_RANK, Slot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlotMap:
    """``slot_of`` maps an IR tensor to its slot; ``aliased`` holds the reshapes (op indices) that move nothing."""

    slots: tuple[Slot, ...]
    slot_of: dict[int, int]
    aliased: frozenset[int]


def quant_of(tensor: Tensor) -> Quant:
    """Return the quantisation of an s8 tensor.

    Raises
    ------
    MalformedModelError
        Where it has none.
    """
    if tensor.quant is None or len(tensor.quant.scale) != 1:
        raise MalformedModelError(f"tensor {tensor.name!r} needs exactly one scale and zero point; re-export the model")
    return tensor.quant


def data_inputs(op: Op) -> tuple[int, ...]:
    """Return the inputs of an op that are tensors at run time."""
    return op.inputs[:1] if op.kind in WEIGHTED else op.inputs


def map_slots(graph: Graph) -> SlotMap:
    """Give every tensor that exists at run time a slot."""
    border = set(graph.inputs) | set(graph.outputs)
    root: dict[int, int] = {}
    aliased = set()
    for index, op in enumerate(graph.ops):
        if op.kind is OpKind.RESHAPE and _can_alias(graph, op, root, border):
            aliased.add(index)
            root[op.outputs[0]] = root.get(op.inputs[0], op.inputs[0])
            if op.outputs[0] in border:
                border.add(root[op.outputs[0]])
    used = _used_tensors(graph)
    face = {root[tensor]: tensor for tensor in root if tensor in graph.outputs}
    slots: list[Slot] = []
    slot_of: dict[int, int] = {}
    for tensor in sorted(used):
        owner = root.get(tensor, tensor)
        if owner not in slot_of:
            slot_of[owner] = len(slots)
            slots.append(_make_slot(graph.tensors[face.get(owner, owner)]))
        slot_of[tensor] = slot_of[owner]
    return SlotMap(slots=tuple(slots), slot_of=slot_of, aliased=frozenset(aliased))


def _can_alias(graph: Graph, op: Op, root: dict[int, int], border: set[int]) -> bool:
    source, target = op.inputs[0], op.outputs[0]
    source_root = root.get(source, source)
    a, b = graph.tensors[source_root], graph.tensors[target]
    if a.dtype is not b.dtype or (a.data is not None and target in border):
        return False
    if a.dtype is DType.S8 and quant_of(a) != quant_of(b):
        return False
    return not (source_root in border and target in border)


def _used_tensors(graph: Graph) -> set[int]:
    used = set(graph.inputs) | set(graph.outputs)
    for op in graph.ops:
        used.update(data_inputs(op))
        used.update(op.outputs)
    for each in graph.exits:
        used |= {each.logits, each.output}
    return used


def _make_slot(tensor: Tensor) -> Slot:
    if len(tensor.shape) > MAX_RANK:
        raise PlanError(f"tensor {tensor.name!r} has {len(tensor.shape)} dimensions; at most {MAX_RANK} are planned")
    quant = quant_of(tensor) if tensor.dtype is DType.S8 else None
    data = None
    if tensor.data is not None:
        data = np.ascontiguousarray(tensor.data, dtype=np.dtype(tensor.dtype.value))
    return Slot(
        name=tensor.name,
        shape=tuple(int(extent) for extent in tensor.shape),
        dtype=tensor.dtype,
        scale=quant.scale[0] if quant else 0.0,
        zero_point=quant.zero_point if quant else 0,
        data=data,
        border_u8=tensor.border == "uint8",
    )

# SPDX-License-Identifier: Apache-2.0
"""QuantGraph -> flat steps: order the ops, drop what moves nothing, write down every integer parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from joulet.errors import PlanError
from joulet.ir import Graph, Op, OpKind, QuantGraph
from joulet.plan import arithmetic, movement, weighted
from joulet.plan.order import place_ops
from joulet.plan.slots import SlotMap, map_slots
from joulet.plan.steps import Lowered, LoweredExit, Step, WeightBlock

Family = Callable[[Graph, Op, SlotMap], tuple[Step, ...]]

_FAMILIES: dict[OpKind, Family] = {
    OpKind.CONV2D: weighted.lower_conv,
    OpKind.DEPTHWISE_CONV2D: weighted.lower_conv,
    OpKind.FULLY_CONNECTED: weighted.lower_dense,
    OpKind.AVG_POOL2D: arithmetic.lower_pool,
    OpKind.MAX_POOL2D: arithmetic.lower_pool,
    OpKind.MEAN: arithmetic.lower_mean,
    OpKind.ADD: arithmetic.lower_binary,
    OpKind.SUB: arithmetic.lower_binary,
    OpKind.MUL: arithmetic.lower_binary,
    OpKind.PAD: movement.lower_pad,
    OpKind.CONCAT: movement.lower_concat,
    OpKind.TRANSPOSE: movement.lower_transpose,
    OpKind.STRIDED_SLICE: movement.lower_slice,
    OpKind.RESHAPE: movement.lower_reshape,
    OpKind.SOFTMAX: arithmetic.lower_softmax,
    OpKind.UNARY: arithmetic.lower_unary,
    OpKind.RESIZE_NEAREST: arithmetic.lower_resize,
    OpKind.RESIZE_BILINEAR: arithmetic.lower_resize,
    OpKind.QUANTIZE: arithmetic.lower_convert,
    OpKind.DEQUANTIZE: arithmetic.lower_convert,
    OpKind.ARGMAX: arithmetic.lower_argmax,
}


def lower(source: QuantGraph) -> Lowered:
    """Lower a quantised graph.

    Raises
    ------
    PlanError
        For a graph whose exits cannot be put in order, or that has no step at all.
    ModelError
        For missing or impossible quantisation.
    """
    graph = source.graph
    if not graph.exits:
        raise PlanError(f"model {graph.name!r} has no exits; attach one, or take joulet.quant.bare.with_exit")
    slots = map_slots(graph)
    steps: list[Step] = []
    weights: list[WeightBlock] = []
    for placed in place_ops(graph):
        if placed.op in slots.aliased:
            continue
        op = graph.ops[placed.op]
        weight = None
        if placed.op in source.storage:
            weight = len(weights)
            weights.append(weighted.weight_block(source, placed.op))
        for step in _FAMILIES[op.kind](graph, op, slots):
            steps.append(replace(step, weight=weight, exit=op.exit, segment=placed.segment))
    inputs = tuple(slots.slot_of[index] for index in graph.inputs)
    slots, steps = _separate_borders(graph, slots, steps)
    outputs = tuple(slots.slot_of[index] for index in graph.outputs)
    return Lowered(
        slots=slots.slots,
        steps=tuple(steps),
        weights=tuple(weights),
        inputs=inputs,
        outputs=outputs,
        exits=_lower_exits(graph, slots, steps, outputs),
        source=source,
    )


def _separate_borders(graph: Graph, slots: SlotMap, steps: list[Step]) -> tuple[SlotMap, list[Step]]:
    """Give an output that no step writes (an input or a constant handed through) a slot and a copy of its own."""
    table = list(slots.slots)
    slot_of = dict(slots.slot_of)
    last = len(graph.exits) - 1
    result = list(steps)
    for tensor in graph.outputs:
        slot = table[slot_of[tensor]]
        if slot.data is None and tensor not in graph.inputs:
            continue
        slot_of[tensor] = len(table)
        table.append(replace(slot, name=f"{slot.name}:out", data=None))
        params = movement.copy_params(slot.shape, slot.shape)
        step = Step(code="COPY", name=slot.name, inputs=(slots.slot_of[tensor],), output=slot_of[tensor], params=params)
        result.append(replace(step, segment=last))
    if not result:
        raise PlanError(f"model {graph.name!r} has nothing to compute")
    return SlotMap(slots=tuple(table), slot_of=slot_of, aliased=slots.aliased), result


def _lower_exits(graph: Graph, slots: SlotMap, steps: list[Step], outputs: tuple[int, ...]) -> tuple[LoweredExit, ...]:
    written = {step.output: index for index, step in enumerate(steps)}
    exits = []
    for number, each in enumerate(graph.exits):
        output, logits = slots.slot_of[each.output], slots.slot_of[each.logits]
        is_last = number == len(graph.exits) - 1
        last_op = len(steps) - 1 if is_last else max(written.get(output, -1), written.get(logits, -1))
        if last_op < 0:
            raise PlanError(f"exit {each.name!r}: no op computes its answer")
        a, b = slots.slots[output], slots.slots[outputs[0]]
        if a.elements != b.elements or a.dtype is not b.dtype:
            raise PlanError(
                f"exit {each.name!r} answers {a.shape} {a.dtype}, the model {b.shape} {b.dtype}: make them equal"
            )
        exits.append(
            LoweredExit(
                name=each.name,
                origin=each.origin,
                logits=logits,
                output=output,
                last_op=last_op,
                n_classes=each.n_classes,
            )
        )
    return tuple(exits)

# SPDX-License-Identifier: Apache-2.0
"""Exact removal of dead channels from int8 graphs.

Forward, a channel whose weights are all zero is a constant that its readers can do without; backward, so is a channel
that every reader multiplies by zero. Not one output byte changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulet.ir import DType, Graph, Op, OpKind, Quant, Slice, Tensor
from joulet.passes.constant_channels import Mask, Values, bias_of, constant_channels, input_columns, quant_of
from joulet.passes.needed_channels import absorbed_bias, needed_channels
from joulet.passes.rewrite import compact


def eliminate_dead(graph: Graph) -> Graph:
    """Return the graph without dead channels and dead ops, to a fixpoint; float graphs lose dead ops only."""
    graph = compact(graph)
    if not any(t.dtype is DType.S8 for t in graph.tensors):
        return graph
    while True:
        values = constant_channels(graph)
        kept = needed_channels(graph, values)
        if all(mask.all() for mask in kept.values()):
            return graph
        graph = compact(_Shrink(graph, values, kept).run())


class _Shrink:
    """One rewrite of a graph to the channels that are kept."""

    def __init__(self, graph: Graph, values: dict[int, Values], kept: dict[int, Mask]) -> None:
        self.graph = graph
        self.values = values
        self.kept = kept
        self.tensors = list(graph.tensors)

    def run(self) -> Graph:
        """Return the smaller graph."""
        weighted = (OpKind.CONV2D, OpKind.FULLY_CONNECTED, OpKind.DEPTHWISE_CONV2D)
        ops = tuple(self._weighted(op) if op.kind in weighted else self._other(op) for op in self.graph.ops)
        for i, mask in self.kept.items():
            if not mask.all():
                self.tensors[i] = _narrowed(self.graph.tensors[i], mask)
        return replace(self.graph, tensors=tuple(self.tensors), ops=ops)

    def _other(self, op: Op) -> Op:
        if isinstance(op.attrs, Slice):
            sizes = (*op.attrs.sizes[:-1], int(self.kept[op.inputs[0]].sum()))
            if not self.kept[op.inputs[0]].all():
                return replace(op, attrs=replace(op.attrs, sizes=sizes))
        return op

    def _weighted(self, op: Op) -> Op:
        ins, outs = self.kept[op.inputs[0]], self.kept[op.outputs[0]]
        if ins.all() and outs.all():
            return op
        weights = self.graph.tensors[op.inputs[1]]
        assert weights.data is not None
        bias = bias_of(self.graph, op, len(outs))
        if op.kind is OpKind.DEPTHWISE_CONV2D:
            data = weights.data[..., outs]
        else:
            dropped = ~ins
            bias = bias + absorbed_bias(self.graph, op, self.values[op.inputs[0]], dropped)
            columns = np.tile(ins, input_columns(self.graph, op))
            data = weights.data[outs][..., columns]
        quant = _narrowed_quant(quant_of(weights), outs)
        made = [self._add(replace(weights, shape=data.shape, data=np.ascontiguousarray(data), quant=quant))]
        if len(op.inputs) > 2 or bias.any():
            made.append(self._add(self._bias(op, bias[outs], quant)))
        return replace(op, inputs=(op.inputs[0], *made))

    def _bias(self, op: Op, bias: Values, weights: Quant) -> Tensor:
        scale = quant_of(self.graph.tensors[op.inputs[0]]).scale[0]
        quant = Quant(scale=tuple(scale * s for s in weights.scale), axis=0 if len(weights.scale) > 1 else None)
        old = self.graph.tensors[op.inputs[2]].name if len(op.inputs) > 2 else f"{op.name}/bias"
        return Tensor(name=old, shape=bias.shape, dtype=DType.S32, quant=quant, data=bias.astype(np.int32))

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _narrowed(tensor: Tensor, mask: Mask) -> Tensor:
    data = tensor.data
    if data is not None:
        data = np.ascontiguousarray(data[..., mask])
    return replace(tensor, shape=(*tensor.shape[:-1], int(mask.sum())), data=data)


def _narrowed_quant(quant: Quant, mask: Mask) -> Quant:
    if len(quant.scale) == 1:
        return quant
    scale = tuple(s for s, keep in zip(quant.scale, mask.tolist(), strict=True) if keep)
    return replace(quant, scale=scale, axis=quant.axis if len(scale) > 1 else None)

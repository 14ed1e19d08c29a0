# SPDX-License-Identifier: Apache-2.0
"""The smallest quantiser there is: take an integer graph as it is and choose bits by name.

No calibration happens here. Confidences are constant, accuracies unknown (written as 1) and a precision keeps the
biases of the graph. Calibrated tables and corrected biases replace these values; the shape of the result is the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from joulet.errors import UnsupportedModelError, UsageError
from joulet.ir import (
    WEIGHTED,
    DType,
    Exit,
    ExitOrigin,
    Graph,
    Op,
    OpKind,
    Path,
    Precision,
    QuantGraph,
    Tensor,
)

PRECISION_NAMES = ("w8", "w4", "mix", "f32")
CONFIDENCE_ONE_Q15 = 32767
_BINS = 32
_ACCUMULATOR_LIMIT = 2**31
# |16 u - 120| <= 120 and |16 u + l| <= 255; the largest partial sum of the split form is 240 * 255 a weight.
_PRODUCT_BOUND_NESTED = 61_200
# A zero point other than 0 (the model was uint8) lets one weight reach 255.
_PRODUCT_BOUND_ASYMMETRIC = 65_025


def weighted_ops(graph: Graph) -> tuple[int, ...]:
    """Return the indices of the ops with weights, in execution order."""
    return tuple(index for index, op in enumerate(graph.ops) if op.kind in WEIGHTED)


def taps(graph: Graph, op: Op) -> int:
    """Return the number of products that one output of a weighted op sums up."""
    shape = graph.tensors[op.inputs[1]].shape
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        return int(shape[1] * shape[2])
    return int(np.prod(shape[1:], dtype=np.int64))


def bias_of(graph: Graph, op: Op) -> npt.NDArray[np.int32]:
    """Return the int32 bias of a weighted op, ``(o,)``; zeros where the op has none."""
    channels = output_channels(graph, op)
    if len(op.inputs) < 3:
        return np.zeros(channels, np.int32)
    data = graph.tensors[op.inputs[2]].data
    if data is None:
        raise UnsupportedModelError(f"op {op.name!r}: the bias is computed at run time; only constant biases are taken")
    return np.asarray(data, np.int32).reshape(channels)


def output_channels(graph: Graph, op: Op) -> int:
    """Return the number of output channels of a weighted op."""
    shape = graph.tensors[op.inputs[1]].shape
    return int(shape[-1] if op.kind is OpKind.DEPTHWISE_CONV2D else shape[0])


def fits_nested(graph: Graph, op: Op) -> bool:
    """Tell whether the accumulator of a weighted op cannot overflow in the nested form."""
    quant = graph.tensors[op.inputs[1]].quant
    symmetric = quant is None or quant.zero_point == 0
    product = _PRODUCT_BOUND_NESTED if symmetric else _PRODUCT_BOUND_ASYMMETRIC
    largest_bias = int(np.abs(bias_of(graph, op).astype(np.int64)).max(initial=0))
    return taps(graph, op) * product + largest_bias < _ACCUMULATOR_LIMIT


def with_exit(graph: Graph) -> Graph:
    """Return the graph with the single imported exit, or unchanged where it has exits already."""
    if graph.exits:
        return graph
    if not graph.outputs:
        raise UnsupportedModelError(f"model {graph.name!r} has no outputs; give a model that answers something")
    output = graph.outputs[0]
    logits, n_classes = find_logits(graph, output)
    imported = Exit(name="final", origin=ExitOrigin.IMPORTED, logits=logits, output=output, n_classes=n_classes)
    return replace(graph, exits=(imported,))


def find_logits(graph: Graph, output: int) -> tuple[int, int]:
    """Return the int8 vector before an output's softmax and its length; the output itself and 0 where there is none."""
    producers = {op.outputs[0]: op for op in graph.ops}
    op = producers.get(output)
    while op is not None and op.kind in (OpKind.RESHAPE, OpKind.DEQUANTIZE):
        op = producers.get(op.inputs[0])
    if op is None or op.kind is not OpKind.SOFTMAX:
        return output, 0
    logits = graph.tensors[op.inputs[0]]
    columns = logits.shape[-1] if logits.shape else 1
    one_vector = columns >= 2 and logits.elements == columns
    if one_vector and logits.dtype is DType.S8 and logits.data is None:
        return op.inputs[0], int(columns)
    return output, 0


def _float_weights(graph: Graph, op: Op) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    weights = graph.tensors[op.inputs[1]]
    source = graph.tensors[op.inputs[0]].quant
    if weights.data is None or weights.quant is None or source is None:
        raise UnsupportedModelError(f"op {op.name!r}: f32 needs constant weights and scales; leave f32 out")
    scale = np.asarray(weights.quant.scale, np.float64)
    shape = [1] * len(weights.shape)
    if len(scale) > 1:
        shape[weights.quant.axis or 0] = len(scale)
    real = (weights.data.astype(np.float64) - weights.quant.zero_point) * scale.reshape(shape)
    bias = bias_of(graph, op).astype(np.float64) * (source.scale[0] * scale)
    return real.astype(np.float32), bias.astype(np.float32)


def _precision(graph: Graph, name: str, nested: frozenset[int]) -> Precision:
    weighted = weighted_ops(graph)
    if name == "f32":
        return Precision(name=name, bits=dict.fromkeys(weighted, 32))
    if name == "w8":
        return Precision(name=name, bits=dict.fromkeys(weighted, 8))
    keep = {index for index in weighted if index not in nested}
    if name == "mix":
        keep |= _kept_in_mix(graph, weighted)
    return Precision(name=name, bits={index: 8 if index in keep else 4 for index in weighted})


def _kept_in_mix(graph: Graph, weighted: tuple[int, ...]) -> set[int]:
    """First layer, depthwise layers, heads, and the last layer of the backbone."""
    depthwise = {index for index in weighted if graph.ops[index].kind is OpKind.DEPTHWISE_CONV2D}
    heads = {index for index in weighted if graph.ops[index].exit is not None}
    backbone = [index for index in weighted if index not in heads]
    return {*weighted[:1], *backbone[-1:], *depthwise, *heads}


def _four_bit_candidates(graph: Graph, precisions: tuple[str, ...]) -> set[int]:
    weighted = weighted_ops(graph)
    if "w4" in precisions:
        return set(weighted)
    if "mix" in precisions:
        return set(weighted) - _kept_in_mix(graph, weighted)
    return set()


def check_integer(graph: Graph) -> None:
    """Raise unless every weighted op has constant int8 weights."""
    bad = []
    for op in graph.ops:
        if op.kind not in WEIGHTED:
            continue
        weights: Tensor = graph.tensors[op.inputs[1]]
        if weights.data is None or weights.dtype is not DType.S8 or graph.tensors[op.inputs[0]].dtype is not DType.S8:
            bad.append(op.name)
    if bad:
        raise UnsupportedModelError(f"ops without constant int8 weights: {', '.join(bad)}; quantise the model first")


def constant_path(graph: Graph, name: str, precision: int) -> Path:
    """Return the path that stays at one precision, uncalibrated: every confidence is 1, only the last exit stops."""
    exits = len(graph.exits)
    table = (CONFIDENCE_ONE_Q15,) * _BINS
    thresholds = (CONFIDENCE_ONE_Q15,) * (exits - 1) + (0,)
    return Path(
        name=name,
        precisions=(precision,) * exits,
        confidence_q15=(table,) * exits,
        accuracy_q15=(CONFIDENCE_ONE_Q15,) * exits,
        auto_threshold_q15=thresholds,
    )


def bare_quant_graph(graph: Graph, precisions: tuple[str, ...] = ("w8",)) -> QuantGraph:
    """Wrap an integer graph as it is.

    Parameters
    ----------
    graph
        An int8 graph. Without exits it gets the single imported one.
    precisions
        Names out of ``w8``, ``w4``, ``mix``, ``f32``; each becomes a precision and a constant path of that name.

    Raises
    ------
    UsageError
        For an unknown, missing or repeated name.
    UnsupportedModelError
        For a weighted op without constant int8 weights.
    """
    unknown = [name for name in precisions if name not in PRECISION_NAMES]
    if unknown or not precisions or len(set(precisions)) != len(precisions):
        raise UsageError(f"precisions {precisions!r}: give each of {', '.join(PRECISION_NAMES)} at most once")
    check_integer(graph)
    graph = with_exit(graph)
    candidates = _four_bit_candidates(graph, precisions)
    nested = frozenset(index for index in candidates if fits_nested(graph, graph.ops[index]))
    notes = tuple(
        f"{graph.ops[index].name}: stays s8 because its accumulator could overflow when nested"
        for index in sorted(candidates - nested)
    )
    floats = {}
    if "f32" in precisions:
        floats = {index: _float_weights(graph, graph.ops[index]) for index in weighted_ops(graph)}
    return QuantGraph(
        graph=graph,
        precisions=tuple(_precision(graph, name, nested) for name in precisions),
        storage={index: "nested" if index in nested else "s8" for index in weighted_ops(graph)},
        paths=tuple(constant_path(graph, name, index) for index, name in enumerate(precisions)),
        float_weights=floats,
        notes=notes,
    )

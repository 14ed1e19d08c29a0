# SPDX-License-Identifier: Apache-2.0
"""Our own post-training quantiser: a float graph and calibration data in, an int8 graph with float borders out.

Conventions are those of TensorFlow Lite: symmetric int8 weights with one scale an output channel, one scale and zero
point an activation, biases int32 at input scale × weight scale, softmax and logistic on 1/256 with zero point −128,
tanh on 1/128. Ops that only move values share the quantisation of what they move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.ir import (
    WEIGHTED,
    ArgMax,
    Conv,
    Convert,
    Dense,
    DType,
    Graph,
    Op,
    OpKind,
    Quant,
    Softmax,
    Tensor,
    Unary,
    UnaryKind,
)
from joulet.numerics import unary_table
from joulet.quant.float_exec import run_float
from joulet.quant.probe import Array, spread_samples

RANGE_SAMPLES = 256
_CHUNK = 16
_TAIL_PERCENT = 0.001
_MOVES = {
    OpKind.RESHAPE,
    OpKind.TRANSPOSE,
    OpKind.STRIDED_SLICE,
    OpKind.MAX_POOL2D,
    OpKind.AVG_POOL2D,
    OpKind.PAD,
    OpKind.RESIZE_NEAREST,
    OpKind.RESIZE_BILINEAR,
    OpKind.CONCAT,
}
_UNIT = Quant(scale=(1.0 / 256.0,), zero_point=-128)
_SIGNED_UNIT = Quant(scale=(1.0 / 128.0,), zero_point=0)
Range = tuple[float, float]


def quantise_float(
    graph: Graph,
    feeds: Mapping[int, Array],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Graph, dict[int, Array], tuple[str, ...]]:
    """Quantise a float graph.

    Parameters
    ----------
    graph
        Float graph.
    feeds
        Calibration inputs float32 ``(n, *shape[1:])`` by tensor index; at most 256 samples set the ranges.
    progress
        Called with (what, done, total).

    Returns
    -------
    graph, feeds, notes
        An int8 graph whose inputs and outputs stay float32, the same feeds by its input tensors, and remarks.

    Raises
    ------
    DataError
        When an activation is not finite on the calibration data.
    """
    ranges = _ranges(graph, spread_samples(feeds, RANGE_SAMPLES), progress)
    quants = _assign(graph, ranges)
    built = _Build(graph, quants).run()
    few = len(next(iter(feeds.values())))
    note = f"float model quantised to int8 here, ranges from {min(few, RANGE_SAMPLES)} samples; inputs stay float32"
    return built, {new: feeds[old] for old, new in zip(graph.inputs, built.inputs, strict=True)}, (note,)


def _ranges(
    graph: Graph, feeds: Mapping[int, Array], progress: Callable[[str, int, int], None] | None
) -> dict[int, Range]:
    """Return the range of each activation, the rarest values left out where the tensor is large."""
    n = len(next(iter(feeds.values())))
    seen: dict[int, list[Range]] = {}
    for start in range(0, n, _CHUNK):
        values = run_float(graph, {t: a[start : start + _CHUNK] for t, a in feeds.items()})
        for t, value in values.items():
            if graph.tensors[t].dtype is not DType.F32:
                continue
            if not np.isfinite(value).all():
                raise DataError(
                    f"tensor {graph.tensors[t].name!r} is not finite on the calibration data; check its range"
                )
            low, high = np.percentile(value, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
            seen.setdefault(t, []).append((float(low), float(high)))
        if progress:
            progress("quantiser: ranges of activations", min(start + _CHUNK, n), n)
    return {t: (min(r[0] for r in part), max(r[1] for r in part)) for t, part in seen.items()}


def _quant_of(low: float, high: float) -> Quant:
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, 1e-7)))
    return Quant(scale=(scale,), zero_point=int(np.clip(round(-128 - low / scale), -128, 127)))


class _Groups:
    """Tensors that must share one quantisation."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}

    def find(self, t: int) -> int:
        while self.parent.setdefault(t, t) != t:
            t = self.parent[t]
        return t

    def join(self, a: int, b: int) -> None:
        self.parent[self.find(a)] = self.find(b)


def _fixed(op: Op) -> Quant | None:
    if isinstance(op.attrs, Softmax) or (isinstance(op.attrs, Unary) and op.attrs.kind is UnaryKind.LOGISTIC):
        return _UNIT
    if isinstance(op.attrs, Unary) and op.attrs.kind is UnaryKind.TANH:
        return _SIGNED_UNIT
    return None


def _assign(graph: Graph, ranges: Mapping[int, Range]) -> dict[int, Quant]:
    """Return the quantisation of every activation."""
    groups = _Groups()
    fixed: dict[int, Quant] = {}
    for op in graph.ops:
        rule = _fixed(op)
        if rule is not None:
            fixed[op.outputs[0]] = rule
        if op.kind in _MOVES and op.kind is not OpKind.CONCAT:
            groups.join(op.outputs[0], op.inputs[0])
    by_group = {groups.find(t): quant for t, quant in fixed.items()}
    for op in graph.ops:
        # What a concat joins shares its grid, except where a function's output has a grid of its own.
        for t in op.inputs if op.kind is OpKind.CONCAT else ():
            if groups.find(t) not in by_group and groups.find(op.outputs[0]) not in by_group:
                groups.join(t, op.outputs[0])
    spans: dict[int, Range] = {}
    for t, (low, high) in ranges.items():
        root = groups.find(t)
        old = spans.get(root, (low, high))
        spans[root] = (min(low, old[0]), max(high, old[1]))
    by_group = {groups.find(t): quant for t, quant in fixed.items()}
    return {t: by_group.get(groups.find(t)) or _quant_of(*spans[groups.find(t)]) for t in ranges}


class _Build:
    """Writes the int8 graph: new tensors at the same indices, then borders, constants and requantised copies."""

    def __init__(self, graph: Graph, quants: Mapping[int, Quant]) -> None:
        self.graph = graph
        self.quants = quants
        self.tensors: list[Tensor] = [self._activation(i, t) for i, t in enumerate(graph.tensors)]
        self.ops: list[Op] = []

    def _activation(self, index: int, tensor: Tensor) -> Tensor:
        if index in self.quants:
            return replace(tensor, dtype=DType.S8, quant=self.quants[index])
        return tensor

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def run(self) -> Graph:
        """Return the int8 graph."""
        inputs = tuple(self._input(t) for t in self.graph.inputs)
        for op in self.graph.ops:
            self.ops.append(self._op(op))
        outputs = tuple(self._output(t) for t in self.graph.outputs)
        return replace(
            self.graph, tensors=tuple(self.tensors), ops=tuple(self.ops), inputs=inputs, outputs=outputs, exits=()
        )

    def _input(self, index: int) -> int:
        old = self.graph.tensors[index]
        if old.dtype is not DType.F32:
            return index
        border = self._add(replace(old, name=f"{old.name}:float"))
        self._convert(OpKind.QUANTIZE, f"{old.name}:quantize", border, index)
        return border

    def _output(self, index: int) -> int:
        old = self.graph.tensors[index]
        if old.dtype is not DType.F32:
            return index
        border = self._add(replace(old, name=f"{old.name}:float"))
        self._convert(OpKind.DEQUANTIZE, f"{old.name}:dequantize", index, border)
        return border

    def _convert(self, kind: OpKind, name: str, source: int, target: int) -> None:
        self.ops.append(Op(kind=kind, name=name, inputs=(source,), outputs=(target,), attrs=Convert()))

    def _op(self, op: Op) -> Op:
        if op.kind in WEIGHTED:
            return self._weighted(op)
        inputs = tuple(self._constant(t) for t in op.inputs)
        if op.kind is OpKind.CONCAT:
            inputs = tuple(self._on_grid(t, op.outputs[0]) for t in inputs)
        attrs = op.attrs
        if isinstance(attrs, Unary):
            table = unary_table(attrs.kind, attrs.alpha, self._quant(inputs[0]), self._quant(op.outputs[0]))
            attrs = replace(attrs, table=table)
        if isinstance(attrs, ArgMax):
            return replace(op, inputs=inputs)
        return replace(op, inputs=inputs, attrs=attrs)

    def _quant(self, index: int) -> Quant:
        quant = self.tensors[index].quant
        if quant is None:
            raise DataError(f"tensor {self.tensors[index].name!r} has no range; the calibration data never reaches it")
        return quant

    def _on_grid(self, index: int, like: int) -> int:
        source, target = self._quant(index), self._quant(like)
        if source == target:
            return index
        tensor = self._add(replace(self.tensors[index], name=f"{self.tensors[index].name}:requantized", quant=target))
        attrs = Unary(kind=UnaryKind.REQUANTIZE, table=unary_table(UnaryKind.REQUANTIZE, 0.0, source, target))
        name = self.tensors[tensor].name
        self.ops.append(Op(kind=OpKind.UNARY, name=name, inputs=(index,), outputs=(tensor,), attrs=attrs))
        return tensor

    def _constant(self, index: int) -> int:
        """Return an int8 form of a float constant operand; other tensors are returned as they are."""
        tensor = self.graph.tensors[index]
        if tensor.data is None or tensor.dtype is not DType.F32:
            return index
        data = np.asarray(tensor.data, np.float64)
        quant = _quant_of(float(data.min()), float(data.max()))
        q = np.clip(np.rint(data / quant.scale[0]) + quant.zero_point, -128, 127).astype(np.int8)
        return self._add(replace(tensor, name=f"{tensor.name}:s8", dtype=DType.S8, quant=quant, data=q))

    def _weighted(self, op: Op) -> Op:
        assert isinstance(op.attrs, (Conv, Dense))
        source = self._quant(op.inputs[0])
        weights = self.graph.tensors[op.inputs[1]]
        axis = 3 if op.kind is OpKind.DEPTHWISE_CONV2D else 0
        q, scales = quantise_weights(np.asarray(weights.data, np.float64), axis, self._bias(op), source.scale[0])
        name = weights.name
        quant = Quant(scale=tuple(float(s) for s in scales), axis=axis)
        quantised = self._add(replace(weights, name=f"{name}:s8", dtype=DType.S8, quant=quant, data=q))
        bias_scale = tuple(source.scale[0] * float(s) for s in scales)
        values = np.rint(self._bias(op) / np.asarray(bias_scale)).astype(np.int32)
        bias = Tensor(
            name=f"{op.name}:bias_s32",
            shape=values.shape,
            dtype=DType.S32,
            quant=Quant(scale=bias_scale, axis=0),
            data=values,
        )
        return replace(op, inputs=(op.inputs[0], quantised, self._add(bias)))

    def _bias(self, op: Op) -> npt.NDArray[np.float64]:
        weights = self.graph.tensors[op.inputs[1]].shape
        channels = weights[3] if op.kind is OpKind.DEPTHWISE_CONV2D else weights[0]
        data: Any = self.graph.tensors[op.inputs[2]].data if len(op.inputs) > 2 else None
        return np.zeros(channels) if data is None else np.asarray(data, np.float64).reshape(channels)


def quantise_weights(
    weights: npt.NDArray[np.float64], axis: int, bias: npt.NDArray[np.float64], in_scale: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """Return int8 weights in −127..127 and one float32-exact scale a channel of ``axis``.

    Scales grow where the bias, at input scale × weight scale, would not fit 31 bits.
    """
    other = tuple(i for i in range(weights.ndim) if i != axis)
    scales = np.maximum(np.abs(weights).max(axis=other) / 127.0, 1e-9)
    scales = np.maximum(scales, np.abs(bias) / (in_scale * 2.0**30))
    scales = scales.astype(np.float32).astype(np.float64)
    shape = [1] * weights.ndim
    shape[axis] = len(scales)
    return np.clip(np.rint(weights / scales.reshape(shape)), -127, 127).astype(np.int8), scales

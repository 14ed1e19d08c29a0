# SPDX-License-Identifier: Apache-2.0
"""An integer graph as a differentiable function of its weights, in the engine's own units.

Everything is held in integer steps: a weight is a real number in −128..127, a bias a real accumulator value, an
activation an int8 value. What is rounded in the engine is rounded here on the way forward and passes gradients through.
``exact`` evaluates the same graph in float64 and int64 with the engine's two roundings, byte for byte.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import MissingDependencyError, UnsupportedModelError
from joulet.ir import Binary, Conv, DType, Graph, Op, OpKind, Pad, Pool, Reduce, Unary
from joulet.numerics import (
    ADD_LEFT_SHIFT,
    activation_range,
    add_multipliers,
    mean_multiplier,
    rounds_once,
    weighted_multiplier,
)
from joulet.quant.bare import bias_of, weighted_ops

Values = dict[int, Any]
_MEAN = frozenset({OpKind.AVG_POOL2D, OpKind.MEAN})
SUPPORTED = frozenset(
    {
        OpKind.CONV2D,
        OpKind.DEPTHWISE_CONV2D,
        OpKind.FULLY_CONNECTED,
        OpKind.ADD,
        OpKind.AVG_POOL2D,
        OpKind.MAX_POOL2D,
        OpKind.MEAN,
        OpKind.PAD,
        OpKind.RESHAPE,
        OpKind.SOFTMAX,
        OpKind.UNARY,
    }
)
"""Kinds of ops that can be trained through; softmax is left out because the loss acts on its input."""


def torch_module() -> Any:
    """Return PyTorch, or say how to get it."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("training needs PyTorch; run: pip install 'joulet[train]'") from error


class Net:
    """The trainable form of an integer graph.

    Parameters
    ----------
    torch
        The PyTorch module.
    graph
        Integer graph with exits.
    precisions
        By name, the bits of each weighted op (8 or 4).
    biases
        By name, biases that differ from the graph's own, by op index.

    Raises
    ------
    UnsupportedModelError
        For an op that gradients cannot go through, naming it.
    """

    def __init__(
        self,
        torch: Any,
        graph: Graph,
        precisions: Mapping[str, Mapping[int, int]],
        biases: Mapping[str, Mapping[int, npt.NDArray[np.int32]]],
    ) -> None:
        self.torch = torch
        self.graph = graph
        self.bits = {name: dict(bits) for name, bits in precisions.items()}
        self.needed = _needed(graph)
        for index in self.needed:
            _check(graph, graph.ops[index])
        self.weights: dict[int, Any] = {}
        self.biases: dict[tuple[str, int], Any] = {}
        for index in weighted_ops(graph):
            op = graph.ops[index]
            data: Any = graph.tensors[op.inputs[1]].data
            self.weights[index] = torch.tensor(np.asarray(data, np.float32), requires_grad=True)
            for name in self.bits:
                own = biases[name].get(index, bias_of(graph, op))
                # One unit of this parameter is one output step, so that one learning rate fits every layer.
                start = own / self._steps(op).numpy()
                self.biases[name, index] = torch.tensor(start.astype(np.float64), requires_grad=True)

    def _steps(self, op: Op) -> Any:
        """Return the accumulator units of one output step, ``(o,)`` float64."""
        source, weights, output = (self.graph.tensors[t].quant for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
        assert source is not None
        assert weights is not None
        assert output is not None
        channels = bias_of(self.graph, op).size
        scale = np.broadcast_to(np.asarray(weights.scale, np.float64), (channels,))
        return self.torch.from_numpy(output.scale[0] / (source.scale[0] * scale))

    def parameters(self) -> tuple[list[Any], list[Any]]:
        """Return weights and biases, in a fixed order."""
        return list(self.weights.values()), list(self.biases.values())

    def state(self) -> list[npt.NDArray[Any]]:
        """Return a copy of every parameter, in the order of :meth:`parameters`."""
        weights, biases = self.parameters()
        return [p.detach().numpy().copy() for p in (*weights, *biases)]

    def load(self, state: Sequence[npt.NDArray[Any]]) -> None:
        """Set every parameter; the counterpart of :meth:`state`."""
        weights, biases = self.parameters()
        with self.torch.no_grad():
            for parameter, values in zip((*weights, *biases), state, strict=True):
                parameter.copy_(self.torch.from_numpy(np.asarray(values)))

    def real_logits(self, values: Values, tensor: int) -> Any:
        """Return logits ``(n, classes)`` in real units."""
        quant = self._quant(tensor)
        return (values[tensor].reshape(len(values[tensor]), -1) - quant.zero_point) * quant.scale[0]

    def integer_weights(self, index: int) -> npt.NDArray[np.int8]:
        """Return the int8 weights that the engine will hold."""
        return np.asarray(self._rounded(self.weights[index]).detach().numpy().astype(np.int8))

    def integer_bias(self, name: str, index: int) -> npt.NDArray[np.int32]:
        """Return the int32 bias ``(o,)`` of a precision."""
        steps = self._steps(self.graph.ops[index]).numpy()
        value = np.rint(self.biases[name, index].detach().numpy() * steps)
        return np.asarray(np.clip(value, 1 - 2**31, 2**31 - 1), np.int32)

    def _rounded(self, weight: Any) -> Any:
        return self.torch.clamp(self.torch.round(weight), -128, 127)

    def _read(self, index: int, bits: int) -> Any:
        """Return a weight as ``bits`` read it; the gradient is that of the real weight."""
        torch = self.torch
        weight = self.weights[index]
        q = self._rounded(weight.detach())
        if bits == 4:
            q = 16 * torch.floor((q + 128) / 16) - 120
        quant = self.graph.tensors[self.graph.ops[index].inputs[1]].quant
        return q - (quant.zero_point if quant else 0) + (weight - weight.detach())

    def forward(self, name: str, inputs: Sequence[Any], *, exact: bool = False) -> Values:
        """Return every activation by tensor index, graph layout, one sample a row.

        Parameters
        ----------
        name
            The precision.
        inputs
            int8 values ``(n, *shape[1:])`` as floats, one a graph input.
        exact
            Byte for byte as the engine, float64 and without gradients.
        """
        dtype = self.torch.float64 if exact else self.torch.float32
        values: Values = {t: x.to(dtype) for t, x in zip(self.graph.inputs, inputs, strict=True)}
        for index in self.needed:
            op = self.graph.ops[index]
            values[op.outputs[0]] = self._op(name, index, op, values, exact)
        return values

    def _op(self, name: str, index: int, op: Op, values: Values, exact: bool) -> Any:
        if op.kind in (OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.FULLY_CONNECTED):
            return self._weighted(name, index, op, values[op.inputs[0]], exact)
        if op.kind is OpKind.ADD:
            return self._add(op, values, exact)
        x = values[op.inputs[0]]
        if op.kind is OpKind.RESHAPE:
            return x.reshape(len(x), *self.graph.tensors[op.outputs[0]].shape[1:])
        if op.kind is OpKind.MAX_POOL2D:
            return self._max_pool(op, x)
        if op.kind in _MEAN:
            return self._mean(op, x, exact)
        if op.kind is OpKind.PAD:
            return self._pad(op, x)
        return self._table(op, x)

    # --- ops ----------------------------------------------------------------------------------------------------

    def _weighted(self, name: str, index: int, op: Op, x: Any, exact: bool) -> Any:
        torch, functional = self.torch, self.torch.nn.functional
        x = x - self._quant(op.inputs[0]).zero_point
        weight = self._read(index, self.bits[name][index]).to(x.dtype)
        if isinstance(op.attrs, Conv):
            total = self._convolve(op, op.attrs, x, weight)
        else:
            total = functional.linear(x.reshape(len(x), -1), weight)
        if exact:
            bias = torch.from_numpy(self.integer_bias(name, index).astype(np.int64))
            return self._requantise(op, total.to(torch.int64) + bias)
        steps = self._steps(op)
        bias = self.biases[name, index]
        rounded = torch.round(bias.detach() * steps) / steps + (bias - bias.detach())
        y = total / steps.to(x.dtype) + rounded.to(x.dtype)
        return self._fit(op, y + self._quant(op.outputs[0]).zero_point)

    def _convolve(self, op: Op, attrs: Conv, x: Any, weight: Any) -> Any:
        functional = self.torch.nn.functional
        out_h, out_w = self.graph.tensors[op.outputs[0]].shape[1:3]
        depthwise = op.kind is OpKind.DEPTHWISE_CONV2D
        weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
        below = max(
            0, (out_h - 1) * attrs.stride[0] + (weight.shape[2] - 1) * attrs.dilation[0] + 1 - x.shape[1] - attrs.pad[0]
        )
        right = max(
            0, (out_w - 1) * attrs.stride[1] + (weight.shape[3] - 1) * attrs.dilation[1] + 1 - x.shape[2] - attrs.pad[1]
        )
        image = x.permute(0, 3, 1, 2)
        if attrs.pad == (below, right):
            pad: tuple[int, int] = attrs.pad
        else:
            image, pad = functional.pad(image, (attrs.pad[1], right, attrs.pad[0], below)), (0, 0)
        groups = x.shape[3] if depthwise else attrs.groups
        y = functional.conv2d(image, weight, None, attrs.stride, pad, attrs.dilation, groups)
        return y[:, :, :out_h, :out_w].permute(0, 2, 3, 1)

    def _add(self, op: Op, values: Values, exact: bool) -> Any:
        torch = self.torch
        quants = [self._quant(t) for t in op.inputs]
        output = self._quant(op.outputs[0])
        terms = []
        for t, quant in zip(op.inputs, quants, strict=True):
            data = self.graph.tensors[t].data
            x = values[t] if data is None else torch.from_numpy(np.asarray(data, np.float32))
            terms.append(x - quant.zero_point)
        if exact:
            a, b, total = add_multipliers(quants[0].scale[0], quants[1].scale[0], output.scale[0])
            left, right = (
                _scaled(torch, x.to(torch.int64) << ADD_LEFT_SHIFT, *m) for x, m in zip(terms, (a, b), strict=True)
            )
            return self._clamped(op, _scaled(torch, left + right, *total) + output.zero_point)
        real = terms[0] * (quants[0].scale[0] / output.scale[0]) + terms[1] * (quants[1].scale[0] / output.scale[0])
        return self._fit(op, real + output.zero_point)

    def _max_pool(self, op: Op, x: Any) -> Any:
        assert isinstance(op.attrs, Pool)
        windows, inside = self._windows(op, op.attrs, x)
        low = self.torch.where(inside, windows, windows.new_full((), -128.0))
        return self._clamped(op, low.amax(dim=(3, 4)))

    def _windows(self, op: Op, attrs: Pool, x: Any) -> tuple[Any, Any]:
        """Return ``(n, out_h, out_w, kh, kw, c)`` windows and which of their places lie inside the input."""
        torch = self.torch
        out_h, out_w = self.graph.tensors[op.outputs[0]].shape[1:3]
        rows = torch.arange(out_h)[:, None] * attrs.stride[0] - attrs.pad[0] + torch.arange(attrs.kernel[0])[None]
        columns = torch.arange(out_w)[:, None] * attrs.stride[1] - attrs.pad[1] + torch.arange(attrs.kernel[1])[None]
        ok_rows, ok_columns = (rows >= 0) & (rows < x.shape[1]), (columns >= 0) & (columns < x.shape[2])
        rows, columns = rows.clamp(0, x.shape[1] - 1), columns.clamp(0, x.shape[2] - 1)
        windows = x[:, rows[:, None, :, None], columns[None, :, None, :]]
        inside = ok_rows[:, None, :, None] & ok_columns[None, :, None, :]
        return windows, inside[None, ..., None]

    def _mean(self, op: Op, x: Any, exact: bool) -> Any:
        torch = self.torch
        shape = self.graph.tensors[op.outputs[0]].shape[1:]
        if isinstance(op.attrs, Pool):
            if op.attrs.kernel == tuple(x.shape[1:3]) and op.attrs.pad == (0, 0):
                total, count = x.sum(dim=(1, 2)).reshape(len(x), *shape), torch.tensor(float(x.shape[1] * x.shape[2]))
            else:
                windows, inside = self._windows(op, op.attrs, x)
                total, count = (windows * inside).sum(dim=(3, 4)), inside.sum(dim=(3, 4))
            half = total / count
            if exact:
                return self._clamped(op, torch.trunc(half + torch.where(half < 0, -0.5, 0.5)))
            return self._fit(op, half)
        assert isinstance(op.attrs, Reduce)
        axes = op.attrs.axes
        count_of = int(np.prod([x.shape[a] for a in axes]))
        source, output = self._quant(op.inputs[0]), self._quant(op.outputs[0])
        total = (x - source.zero_point).sum(dim=axes).reshape(len(x), *shape)
        if exact:
            scale = mean_multiplier(source.scale[0], output.scale[0], count_of)
            return self._clamped(op, _scaled(torch, total.to(torch.int64), *scale) + output.zero_point)
        return self._fit(op, total * (source.scale[0] / output.scale[0] / count_of) + output.zero_point)

    def _pad(self, op: Op, x: Any) -> Any:
        assert isinstance(op.attrs, Pad)
        quant = self._quant(op.outputs[0])
        value = float(np.clip(np.rint(op.attrs.value / quant.scale[0]) + quant.zero_point, -128, 127))
        widths = [
            w for b, a in reversed(list(zip(op.attrs.before[1:], op.attrs.after[1:], strict=True))) for w in (b, a)
        ]
        return self.torch.nn.functional.pad(x, widths, value=value)

    def _table(self, op: Op, x: Any) -> Any:
        """Look up; the gradient is the slope of the table around the value."""
        torch = self.torch
        assert isinstance(op.attrs, Unary)
        assert op.attrs.table is not None
        table = np.frombuffer(op.attrs.table, np.int8).astype(np.float64)
        slope = torch.from_numpy(np.gradient(table)).to(x.dtype)
        place = (x.detach() + 128).to(torch.int64).clamp(0, 255)
        y = torch.from_numpy(table).to(x.dtype)[place]
        return y + slope[place] * (x - x.detach())

    # --- rounding -----------------------------------------------------------------------------------------------

    def _quant(self, tensor: int) -> Any:
        return self.graph.tensors[tensor].quant

    def _range(self, op: Op) -> tuple[int, int]:
        activation = getattr(op.attrs, "activation", None)
        return activation_range(activation, self._quant(op.outputs[0])) if activation is not None else (-128, 127)

    def _clamped(self, op: Op, y: Any) -> Any:
        low, high = self._range(op)
        y = y.clamp(low, high)
        return y if y.dtype.is_floating_point else y.to(self.torch.float64)

    def _fit(self, op: Op, y: Any) -> Any:
        """Round and clamp on the way forward; the gradient passes inside the clamp."""
        inside = self._clamped(op, y)
        return self.torch.round(inside.detach()) + (inside - inside.detach())

    def _requantise(self, op: Op, total: Any) -> Any:
        torch = self.torch
        source, output = self._quant(op.inputs[0]), self._quant(op.outputs[0])
        weights = self.graph.tensors[op.inputs[1]]
        assert weights.quant is not None
        was_uint8 = weights.border is not None
        pairs = [
            weighted_multiplier(op.kind, was_uint8, source.scale[0], s, output.scale[0]) for s in weights.quant.scale
        ]
        multiplier, shift = (torch.tensor([p[i] for p in pairs], dtype=torch.int64) for i in (0, 1))
        if rounds_once(op.kind, was_uint8):
            right = 31 - shift
            y = (total * multiplier + (torch.ones_like(right) << (right - 1))) >> right
        else:
            y = _scaled(torch, total, multiplier, shift)
        return self._clamped(op, y + output.zero_point)


def _scaled(torch: Any, value: Any, multiplier: Any, shift: Any) -> Any:
    """Return value · multiplier · 2^(shift − 31) with the two roundings of csrc/NUMERICS.md §2, int64."""
    multiplier, shift = (torch.as_tensor(v, dtype=torch.int64) for v in (multiplier, shift))
    product = (value << shift.clamp(min=0)) * multiplier
    high = (product + (1 << 30)) >> 31
    right = (-shift).clamp(min=0)
    mask = (torch.ones_like(right) << right) - 1
    threshold = (mask >> 1) + (high < 0).to(torch.int64)
    return (high >> right) + ((high & mask) > threshold).to(torch.int64)


def _needed(graph: Graph) -> tuple[int, ...]:
    """Return the ops that some exit's logits depend on."""
    open_tensors = {e.logits for e in graph.exits}
    found = []
    for index in range(len(graph.ops) - 1, -1, -1):
        op = graph.ops[index]
        if open_tensors.intersection(op.outputs):
            found.append(index)
            open_tensors.update(op.inputs)
    return tuple(reversed(found))


def _check(graph: Graph, op: Op) -> None:
    if op.kind not in SUPPORTED:
        raise UnsupportedModelError(
            f"op {op.name!r} ({op.kind.value}): training does not go through it; use `joulet compile --recover trade`"
        )
    if any(graph.tensors[t].dtype is not DType.S8 for t in (*op.inputs[:1], *op.outputs)):
        raise UnsupportedModelError(f"op {op.name!r}: training takes int8 models; this one has float or wider tensors")
    if isinstance(op.attrs, Binary) and len(op.inputs) != 2:
        raise UnsupportedModelError(f"op {op.name!r}: training takes sums of two tensors")

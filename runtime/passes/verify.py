# SPDX-License-Identifier: Apache-2.0
"""The rules every graph obeys between stages; the first one broken is named with its op.

A pass that breaks a rule is a bug of ours, a file that does is refused earlier: both end here as a ModelError, never
as a wrong byte later.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from joulet.errors import ModelError
from joulet.ir import (
    ATTRS,
    WEIGHTED,
    ArgMax,
    Concat,
    Conv,
    DType,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Reduce,
    Slice,
    Tensor,
    Transpose,
    Unary,
)

Shape = tuple[int, ...]


def verify(graph: Graph) -> None:
    """Check the whole graph.

    Raises
    ------
    ModelError
        Naming the op or tensor and the rule it breaks.
    """
    for tensor in graph.tensors:
        _check_tensor(graph, tensor)
    ready = {i for i, tensor in enumerate(graph.tensors) if tensor.data is not None}
    for i in graph.inputs:
        if not 0 <= i < len(graph.tensors) or i in ready:
            raise ModelError(f"{graph.name}: input {i} is no tensor, a constant, or listed twice")
        ready.add(i)
    for op in graph.ops:
        _check_op(graph, op, ready)
        ready |= set(op.outputs)
    if not graph.outputs:
        raise ModelError(f"{graph.name}: the graph has no output")
    for i in (*graph.outputs, *(t for leave in graph.exits for t in (leave.logits, leave.output))):
        if i not in ready:
            raise ModelError(f"{graph.name}: output {i} is never computed")


def _check_tensor(graph: Graph, tensor: Tensor) -> None:
    where = f"{graph.name}: tensor '{tensor.name}'"
    if any(s < 1 for s in tensor.shape):
        raise ModelError(f"{where} has shape {list(tensor.shape)}")
    if tensor.data is not None and (
        tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype.value)
    ):
        raise ModelError(f"{where} holds {tensor.data.dtype}{list(tensor.data.shape)}, not what it declares")
    if tensor.dtype is DType.S8 and tensor.quant is None:
        raise ModelError(f"{where} is int8 without quantisation")
    if tensor.quant is None:
        return
    quant = tensor.quant
    n = len(quant.scale)
    if n == 0 or (n > 1 and (quant.axis is None or not 0 <= quant.axis < len(tensor.shape))):
        raise ModelError(f"{where} has {n} scales along axis {quant.axis}")
    if n > 1 and quant.axis is not None and tensor.shape[quant.axis] != n:
        raise ModelError(f"{where} has {n} scales along axis {quant.axis} of {list(tensor.shape)}")
    if any(not math.isfinite(s) or s < 0 for s in quant.scale) or not -128 <= quant.zero_point <= 127:
        raise ModelError(f"{where} has a scale or zero point out of range")


def _check_op(graph: Graph, op: Op, ready: set[int]) -> None:
    where = f"{graph.name}: {op.kind.value} '{op.name}'"
    if not isinstance(op.attrs, ATTRS[op.kind]):
        raise ModelError(f"{where} carries attributes of type {type(op.attrs).__name__}")
    for i in op.inputs:
        if i not in ready:
            raise ModelError(f"{where} reads tensor {i}, which is not computed yet")
    if len(op.outputs) != 1 or not 0 <= op.outputs[0] < len(graph.tensors) or op.outputs[0] in ready:
        raise ModelError(f"{where} writes {list(op.outputs)}: exactly one fresh tensor is needed")
    low, high = _ARITY.get(op.kind, (1, 1))
    if not low <= len(op.inputs) <= high:
        raise ModelError(f"{where} has {len(op.inputs)} inputs")
    if op.exit is not None and graph.exits and not 0 <= op.exit < len(graph.exits):
        raise ModelError(f"{where} belongs to exit {op.exit} of {len(graph.exits)}")
    ins = [graph.tensors[i] for i in op.inputs]
    out = graph.tensors[op.outputs[0]]
    reason = _types(op, ins, out) or _SHAPES[op.kind](op, ins, out)
    if reason:
        shapes = ", ".join(str(list(t.shape)) for t in ins)
        raise ModelError(f"{where}: {reason} (inputs {shapes}, output {list(out.shape)})")


_ARITY = {
    OpKind.CONV2D: (2, 3),
    OpKind.DEPTHWISE_CONV2D: (2, 3),
    OpKind.FULLY_CONNECTED: (2, 3),
    OpKind.ADD: (2, 2),
    OpKind.SUB: (2, 2),
    OpKind.MUL: (2, 2),
    OpKind.CONCAT: (1, 1 << 10),
}


def _types(op: Op, ins: list[Tensor], out: Tensor) -> str:
    """Return what is wrong with the element types, or nothing."""
    x = ins[0].dtype
    if op.kind is OpKind.QUANTIZE:
        return "" if (x, out.dtype) == (DType.F32, DType.S8) else "is not float32 to int8"
    if op.kind is OpKind.DEQUANTIZE:
        return "" if (x, out.dtype) == (DType.S8, DType.F32) else "is not int8 to float32"
    if op.kind is OpKind.ARGMAX:
        return "" if out.dtype is DType.S32 else "does not give int32"
    if x not in (DType.S8, DType.F32) or out.dtype is not x:
        return f"takes {x.value} and gives {out.dtype.value}"
    if op.kind in WEIGHTED:
        bias = DType.F32 if x is DType.F32 else DType.S32
        if ins[1].dtype is not x or (len(ins) > 2 and ins[2].dtype is not bias):
            return "has weights or bias of another type"
        if ins[1].data is None or (len(ins) > 2 and ins[2].data is None):
            return "has weights or bias that are not constant"
        per_tensor = [ins[0], out]
    else:
        per_tensor = [*ins, out]
        if any(t.dtype is not x for t in ins):
            return "mixes element types"
    if any(t.quant is not None and len(t.quant.scale) != 1 for t in per_tensor):
        return "has activations with several scales"
    if isinstance(op.attrs, Unary):
        want = 256 if x is DType.S8 else 0
        return "" if len(op.attrs.table or b"") == want else f"has a table of {len(op.attrs.table or b'')} bytes"
    if op.kind is OpKind.CONCAT and any(t.quant != out.quant for t in ins):
        return "joins tensors of different quantisation"
    return ""


def _conv(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Conv)
    x, w, y = ins[0].shape, ins[1].shape, out.shape
    if not len(x) == len(w) == len(y) == 4 or x[0] != y[0]:
        return "needs four dimensions and one batch"
    depthwise = op.kind is OpKind.DEPTHWISE_CONV2D
    if depthwise:
        matches = w[0] == 1 and w[3] == y[3] and y[3] % x[3] == 0 and attrs.groups == 1
    else:
        matches = w[0] == y[3] and w[3] * attrs.groups == x[3] and y[3] % attrs.groups == 0
    if not matches:
        return f"has weights {list(w)} that do not fit"
    if len(ins) > 2 and ins[2].shape != (y[3],):
        return f"has a bias of shape {list(ins[2].shape)}"
    quant = ins[1].quant
    if quant is not None and len(quant.scale) > 1 and quant.axis != (3 if depthwise else 0):
        return f"has weights quantised along axis {quant.axis}"
    if min(*attrs.stride, *attrs.dilation) < 1:
        return "has a stride or dilation below 1"
    kernel = tuple((k - 1) * d + 1 for k, d in zip(w[1:3], attrs.dilation, strict=True))
    return _window(x, y, kernel, attrs.stride, attrs.pad)


def _window(x: Shape, y: Shape, kernel: Shape, stride: Shape, pad: Shape) -> str:
    for axis in (0, 1):
        last = (y[1 + axis] - 1) * stride[axis] - pad[axis]
        if not 0 <= pad[axis] < kernel[axis] or last >= x[1 + axis]:
            return "has windows that lie wholly in the padding"
    return ""


def _dense(op: Op, ins: list[Tensor], out: Tensor) -> str:
    w = ins[1].shape
    if len(w) != 2 or ins[0].elements % w[1] or out.elements != ins[0].elements // w[1] * w[0]:
        return f"has weights {list(w)} that do not fit"
    if len(ins) > 2 and ins[2].shape != (w[0],):
        return f"has a bias of shape {list(ins[2].shape)}"
    return ""


def _pool(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Pool)
    x, y = ins[0].shape, out.shape
    if not len(x) == len(y) == 4 or x[0] != y[0] or x[3] != y[3]:
        return "changes batch or channels"
    if min(*attrs.kernel, *attrs.stride) < 1:
        return "has a kernel or stride below 1"
    return _window(x, y, attrs.kernel, attrs.stride, attrs.pad)


def _mean(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Reduce)
    x = ins[0].shape
    if any(not 0 <= a < len(x) for a in attrs.axes) or tuple(sorted(set(attrs.axes))) != attrs.axes:
        return f"reduces axes {list(attrs.axes)}"
    want = tuple(1 if i in attrs.axes else s for i, s in enumerate(x) if attrs.keep_dims or i not in attrs.axes)
    return "" if out.shape == want else f"should give {list(want)}"


def _binary(op: Op, ins: list[Tensor], out: Tensor) -> str:
    try:
        want = np.broadcast_shapes(ins[0].shape, ins[1].shape)
    except ValueError:
        return "joins shapes that do not broadcast"
    return "" if out.shape == want else f"should give {list(want)}"


def _pad(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Pad)
    if not len(attrs.before) == len(attrs.after) == len(ins[0].shape) or min((*attrs.before, *attrs.after, 0)) < 0:
        return f"pads by {list(attrs.before)} and {list(attrs.after)}"
    want = tuple(b + s + a for b, s, a in zip(attrs.before, ins[0].shape, attrs.after, strict=True))
    return "" if out.shape == want else f"should give {list(want)}"


def _concat(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Concat)
    axis, rank = attrs.axis, len(out.shape)
    if not 0 <= axis < rank or any(len(t.shape) != rank for t in ins):
        return f"joins along axis {axis}"
    if any(t.shape[:axis] != out.shape[:axis] or t.shape[axis + 1 :] != out.shape[axis + 1 :] for t in ins):
        return "joins shapes that do not fit"
    return "" if out.shape[axis] == sum(t.shape[axis] for t in ins) else "loses or gains elements"


def _transpose(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Transpose)
    if sorted(attrs.perm) != list(range(len(ins[0].shape))):
        return f"permutes by {list(attrs.perm)}"
    return "" if out.shape == tuple(ins[0].shape[p] for p in attrs.perm) else "gives another shape"


def _slice(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, Slice)
    x = ins[0].shape
    if not len(attrs.begin) == len(attrs.stride) == len(attrs.sizes) == len(x):
        return "has not one entry a dimension"
    for begin, stride, size, extent in zip(attrs.begin, attrs.stride, attrs.sizes, x, strict=True):
        if size < 1 or stride == 0 or not 0 <= begin < extent or not 0 <= begin + stride * (size - 1) < extent:
            return "reaches beyond its input"
    return "" if out.elements == math.prod(attrs.sizes) else f"takes {list(attrs.sizes)}"


def _same_elements(op: Op, ins: list[Tensor], out: Tensor) -> str:
    return "" if ins[0].elements == out.elements else "changes the number of elements"


def _same_shape(op: Op, ins: list[Tensor], out: Tensor) -> str:
    return "" if ins[0].shape == out.shape else "changes the shape"


def _resize(op: Op, ins: list[Tensor], out: Tensor) -> str:
    x, y = ins[0].shape, out.shape
    return "" if len(x) == len(y) == 4 and (x[0], x[3]) == (y[0], y[3]) else "changes batch or channels"


def _argmax(op: Op, ins: list[Tensor], out: Tensor) -> str:
    attrs = op.attrs
    assert isinstance(attrs, ArgMax)
    x = ins[0].shape
    if not 0 <= attrs.axis < len(x):
        return f"searches axis {attrs.axis}"
    return "" if out.shape == (*x[: attrs.axis], *x[attrs.axis + 1 :]) else "gives another shape"


_SHAPES: dict[OpKind, Callable[[Op, list[Tensor], Tensor], str]] = {
    OpKind.CONV2D: _conv,
    OpKind.DEPTHWISE_CONV2D: _conv,
    OpKind.FULLY_CONNECTED: _dense,
    OpKind.AVG_POOL2D: _pool,
    OpKind.MAX_POOL2D: _pool,
    OpKind.MEAN: _mean,
    OpKind.ADD: _binary,
    OpKind.SUB: _binary,
    OpKind.MUL: _binary,
    OpKind.PAD: _pad,
    OpKind.CONCAT: _concat,
    OpKind.TRANSPOSE: _transpose,
    OpKind.STRIDED_SLICE: _slice,
    OpKind.RESHAPE: _same_elements,
    OpKind.SOFTMAX: _same_shape,
    OpKind.UNARY: _same_shape,
    OpKind.RESIZE_NEAREST: _resize,
    OpKind.RESIZE_BILINEAR: _resize,
    OpKind.QUANTIZE: _same_shape,
    OpKind.DEQUANTIZE: _same_shape,
    OpKind.ARGMAX: _argmax,
}

# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models as other frameworks' exporters write them, made here by ``onnx.helper``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Collects nodes and constants."""

    def __init__(self, opset: int, seed: int = 0) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, value: object, dtype: str = "f4") -> str:
        """Add an initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, *shape: int, scale: float = 0.5) -> str:
        """Add a random initializer."""
        return self.const(self.rng.normal(0, scale, shape))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """Add a node; return its first output."""
        names = [f"{op.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names[0]

    def conv(
        self, x: str, i: int, o: int, kernel: Sequence[int], *, group: int = 1, bias: bool = True, **attributes: object
    ) -> str:
        """Add Conv with random weights."""
        inputs = [x, self.random(o, i // group, *kernel, scale=0.3)] + ([self.random(o)] if bias else [])
        return self.node("Conv", *inputs, group=group, kernel_shape=list(kernel), **attributes)

    def norm(self, x: str, c: int) -> str:
        """Add BatchNormalization with random statistics."""
        positive = self.const(self.rng.uniform(0.5, 2.0, c))
        return self.node("BatchNormalization", x, self.random(c), self.random(c), self.random(c), positive)

    def relu6(self, x: str) -> str:
        """Add Clip from 0 to 6."""
        return self.node("Clip", x, self.const(0.0), self.const(6.0))

    def squeeze(self, op: str, x: str, axes: Sequence[int]) -> str:
        """Add Squeeze or Unsqueeze."""
        if self.opset < 13:
            return self.node(op, x, axes=list(axes))
        return self.node(op, x, self.const(axes, "i8"))

    def mean(self, x: str, axes: Sequence[int], keepdims: int) -> str:
        """Add ReduceMean."""
        if self.opset < 18:
            return self.node("ReduceMean", x, axes=list(axes), keepdims=keepdims)
        return self.node("ReduceMean", x, self.const(axes, "i8"), keepdims=keepdims)

    def finish(
        self, shape: Sequence[int | str], outputs: Sequence[str], *, input_name: str = "x", shapes: bool = False
    ) -> bytes:
        """Return the file."""
        inputs = [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, list(shape))]
        outs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "net", inputs, outs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        if not shapes:
            del model.graph.value_info[:]
        return model.SerializeToString()


def torch_cnn(opset: int) -> bytes:
    """Convolutions with normalisation, depthwise, pooled, flattened, linear: as torch writes a small MobileNet."""
    net = Net(opset, 1)
    x = net.node("Relu", net.norm(net.conv("x", 3, 8, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1], bias=False), 8))
    x = net.relu6(net.norm(net.conv(x, 8, 8, (3, 3), group=8, pads=[1, 1, 1, 1], bias=False), 8))
    x = net.relu6(net.norm(net.conv(x, 8, 12, (1, 1)), 12))
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Dropout", net.node("Flatten", net.node("GlobalAveragePool", x)))
    x = net.node("Gemm", x, net.random(5, 12), net.random(5), transB=1)
    return net.finish(("batch", 3, 16, 14), [net.node("Softmax", x, axis=-1)], shapes=True)


def tf_cnn(opset: int) -> bytes:
    """An NHWC input turned, turned back, and a MatMul with its bias beside it: as tf2onnx writes Keras models."""
    net = Net(opset, 2)
    x = net.node("Transpose", "x", perm=[0, 3, 1, 2])
    x = net.node(
        "Add", net.conv(x, 2, 6, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2], bias=False), net.random(6, 1, 1)
    )
    x = net.node("MaxPool", net.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
    x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    x = net.node("Reshape", x, net.const([-1, 72], "i8"))
    x = net.node("Add", net.node("MatMul", x, net.random(72, 10, scale=0.2)), net.random(10))
    x = net.node("Relu", x)
    x = net.node("Add", net.node("MatMul", x, net.random(10, 4)), net.random(1, 4))
    return net.finish(("unk", 12, 15, 2), [net.node("Softmax", x)])


def flat_head(opset: int) -> bytes:
    """An image flattened channels first into a linear layer: its columns must be turned."""
    net = Net(opset, 3)
    x = net.node("Tanh", net.conv("x", 3, 5, (2, 3), pads=[0, 1, 1, 0]))
    shape = net.node("Shape", x)
    batch = net.squeeze("Unsqueeze", net.node("Gather", shape, net.const(0, "i8"), axis=0), [0])
    x = net.node("Reshape", x, net.node("Concat", batch, net.const([-1], "i8"), axis=0))
    return net.finish(("N", 3, 6, 5), [net.node("Gemm", x, net.random(120, 7), net.random(7), alpha=0.5, beta=2.0)])


def residual(opset: int) -> bytes:
    """A residual block with squeeze and excitation, and hard swish in pieces."""
    net = Net(opset, 4)
    stem = net.conv("x", 4, 8, (3, 3), pads=[1, 1, 1, 1])
    gate = net.node("HardSigmoid", stem, alpha=1 / 6, beta=0.5)
    stem = net.node("Mul", stem, gate)
    pooled = net.node("GlobalAveragePool", stem)
    inner = net.node("Relu", net.conv(pooled, 8, 4, (1, 1)))
    scale = net.node("HardSigmoid", net.conv(inner, 4, 8, (1, 1)), alpha=1 / 6, beta=0.5)
    x = net.node("Mul", scale, stem)
    x = net.node("Relu", net.node("Add", net.conv(x, 8, 8, (3, 3), pads=[1, 1, 1, 1], group=2), stem))
    x = net.mean(x, [2, 3], 0)
    return net.finish((1, 4, 7, 6), [net.node("Gemm", x, net.random(8, 3), net.random(3))])


def moves(opset: int) -> bytes:
    """pad, slice, split, concat, channel shuffle, transposes: everything along channels or space."""
    net = Net(opset, 5)
    x = net.node("LeakyRelu", net.conv("x", 2, 8, (3, 3)), alpha=0.2)
    x = net.node("Pad", x, net.const([0, 0, 1, 2, 0, 0, 0, 1], "i8"), net.const(0.25))
    steps = net.const([1, -2], "i8")
    x = net.node("Slice", x, net.const([1, -1], "i8"), net.const([7, -(1 << 62)], "i8"), net.const([1, 3], "i8"), steps)
    sizes = [net.const([3, 3], "i8")] if opset >= 13 else []
    extra = {} if opset >= 13 else {"split": [3, 3]}
    a = net.node("Split", x, *sizes, outputs=2, axis=1, **extra)
    b = net.nodes[-1].output[1]
    x = net.node("Concat", b, net.node("Sigmoid", a), x, axis=1)
    x = net.node("Reshape", x, net.const([1, 3, 4, 7, 5], "i8"))
    x = net.node("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net.node("Reshape", x, net.const([0, -1, 7, 5], "i8"))
    x = net.conv(x, 12, 4, (1, 1))
    x = net.node("Transpose", x, perm=[0, 1, 3, 2])
    return net.finish((1, 2, 8, 9), [net.node("Flatten", x, axis=2)])


def resizes(opset: int) -> bytes:
    """Resize, nearest and linear, in the coordinates that the kernels share with ONNX."""
    net = Net(opset, 6)
    up, roi = net.const([1, 1, 2, 3]), net.const([])
    x = net.conv("x", 3, 3, (1, 1))
    a = net.node(
        "Resize", x, roi, up, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    b = net.node("Resize", x, roi, up, mode="linear", coordinate_transformation_mode="half_pixel")
    c = net.node("Resize", x, roi, up, mode="nearest", coordinate_transformation_mode="half_pixel")
    size, empty = net.const([1, 3, 9, 5], "i8"), net.const([])
    d = net.node("Resize", x, roi, empty, size, mode="linear", coordinate_transformation_mode="align_corners")
    outs = [net.mean(v, [2, 3], 0) for v in (a, b, c, d)]
    return net.finish((1, 3, 5, 4), outs)


def sequence(opset: int) -> bytes:
    """One-dimensional convolutions over a signal, joined, normalised, pooled."""
    net = Net(opset, 7)
    a = net.node("Relu", net.norm(net.conv("x", 6, 8, (5,), strides=[2], pads=[2, 2]), 8))
    b = net.conv(a, 8, 8, (3,), group=8, pads=[1, 1], dilations=[1])
    x = net.node("Concat", a, net.node("Add", b, net.random(8, 1)), axis=1)
    x = net.node("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    x = net.node("AveragePool", x, kernel_shape=[2], strides=[2])
    turned = net.node("Transpose", x, perm=[0, 2, 1])
    y = net.node("MatMul", turned, net.random(16, 5))
    x = net.node("Add", net.mean(y, [1], 0), net.random(5))
    return net.finish(("b", 6, 40), [net.node("Softmax", x, axis=1)])


def pools(opset: int) -> bytes:
    """Averages that count their padding, ceil mode, normalisation before any weights, a scalar slope."""
    net = Net(opset, 8)
    x = net.norm("x", 3)
    x = net.node("PRelu", x, net.const([0.25]))
    x = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = net.node("Div", net.node("Sub", net.const([[[1.0]], [[2.0]], [[3.0]]]), x), net.const(4.0))
    x = net.squeeze("Squeeze", net.node("GlobalMaxPool", net.node("Clip", x, net.const(-1.0), net.const(1.0))), [2, 3])
    return net.finish((1, 3, 13, 11), [net.node("Identity", x)])


def two_exits(opset: int) -> bytes:
    """A classifier with an early exit beside its last one, the deeper one listed first."""
    net = Net(opset, 9)
    a = net.node("Relu", net.conv("x", 2, 6, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1]))
    early = net.node("Flatten", net.node("GlobalAveragePool", a))
    early = net.node("Softmax", net.node("Gemm", early, net.random(6, 4), net.random(4)), axis=1)
    b = net.node("Relu", net.conv(a, 6, 8, (3, 3), pads=[1, 1, 1, 1]))
    late = net.node("Flatten", net.node("GlobalAveragePool", b))
    late = net.node("Softmax", net.node("Gemm", late, net.random(8, 4), net.random(4)), axis=1)
    return net.finish((1, 2, 12, 12), [late, early])


def halves(opset: int) -> bytes:
    """Channels split before anything else is done with them."""
    net = Net(opset, 10)
    sizes = [net.const([2, 2], "i8")] if opset >= 13 else []
    extra = {} if opset >= 13 else {"split": [2, 2]}
    a = net.node("Split", "x", *sizes, outputs=2, axis=1, **extra)
    b = net.nodes[-1].output[1]
    x = net.node("Concat", b, a, axis=1)
    x = net.node("Relu", net.conv(x, 4, 6, (3, 3), group=2))
    return net.finish((1, 4, 6, 5), [net.mean(x, [2, 3], 0)])


MODELS: dict[str, Callable[[int], bytes]] = {
    builder.__name__: builder
    for builder in (torch_cnn, tf_cnn, flat_head, residual, moves, resizes, sequence, pools, two_exits, halves)
}

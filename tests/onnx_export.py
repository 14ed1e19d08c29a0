# SPDX-License-Identifier: Apache-2.0
"""A float graph of the IR as an ONNX file with channels before space, the way exporters of other frameworks write it.

With it every float model at hand becomes a judge of the ONNX importer: what ONNX Runtime makes of the file must be what
the graph computes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from joulet.ir import (
    Activation,
    Binary,
    Concat,
    Conv,
    Dense,
    Graph,
    Op,
    OpKind,
    Pad,
    Pool,
    Reduce,
    Softmax,
    Transpose,
    Unary,
    UnaryKind,
)

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_UNARY = {
    UnaryKind.RELU: "Relu",
    UnaryKind.LOGISTIC: "Sigmoid",
    UnaryKind.TANH: "Tanh",
    UnaryKind.HARD_SWISH: "HardSwish",
}
_BINARY = {OpKind.ADD: "Add", OpKind.SUB: "Sub", OpKind.MUL: "Mul"}


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names = {i: f"t{i}" for i in range(len(graph.tensors))}
        self.plain: set[int] = set()  # tensors of four dimensions that are in the graph's own order

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{len(self.nodes)}", **attributes))
        return output

    def turned(self, tensor: int) -> bool:
        return len(self.graph.tensors[tensor].shape) == 4 and tensor not in self.plain

    def own_order(self, tensor: int) -> str:
        """Return the name of a tensor in the graph's own order."""
        name = self.names[tensor]
        if not self.turned(tensor):
            return name
        return self.node("Transpose", [name], f"{name}_nhwc_{len(self.nodes)}", perm=_TO_NHWC)

    def activated(self, activation: Activation, name: str, output: str) -> None:
        """Rename ``name`` to ``output`` through a fused activation."""
        if activation is Activation.NONE:
            self.nodes[-1].output[0] = output
        elif activation is Activation.RELU:
            self.node("Relu", [name], output)
        else:
            low, high = (0.0, 6.0) if activation is Activation.RELU6 else (-1.0, 1.0)
            bounds = [self.constant(f"{output}_{k}", np.float32(v)) for k, v in (("low", low), ("high", high))]
            self.node("Clip", [name, *bounds], output)

    def op(self, op: Op) -> None:
        graph, attrs = self.graph, op.attrs
        x, y = op.inputs[0], op.outputs[0]
        out = self.names[y]
        if isinstance(attrs, Conv):
            weights = np.asarray(graph.tensors[op.inputs[1]].data)
            depthwise = op.kind is OpKind.DEPTHWISE_CONV2D
            turned = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
            group = graph.tensors[x].shape[3] if depthwise else attrs.groups
            inputs = [self.names[x], self.constant(f"{out}_w", turned)]
            inputs += [self.constant(f"{out}_b", np.asarray(graph.tensors[b].data)) for b in op.inputs[2:]]
            pads = _pads(graph, op, weights.shape[1:3], attrs.stride, attrs.dilation, attrs.pad)
            self.node(
                "Conv", inputs, f"{out}_raw", group=group, strides=attrs.stride, dilations=attrs.dilation, pads=pads
            )
            self.activated(attrs.activation, f"{out}_raw", out)
        elif isinstance(attrs, Dense):
            weights = np.asarray(graph.tensors[op.inputs[1]].data)
            flat = self.constant(f"{out}_flat", np.asarray([-1, weights.shape[1]], np.int64))
            rows = self.node("Reshape", [self.own_order(x), flat], f"{out}_rows")
            inputs = [rows, self.constant(f"{out}_w", weights)]
            inputs += [self.constant(f"{out}_b", np.asarray(graph.tensors[b].data)) for b in op.inputs[2:]]
            self.node("Gemm", inputs, f"{out}_raw", transB=1)
            self.activated(attrs.activation, f"{out}_raw", out)
        elif isinstance(attrs, Pool):
            average = op.kind is OpKind.AVG_POOL2D
            pads = _pads(graph, op, attrs.kernel, attrs.stride, (1, 1), attrs.pad)
            name = "AveragePool" if average else "MaxPool"
            self.node(name, [self.names[x]], f"{out}_raw", kernel_shape=attrs.kernel, strides=attrs.stride, pads=pads)
            self.activated(attrs.activation, f"{out}_raw", out)
        elif isinstance(attrs, Reduce):
            axes = [_TO_NCHW.index(a) if self.turned(x) else a for a in attrs.axes]
            self.node(
                "ReduceMean",
                [self.names[x], self.constant(f"{out}_axes", np.asarray(axes, np.int64))],
                out,
                keepdims=int(attrs.keep_dims),
            )
        elif isinstance(attrs, Binary):
            self.node(_BINARY[op.kind], [self.operand(t) for t in op.inputs], f"{out}_raw")
            self.activated(attrs.activation, f"{out}_raw", out)
        elif isinstance(attrs, Softmax):
            assert attrs.beta == 1.0
            self.node("Softmax", [self.names[x]], out, axis=1 if self.turned(x) else -1)
        elif isinstance(attrs, Unary):
            self.node(_UNARY[attrs.kind], [self.names[x]], out)
        elif isinstance(attrs, Pad):
            order = _TO_NCHW if self.turned(x) else list(range(len(attrs.before)))
            pads = [attrs.before[a] for a in order] + [attrs.after[a] for a in order]
            self.node("Pad", [self.names[x], self.constant(f"{out}_pads", np.asarray(pads, np.int64))], out)
        elif isinstance(attrs, Concat):
            self.node("Concat", [self.names[t] for t in op.inputs], out, axis=[0, 2, 3, 1][attrs.axis])
        elif isinstance(attrs, Transpose):
            self.node("Transpose", [self.own_order(x)], out, perm=attrs.perm)
            self.plain.add(y)
        elif op.kind is OpKind.RESHAPE:
            shape = self.constant(f"{out}_shape", np.asarray(graph.tensors[y].shape, np.int64))
            plain = self.node("Reshape", [self.own_order(x), shape], f"{out}_plain")
            if len(graph.tensors[y].shape) == 4:
                self.node("Transpose", [plain], out, perm=_TO_NCHW)
            else:
                self.nodes[-1].output[0] = out
        else:
            raise AssertionError(f"no ONNX for {op.kind}")

    def operand(self, tensor: int) -> str:
        data = self.graph.tensors[tensor].data
        if data is None:
            return self.names[tensor]
        value = np.asarray(data)
        value = value.transpose(_TO_NCHW) if value.ndim == 4 else value.reshape(-1, 1, 1) if value.ndim == 1 else value
        return self.constant(f"{self.names[tensor]}_constant_{len(self.constants)}", value)


def _pads(graph: Graph, op: Op, kernel: tuple, stride: tuple, dilation: tuple, pad: tuple) -> list[int]:
    x, y = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    behind = [
        max(0, (y[1 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - pad[i] - x[1 + i]) for i in range(2)
    ]
    return [*pad, *behind]


def to_onnx(graph: Graph, *, opset: int = 18) -> bytes:
    """Return the file of a float graph."""
    writer = _Writer(graph)
    for op in graph.ops:
        writer.op(op)
    inputs, outputs = [], []
    for group, found in ((graph.inputs, inputs), (graph.outputs, outputs)):
        for t in group:
            shape = graph.tensors[t].shape
            seen = [shape[a] for a in _TO_NCHW] if writer.turned(t) else list(shape)
            found.append(helper.make_tensor_value_info(writer.names[t], TensorProto.FLOAT, seen))
    made = helper.make_graph(writer.nodes, graph.name, inputs, outputs, writer.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()

# SPDX-License-Identifier: Apache-2.0
"""What the conversion of one .onnx graph carries from node to node.

ONNX keeps channels before space, the IR after it. A :class:`Value` says how a tensor of the file is seen in a tensor of
the IR: turned by ``perm``, then read in ``shape``. Nodes that only turn or reshape change what is said, not the data;
data moves at most once, where a node needs an order that it does not have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulet.errors import MalformedModelError
from joulet.importers.border import MAX_ELEMENTS, MAX_RANK, MAX_SCALE, MIN_SCALE, NotCoveredError
from joulet.importers.onnx_read import Attribute, RawNode, RawOnnx, label
from joulet.ir import (
    Activation,
    Array,
    Attrs,
    DType,
    Op,
    OpKind,
    Quant,
    Reshape,
    Tensor,
    Transpose,
)

IMAGE = (0, 3, 1, 2)
"""How N, C, H, W are found in N, H, W, C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """An activation of the file: IR tensor ``tensor``, dimensions in the order ``perm``, then read as ``shape``."""

    tensor: int
    perm: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constant:
    """A constant of the file; ``scale`` and ``zero_point`` (along ``axis``) where it was integers and dequantised."""

    data: Array
    scale: Array | None = None
    zero_point: Array | None = None
    axis: int = 0

    def real(self) -> Array:
        """Return the values, dequantised to float32 with one rounding each."""
        if self.scale is None or self.zero_point is None:
            return self.data
        view = [1] * self.data.ndim
        if self.scale.size > 1:
            view[self.axis] = self.scale.size
        zero = self.zero_point.astype(np.float64).reshape(view)
        return np.asarray(self.scale.astype(np.float64).reshape(view) * (self.data.astype(np.float64) - zero), "f4")


class Context:
    """Tensors, constants and ops collected so far."""

    def __init__(self, raw: RawOnnx, source: str) -> None:
        self.raw = raw
        self.source = source
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.notes: list[str] = []
        self.values: dict[str, Value] = {}
        self.constants: dict[str, Constant] = {n: Constant(data=a) for n, a in raw.constants.items()}
        self.done: set[int] = set()
        """Nodes that an earlier one has taken into its own op."""
        self.users: dict[str, list[RawNode]] = {}
        for node in raw.nodes:
            for name in node.inputs:
                self.users.setdefault(name, []).append(node)
        self._makers = {name: node for node in raw.nodes for name in node.outputs}
        self.outputs = {b.name for b in raw.outputs}
        self._moved: dict[tuple[int, tuple[int, ...], tuple[int, ...]], int] = {}

    def fail(self, text: str) -> MalformedModelError:
        """Return the error for a model that contradicts itself."""
        return MalformedModelError(f"{self.source}: {text}; export the model again from its source")

    # What nodes say

    def attribute(self, node: RawNode, name: str, default: Attribute) -> Attribute:
        """Return an attribute, of the type that its default has."""
        value = node.attributes.get(name, default)
        if name in node.unread or isinstance(value, bool) or type(value) is not type(default):
            raise self.fail(f"'{node.label}' ({node.op}) has an attribute {name} of the wrong type")
        return value

    def number(self, node: RawNode, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attribute(node, name, default)
        assert isinstance(value, int)
        return value

    def real(self, node: RawNode, name: str, default: float) -> float:
        """Return a float attribute; it must be finite."""
        value = self.attribute(node, name, default)
        assert isinstance(value, float)
        if not math.isfinite(value):
            raise self.fail(f"'{node.label}' ({node.op}) has {name} {value}")
        return value

    def text(self, node: RawNode, name: str, default: str) -> str:
        """Return a string attribute."""
        value = self.attribute(node, name, default)
        assert isinstance(value, str)
        return value

    def numbers(self, node: RawNode, name: str) -> tuple[int, ...] | None:
        """Return an attribute of integers, None where it is not given."""
        if name not in node.attributes and name not in node.unread:
            return None
        value = node.attributes.get(name)
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value) or len(value) > 64:
            raise self.fail(f"'{node.label}' ({node.op}) has an attribute {name} of the wrong type")
        return tuple(int(v) for v in value)

    # Inputs

    def has(self, node: RawNode, position: int) -> bool:
        """Whether an optional input is there."""
        return position < len(node.inputs) and node.inputs[position] != ""

    def value(self, node: RawNode, position: int = 0) -> Value:
        """Return an input that is computed."""
        name = self._input_name(node, position)
        if name in self.values:
            return self.values[name]
        if name in self.constants:
            raise NotCoveredError(f"input {position} is a constant")
        raise self.fail(f"'{node.label}' ({node.op}) reads '{label(name)}' before anything has written it")

    def constant(self, node: RawNode, position: int, what: str) -> Constant:
        """Return an input that must be constant."""
        name = self._input_name(node, position)
        if name in self.constants:
            return self.constants[name]
        raise NotCoveredError(f"{what} is not a constant")

    def integers(self, node: RawNode, position: int, what: str) -> tuple[int, ...]:
        """Return a constant integer input, flattened."""
        data = self.constant(node, position, what).data
        if data.dtype not in (np.dtype(np.int32), np.dtype(np.int64)) or data.size > 64:
            raise self.fail(f"'{node.label}' ({node.op}) has {what} of type {data.dtype} and {data.size} elements")
        return tuple(int(v) for v in data.reshape(-1))

    def _input_name(self, node: RawNode, position: int) -> str:
        if not self.has(node, position):
            raise self.fail(f"'{node.label}' ({node.op}) lacks input {position}")
        return node.inputs[position]

    # Results

    def bind(self, name: str, value: Value) -> None:
        """Say which value a name of the file is."""
        if name == "" or name in self.values or name in self.constants:
            raise self.fail(f"tensor '{label(name)}' is written more than once")
        declared = self.raw.shapes.get(name)
        if declared is not None and (
            len(declared) != len(value.shape)
            or any(d not in (-1, s) for d, s in zip(declared, value.shape, strict=True))
        ):
            raise self.fail(f"'{label(name)}' is declared {list(declared)} but computes to {list(value.shape)}")
        self.values[name] = value

    def fold(self, name: str, constant: Constant) -> None:
        """Say that a name of the file is a constant."""
        if name == "" or name in self.values or name in self.constants:
            raise self.fail(f"tensor '{label(name)}' is written more than once")
        self.constants[name] = constant

    def add(self, tensor: Tensor) -> int:
        """Append an IR tensor; return its index."""
        shape = tensor.shape
        if 0 in shape or math.prod(shape) > MAX_ELEMENTS or len(shape) > MAX_RANK:
            raise self.fail(f"tensor '{tensor.name}' has shape {list(shape)}")
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def activation(self, name: str, shape: Sequence[int], quant: Quant | None) -> int:
        """Append an activation: int8 with a quantisation, float32 without."""
        dtype = DType.F32 if quant is None else DType.S8
        return self.add(Tensor(name=label(name), shape=tuple(shape), dtype=dtype, quant=quant))

    def emit(self, kind: OpKind, name: str, inputs: Sequence[int], output: int, attrs: Attrs) -> None:
        """Append an IR op."""
        self.ops.append(Op(kind=kind, name=label(name), inputs=tuple(inputs), outputs=(output,), attrs=attrs))

    def quant(self, tensor: int) -> Quant | None:
        """Return the quantisation of an IR tensor, None for a float one."""
        return self.tensors[tensor].quant

    def same_type(self, *tensors: int) -> bool:
        """Return whether all are int8; mixed types are not covered."""
        types = {self.tensors[t].dtype for t in tensors}
        if len(types) != 1 or not types <= {DType.S8, DType.F32}:
            raise NotCoveredError("mixes int8 and float inputs (quantise them all)")
        return types == {DType.S8}

    # Layouts

    def order(self, value: Value) -> tuple[int, ...] | None:
        """Return the file's dimensions in the order in which the IR stores them, those of extent 1 left out.

        None where a reshape has joined or split dimensions.
        """
        stored = self.tensors[value.tensor].shape
        seen = [axis for axis in value.perm if stored[axis] != 1]
        wide = [axis for axis, extent in enumerate(value.shape) if extent != 1]
        if [stored[axis] for axis in seen] != [value.shape[axis] for axis in wide]:
            return None
        return tuple(name for _, name in sorted(zip(seen, wide, strict=True)))

    def plain(self, value: Value) -> int:
        """Return an IR tensor with the file's own order and shape."""
        order = self.order(value)
        stored = self.tensors[value.tensor].shape
        tensor = value.tensor
        if (order is None and value.perm != tuple(range(len(stored)))) or (order and list(order) != sorted(order)):
            turned = tuple(stored[axis] for axis in value.perm)
            tensor = self._move(OpKind.TRANSPOSE, tensor, turned, Transpose(perm=value.perm))
        return self.reread(tensor, value.shape)

    def image(self, value: Value) -> int:
        """Return an IR tensor ``(n, h, w, c)`` of a value ``(n, c, h, w)``, or ``(n, 1, l, c)`` of ``(n, c, l)``."""
        if len(value.shape) not in (3, 4):
            raise NotCoveredError(f"input of {len(value.shape)} dimensions")
        n, c, *space = value.shape
        height, width = space if len(space) == 2 else (1, space[0])
        wanted = [axis for axis in (0, *range(2, len(value.shape)), 1) if value.shape[axis] != 1]
        order = self.order(value)
        if order is not None and list(order) == wanted:
            return self.reread(value.tensor, (n, height, width, c))
        tensor = self.reread(self.plain(value), (n, c, height, width))
        return self._move(OpKind.TRANSPOSE, tensor, (n, height, width, c), Transpose(perm=(0, 2, 3, 1)))

    def of_image(self, tensor: int, rank: int) -> Value:
        """Return the value of an IR tensor ``(n, h, w, c)`` as a file of ``rank`` 3 or 4 sees it."""
        n, h, w, c = self.tensors[tensor].shape
        return Value(tensor=tensor, perm=IMAGE, shape=(n, c, w) if rank == 3 else (n, c, h, w))

    def of_plain(self, tensor: int) -> Value:
        """Return the value of an IR tensor in the file's own order."""
        shape = self.tensors[tensor].shape
        return Value(tensor=tensor, perm=tuple(range(len(shape))), shape=shape)

    def axes(self, value: Value) -> tuple[int, ...] | None:
        """Return the IR axis of each of the file's, None where a reshape has changed them."""
        turned = tuple(self.tensors[value.tensor].shape[axis] for axis in value.perm)
        if turned == value.shape:
            return value.perm
        if len(value.shape) == 3 and value.perm == IMAGE and turned == (*value.shape[:2], 1, value.shape[2]):
            return (value.perm[0], value.perm[1], value.perm[3])
        return None

    def direct(self, value: Value) -> tuple[Value, tuple[int, ...]]:
        """Return a value whose axes are IR axes, and which: moved where a reshape has changed them."""
        axes = self.axes(value)
        if axes is not None:
            return value, axes
        moved = self.of_plain(self.plain(value))
        return moved, moved.perm

    def agree(self, values: Sequence[Value]) -> list[Value]:
        """Return the values stored in one order: as images where one of them is, else the file's own."""
        if len({v.perm for v in values}) == 1 and all(self.axes(v) is not None for v in values):
            return list(values)
        ranks = {len(v.shape) for v in values}
        if len(ranks) == 1 and ranks <= {3, 4} and any(v.perm == IMAGE for v in values):
            return [self.of_image(self.image(v), len(v.shape)) for v in values]
        return [self.of_plain(self.plain(v)) for v in values]

    def reread(self, tensor: int, shape: tuple[int, ...]) -> int:
        """Return the same elements in another shape."""
        if self.tensors[tensor].shape == shape:
            return tensor
        return self._move(OpKind.RESHAPE, tensor, shape, Reshape())

    def _move(self, kind: OpKind, tensor: int, shape: tuple[int, ...], attrs: Reshape | Transpose) -> int:
        key = (tensor, attrs.perm if isinstance(attrs, Transpose) else (), shape)
        if key not in self._moved:
            name = f"{self.tensors[tensor].name}:{'turned' if isinstance(attrs, Transpose) else 'reshaped'}"
            moved = self.activation(name, shape, self.quant(tensor))
            self.emit(kind, name, (tensor,), moved, attrs)
            self._moved[key] = moved
        return self._moved[key]

    # What follows

    def maker(self, name: str) -> RawNode | None:
        """Return the node that computes a tensor, None for inputs and constants."""
        return self._makers.get(name)

    def only_user(self, name: str) -> RawNode | None:
        """Return the one node that reads a tensor, None where there are more, or the graph answers with it."""
        users = self.users.get(name, [])
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def follow(self, name: str, *, clamps: bool) -> Follow:
        """Return what an op that writes ``name`` does besides: an activation, and the quantisation of its result."""
        activation = Activation.NONE
        after = self.only_user(name)
        if clamps and after is not None and after.inputs[0] == name:
            found = self.clamp(after)
            if found is not None:
                activation = found
                self.done.add(after.index)
                name = after.outputs[0]
        return Follow(name=name, activation=activation, quant=self.requested(name))

    def clamp(self, node: RawNode) -> Activation | None:
        """Return the fused activation that a node is, None where it is something else."""
        if node.op == "Relu":
            return Activation.RELU
        if node.op != "Clip" or len(node.outputs) != 1:
            return None
        ranges = {(0.0, 6.0): Activation.RELU6, (-1.0, 1.0): Activation.RELU_N1_TO_1, (0.0, math.inf): Activation.RELU}
        return ranges.get(self.clip_range(node))

    def clip_range(self, node: RawNode) -> tuple[float, float]:
        """Return the bounds of a Clip; infinite where there is none."""
        bounds = []
        for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
            value: float = default
            if self.has(node, position):
                data = self.constant(node, position, f"the {name}imum").real()
                if data.size != 1:
                    raise self.fail(f"'{node.label}' (Clip) has {data.size} values for {name}")
                value = float(data.reshape(-1)[0])
            elif name in node.attributes:
                value = self.attribute(node, name, 0.0)  # type: ignore[assignment]
            bounds.append(default if abs(value) > 1e37 else value)
        return bounds[0], bounds[1]

    def requested(self, name: str) -> Quant | None:
        """Return the quantisation that every reader of a tensor gives it, None where they do not or differ."""
        users = self.users.get(name, [])
        if not users or name in self.outputs or any(u.op != "QuantizeLinear" or u.inputs[0] != name for u in users):
            return None
        quants = {self.node_quant(user) for user in users}
        return quants.pop() if len(quants) == 1 else None

    def node_quant(self, node: RawNode) -> Quant:
        """Return the per-tensor quantisation that QuantizeLinear or DequantizeLinear names, on the int8 grid."""
        scale = self.constant(node, 1, "the scale").data
        zero: Array = np.zeros((), np.uint8)
        if self.has(node, 2):
            zero = self.constant(node, 2, "the zero point").data
        elif (node.op == "QuantizeLinear" and self.number(node, "output_dtype", 0) == 3) or (
            node.op == "DequantizeLinear" and self.tensor_type(node.inputs[0]) == "int8"
        ):
            zero = np.zeros((), np.int8)
        if scale.size != 1 or zero.size != 1:
            raise NotCoveredError("activations with several scales (quantise them per tensor)")
        if zero.dtype not in (np.dtype(np.int8), np.dtype(np.uint8)):
            raise NotCoveredError(f"{zero.dtype} quantisation (quantise to int8 or uint8)")
        real = float(scale.reshape(-1)[0])
        if scale.dtype.kind != "f" or not MIN_SCALE <= real <= MAX_SCALE:
            raise self.fail(f"'{node.label}' ({node.op}) has scale {real:g}")
        lowest = 0 if zero.dtype == np.uint8 else -128
        return Quant(scale=(float(np.float32(real)),), zero_point=int(zero.reshape(-1)[0]) - lowest - 128)

    def tensor_type(self, name: str) -> str:
        """Return the type that the file gives a tensor where that is known, else an empty string."""
        for border in self.raw.inputs:
            if border.name == name:
                return border.type
        node = self.maker(name)
        if node is None or node.op != "QuantizeLinear":
            return ""
        if self.has(node, 2):
            return str(self.constant(node, 2, "the zero point").data.dtype)
        return "int8" if self.number(node, "output_dtype", 0) == 3 else "uint8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What comes with an op's result: the ``name`` it then has, a fused activation, a quantisation where it has one."""

    name: str
    activation: Activation
    quant: Quant | None

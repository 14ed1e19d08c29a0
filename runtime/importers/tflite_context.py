# SPDX-License-Identifier: Apache-2.0
"""What the conversion of one .tflite graph carries from operator to operator.

A tensor of the file becomes a tensor of the IR the first time an operator needs it. uint8 becomes int8 here, and
only here: every value and every zero point moves down by 128, which changes no real number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.errors import MalformedModelError
from joulet.importers.border import MAX_ELEMENTS, MAX_RANK, MAX_SCALE, MIN_SCALE, NotCoveredError
from joulet.importers.tflite_read import RawModel, RawOp, RawTensor, constant
from joulet.ir import Array, Attrs, DType, Op, OpKind, Quant, Tensor

_ACTIVATION_TYPES = {"FLOAT32": DType.F32, "INT8": DType.S8, "UINT8": DType.S8}
_LOWEST = {"INT8": -128, "UINT8": 0}


def to_s8(values: Array) -> npt.NDArray[np.int8]:
    """Return int8 as it is and uint8 moved down by 128."""
    if values.dtype == np.uint8:
        return (values.astype(np.int16) - 128).astype(np.int8)
    return values.astype(np.int8)


class Context:
    """Tensors, constants and ops collected so far."""

    def __init__(self, raw: RawModel, source: str) -> None:
        self.raw = raw
        self.source = source
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.notes: list[str] = []
        self.consts: dict[int, Array] = {}
        self._index: dict[int, int] = {}
        self._const_index: dict[tuple[int, str], int] = {}

    def fail(self, text: str) -> MalformedModelError:
        """Return the error for a model that contradicts itself."""
        return MalformedModelError(f"{self.source}: {text}; convert the model again from its source")

    def name(self, op: RawOp) -> str:
        """Name of an operator: that of its first output."""
        return self.raw.tensors[op.outputs[0]].name if op.outputs else f"operator {op.index}"

    # Constants

    def const(self, index: int) -> Array | None:
        """Return a constant in the file's own type (folded ones included), None for an activation."""
        if index < 0:
            return None
        if index not in self.consts:
            raw = self.raw.tensors[index]
            if raw.data is None:
                return None
            if raw.sparse:
                raise NotCoveredError(f"sparse tensor '{raw.name}'")
            if raw.type in ("INT4", "STRING", "RESOURCE", "VARIANT", "COMPLEX64"):
                raise NotCoveredError(f"{raw.type} constant '{raw.name}'")
            self.consts[index] = constant(raw, self.fail)
        return self.consts[index]

    def integers(self, op: RawOp, position: int, what: str) -> tuple[int, ...]:
        """Return the constant integer input at ``position``, flattened."""
        values = self.const(op.inputs[position]) if position < len(op.inputs) else None
        if values is None:
            raise NotCoveredError(f"{what} is not a constant")
        if values.dtype not in (np.dtype(np.int32), np.dtype(np.int64)) or values.size > 64:
            raise self.fail(f"'{self.name(op)}' has {what} of type {values.dtype} and {values.size} elements")
        return tuple(int(v) for v in values.reshape(-1))

    # Quantisation

    def activation_quant(self, raw: RawTensor) -> Quant:
        """Per-tensor quantisation of an int8 or uint8 tensor, shifted to int8."""
        if len(raw.scale) != 1 or len(raw.zero_point) != 1:
            raise self.fail(
                f"{raw.type} tensor '{raw.name}' has {len(raw.scale)} scales and {len(raw.zero_point)} zero points "
                "where one of each is needed"
            )
        lowest = _LOWEST[raw.type]
        zero = raw.zero_point[0]
        if not MIN_SCALE <= raw.scale[0] <= MAX_SCALE or not lowest <= zero <= lowest + 255:
            raise self.fail(f"{raw.type} tensor '{raw.name}' has scale {raw.scale[0]:g} and zero point {zero}")
        return Quant(scale=raw.scale, zero_point=zero - lowest - 128)

    # Tensors

    def add(self, tensor: Tensor) -> int:
        """Append an IR tensor; return its index."""
        if math.prod(tensor.shape) > MAX_ELEMENTS or len(tensor.shape) > MAX_RANK:
            raise self.fail(f"tensor '{tensor.name}' has shape {list(tensor.shape)}")
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def graph_input(self, index: int) -> int:
        """Create the IR tensor of a graph input."""
        raw = self.raw.tensors[index]
        if raw.data is not None or index in self._index:
            raise self.fail(f"graph input '{raw.name}' is a constant or listed twice")
        if any(raw.dynamic[1:]):
            raise NotCoveredError(f"input of unknown size {self.signature(raw)} (convert with fixed sizes)")
        if raw.variable:
            raise NotCoveredError("variable tensor")
        if 0 in raw.shape:
            raise self.fail(f"graph input '{raw.name}' is empty: shape {list(raw.shape)}")
        return self._create(index, raw.shape)

    @staticmethod
    def signature(raw: RawTensor) -> str:
        """Shape with ``?`` for what the file leaves open."""
        return "[" + ", ".join("?" if d else str(s) for s, d in zip(raw.shape, raw.dynamic, strict=True)) + "]"

    def _create(self, index: int, shape: Sequence[int]) -> int:
        raw = self.raw.tensors[index]
        if raw.type not in _ACTIVATION_TYPES:
            raise NotCoveredError(f"{raw.type} tensor '{raw.name}'")
        dtype = _ACTIVATION_TYPES[raw.type]
        quant = self.activation_quant(raw) if dtype is DType.S8 else None
        at_border = raw.type == "UINT8" and (index in self.raw.inputs or index in self.raw.outputs)
        border = "uint8" if at_border else None
        self._index[index] = self.add(
            Tensor(name=raw.name, shape=tuple(shape), dtype=dtype, quant=quant, border=border)
        )
        return self._index[index]

    def output(self, op: RawOp, shape: Sequence[int], position: int = 0, *, dtype: DType | None = None) -> int:
        """Create the IR tensor of an operator's output, of the shape that its inputs imply."""
        if position >= len(op.outputs):
            raise self.fail(f"operator {op.index} ({op.code}) has {len(op.outputs)} outputs")
        index = op.outputs[position]
        raw = self.raw.tensors[index]
        if index in self._index or index in self.consts or raw.data is not None:
            raise self.fail(f"tensor '{raw.name}' is written more than once")
        if 0 in shape:
            raise self.fail(f"output '{raw.name}' is empty: shape {list(shape)}")
        if raw.shape and not any(raw.dynamic) and raw.shape != tuple(shape):
            raise self.fail(f"output '{raw.name}' is declared {list(raw.shape)} but computes to {list(shape)}")
        if dtype is DType.S32:
            self._index[index] = self.add(Tensor(name=raw.name, shape=tuple(shape), dtype=dtype))
            return self._index[index]
        return self._create(index, shape)

    def known(self, index: int) -> int | None:
        """Return the IR index of a file tensor that exists already."""
        return self._index.get(index)

    def input(self, op: RawOp, position: int = 0) -> int:
        """Return the IR index of an operator's input: an activation, or a constant with an activation's type."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise self.fail(f"operator {op.index} ({op.code}) lacks input {position}")
        index = op.inputs[position]
        if index in self._index:
            return self._index[index]
        raw = self.raw.tensors[index]
        if raw.type not in _ACTIVATION_TYPES:
            raise NotCoveredError(f"{raw.type} tensor '{raw.name}'")
        values = self.const(index)
        if values is None:
            raise self.fail(f"operator {op.index} ({op.code}) reads '{raw.name}' before anything has written it")
        key = (index, "activation")
        if key not in self._const_index:
            quant = self.activation_quant(raw) if raw.type != "FLOAT32" else None
            data = values.astype(np.float32) if quant is None else to_s8(values)
            dtype = DType.F32 if quant is None else DType.S8
            self._const_index[key] = self.add(
                Tensor(name=raw.name, shape=data.shape, dtype=dtype, quant=quant, data=data)
            )
        return self._const_index[key]

    def shared(self, index: int, role: str, tensor: Tensor) -> int:
        """Add the IR constant made of file tensor ``index`` for ``role``, or return the one already there."""
        key = (index, role)
        if key not in self._const_index:
            self._const_index[key] = self.add(tensor)
        return self._const_index[key]

    def emit(self, kind: OpKind, name: str, inputs: Sequence[int], outputs: Sequence[int], attrs: Attrs) -> None:
        """Append an IR op."""
        self.ops.append(Op(kind=kind, name=name, inputs=tuple(inputs), outputs=tuple(outputs), attrs=attrs))

    def same_type(self, op: RawOp, *indices: int) -> DType:
        """Return the type all of the IR tensors share; mixed types are not covered."""
        types = {self.tensors[i].dtype for i in indices}
        files = {self.raw.tensors[i].type for i in (*op.inputs[:1], *op.outputs[:1]) if i >= 0}
        if len(types) != 1:
            raise NotCoveredError(f"mixed types {' and '.join(sorted(t.value for t in types))}")
        if {"INT8", "UINT8"} <= files and op.code != "QUANTIZE":
            raise NotCoveredError("uint8 and int8 in one operator")
        return types.pop()

    def quant(self, index: int) -> Quant:
        """Return the quantisation of an integer IR tensor."""
        quant = self.tensors[index].quant
        if quant is None:
            raise self.fail(f"tensor '{self.tensors[index].name}' is not quantised")
        return quant

    def is_uint8(self, op: RawOp) -> bool:
        """Whether the operator's first output is uint8 in the file."""
        return self.raw.tensors[op.outputs[0]].type == "UINT8"

# SPDX-License-Identifier: Apache-2.0
"""A few hundred lines of .tflite writer: enough to make the small models that the repository carries, and broken ones.

The bytes depend on nothing but the calls, so a model that is built twice is the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
import tflite


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    type: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    buffer: int
    signature: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Op:
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str
    fields: dict[str, object]


class ModelBuilder:
    """Collects tensors and operators, then writes one file."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.tensors: list[_Tensor] = []
        self.ops: list[_Op] = []
        self.codes: list[tuple[str, str]] = []
        self.buffers: list[bytes] = [b""]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        type: str = "INT8",
        *,
        scale: float | Sequence[float] = (),
        zero: int | Sequence[int] = (),
        axis: int = 0,
        data: np.ndarray | None = None,
        signature: Sequence[int] = (),
    ) -> int:
        """Add a tensor; return its index. ``scale`` and ``zero`` may be one value or one a channel along ``axis``."""
        scales = (float(scale),) if isinstance(scale, (int, float)) else tuple(float(s) for s in scale)
        zeros = (int(zero),) if isinstance(zero, int) else tuple(int(z) for z in zero)
        if scales and not zeros:
            zeros = (0,) * len(scales)
        buffer = 0
        if data is not None:
            self.buffers.append(np.ascontiguousarray(data).tobytes())
            buffer = len(self.buffers) - 1
        self.tensors.append(
            _Tensor(
                name=name,
                shape=tuple(int(s) for s in shape),
                type=type,
                scale=scales,
                zero_point=zeros,
                axis=axis,
                buffer=buffer,
                signature=tuple(signature),
            )
        )
        return len(self.tensors) - 1

    def ints(self, name: str, values: Sequence[int] | int) -> int:
        """Add an int32 constant."""
        data = np.asarray(values, np.int32)
        return self.tensor(name, data.shape, "INT32", data=data)

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        table: str = "",
        custom: str = "",
        **fields: object,
    ) -> None:
        """Add an operator; ``table`` names its options in the schema, ``fields`` are their members (CamelCase)."""
        key = (code, custom)
        if key not in self.codes:
            self.codes.append(key)
        self.ops.append(
            _Op(
                code=self.codes.index(key),
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                table=table,
                fields=dict(fields),
            )
        )

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        b = flatbuffers.Builder(1 << 12)
        buffers = _vector(b, [self._write_buffer(b, data) for data in self.buffers])
        tensors = _vector(b, [self._write_tensor(b, tensor) for tensor in self.tensors])
        ops = _vector(b, [self._write_op(b, op) for op in self.ops])
        subgraph = self._write_subgraph(b, tensors, ops, inputs, outputs)
        codes = _vector(b, [self._write_code(b, code, custom) for code, custom in self.codes])
        subgraphs = _vector(b, [subgraph])
        description = b.CreateString(self.description)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        tflite.ModelAddOperatorCodes(b, codes)
        tflite.ModelAddSubgraphs(b, subgraphs)
        tflite.ModelAddDescription(b, description)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    @staticmethod
    def _write_subgraph(
        b: flatbuffers.Builder, tensors: int, ops: int, inputs: Sequence[int], outputs: Sequence[int]
    ) -> int:
        ins, outs = (
            b.CreateNumpyVector(np.asarray(inputs, np.int32)),
            b.CreateNumpyVector(np.asarray(outputs, np.int32)),
        )
        name = b.CreateString("main")
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, ins)
        tflite.SubGraphAddOutputs(b, outs)
        tflite.SubGraphAddOperators(b, ops)
        tflite.SubGraphAddName(b, name)
        return int(tflite.SubGraphEnd(b))

    @staticmethod
    def _write_buffer(b: flatbuffers.Builder, data: bytes) -> int:
        vector = 0
        if data:
            # Interpreters read weights in place: the schema asks for 16-byte alignment.
            b.StartVector(1, len(data), 16)
            b.head -= len(data)
            b.Bytes[b.head : b.head + len(data)] = data
            vector = b.EndVector()
        tflite.BufferStart(b)
        if data:
            tflite.BufferAddData(b, vector)
        return int(tflite.BufferEnd(b))

    @staticmethod
    def _write_tensor(b: flatbuffers.Builder, tensor: _Tensor) -> int:
        name = b.CreateString(tensor.name)
        shape = b.CreateNumpyVector(np.asarray(tensor.shape, np.int32))
        signature = b.CreateNumpyVector(np.asarray(tensor.signature, np.int32)) if tensor.signature else 0
        quant = 0
        if tensor.scale or tensor.zero_point:
            scale = b.CreateNumpyVector(np.asarray(tensor.scale, np.float32))
            zero = b.CreateNumpyVector(np.asarray(tensor.zero_point, np.int64))
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scale)
            tflite.QuantizationParametersAddZeroPoint(b, zero)
            tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
            quant = tflite.QuantizationParametersEnd(b)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, getattr(tflite.TensorType, tensor.type))
        tflite.TensorAddBuffer(b, tensor.buffer)
        tflite.TensorAddName(b, name)
        if quant:
            tflite.TensorAddQuantization(b, quant)
        if signature:
            tflite.TensorAddShapeSignature(b, signature)
        return int(tflite.TensorEnd(b))

    @staticmethod
    def _write_op(b: flatbuffers.Builder, op: _Op) -> int:
        ins, outs = (b.CreateNumpyVector(np.asarray(v, np.int32)) for v in (op.inputs, op.outputs))
        options = 0
        if op.table:
            vectors = {
                key: b.CreateNumpyVector(np.asarray(value, np.int32))
                for key, value in op.fields.items()
                if isinstance(value, (tuple, list))
            }
            getattr(tflite, f"{op.table}Start")(b)
            for key, value in op.fields.items():
                getattr(tflite, f"{op.table}Add{key}")(b, vectors.get(key, value))
            options = getattr(tflite, f"{op.table}End")(b)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, op.code)
        tflite.OperatorAddInputs(b, ins)
        tflite.OperatorAddOutputs(b, outs)
        if op.table:
            tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, op.table))
            tflite.OperatorAddBuiltinOptions(b, options)
        return int(tflite.OperatorEnd(b))

    @staticmethod
    def _write_code(b: flatbuffers.Builder, code: str, custom: str) -> int:
        number = getattr(tflite.BuiltinOperator, code)
        name = b.CreateString(custom) if custom else 0
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(b, number)
        tflite.OperatorCodeAddVersion(b, 1)
        if custom:
            tflite.OperatorCodeAddCustomCode(b, name)
        return int(tflite.OperatorCodeEnd(b))


def _vector(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())

# SPDX-License-Identifier: Apache-2.0
"""Bytes of a .tflite file to plain records; the only place that touches FlatBuffers.

The file is hostile until proven otherwise. FlatBuffers' Python accessors check nothing but the end of the buffer,
so every length is bounded here before it is looped over, every index is checked against the vector it points
into, and whatever the accessors raise on nonsense leaves this module as :class:`MalformedModelError`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import MalformedModelError, MissingDependencyError, UnsupportedModelError
from joulet.importers.border import MAX_ELEMENTS, MAX_NAME_CHARS, MAX_RANK

try:
    import tflite as schema
except ImportError:  # pragma: no cover - the package installs it; a stripped environment may not
    schema = None

MAX_TENSORS = 1 << 16
MAX_OPS = 1 << 14
MAX_OP_INPUTS = 1 << 10

# What the accessors, struct and NumPy raise when offsets or lengths are nonsense.
_NONSENSE = (
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    AttributeError,
    AssertionError,
    BufferError,
    MemoryError,
)

Options = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawTensor:
    """One tensor as the file declares it. ``type`` is the schema's name; ``data`` is the constant's bytes."""

    index: int
    name: str
    shape: tuple[int, ...]
    dynamic: tuple[bool, ...]
    type: str
    data: bytes | None
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    variable: bool
    sparse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOp:
    """One operator: schema name, custom code, tensor indices (-1: absent input) and its options by field name."""

    index: int
    code: str
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawModel:
    """The main subgraph of a file."""

    description: str
    tensors: tuple[RawTensor, ...]
    ops: tuple[RawOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int


_POOL = ("Padding", "StrideW", "StrideH", "FilterWidth", "FilterHeight", "FusedActivationFunction")
_CONV = ("Padding", "StrideW", "StrideH", "DilationWFactor", "DilationHFactor", "FusedActivationFunction")
_FUSED = ("FusedActivationFunction",)
_RESIZE = ("AlignCorners", "HalfPixelCenters")
_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")

# Operator -> (options table of the schema, scalar fields, vector fields).
_OPTION_TABLES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", _CONV, ()),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONV, ()),
    "FULLY_CONNECTED": ("FullyConnectedOptions", (*_FUSED, "WeightsFormat", "KeepNumDims"), ()),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL, ()),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL, ()),
    "MEAN": ("ReducerOptions", ("KeepDims",), ()),
    "ADD": ("AddOptions", _FUSED, ()),
    "SUB": ("SubOptions", _FUSED, ()),
    "MUL": ("MulOptions", _FUSED, ()),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", *_FUSED), ()),
    "RESHAPE": ("ReshapeOptions", (), ("NewShape",)),
    "SQUEEZE": ("SqueezeOptions", (), ("SqueezeDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",), ()),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",), ()),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE, ()),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE, ()),
    "STRIDED_SLICE": ("StridedSliceOptions", _MASKS, ()),
    "SPLIT": ("SplitOptions", ("NumSplits",), ()),
    "SPLIT_V": ("SplitVOptions", ("NumSplits",), ()),
    "PACK": ("PackOptions", ("ValuesCount", "Axis"), ()),
    "ARG_MAX": ("ArgMaxOptions", ("OutputType",), ()),
    "CAST": ("CastOptions", (), ()),
}


def read_model(data: bytes, source: str) -> RawModel:
    """Decode and bound-check the main subgraph of a .tflite file.

    Parameters
    ----------
    data
        The whole file.
    source
        What to call it in messages.

    Raises
    ------
    MalformedModelError
        If the bytes are not a whole, consistent .tflite file.
    UnsupportedModelError
        If weights lie outside the FlatBuffer or a tensor is sparse.
    """
    if schema is None:  # pragma: no cover
        raise MissingDependencyError("reading .tflite files needs the package 'tflite': pip install tflite")
    if len(data) < 16:
        raise MalformedModelError(f"{source}: {len(data)} bytes are too few for a .tflite file; the download is cut")
    if data[4:8] != b"TFL3":
        raise MalformedModelError(f"{source}: not a .tflite file (no 'TFL3' at byte 4); give a TensorFlow Lite model")
    try:
        return _Reader(data, source).model()
    except _NONSENSE as error:
        raise MalformedModelError(
            f"{source}: the FlatBuffer is damaged ({type(error).__name__}: {error}); fetch the file again"
        ) from error


def _enum_names(enum: type) -> dict[int, str]:
    """Value -> name of a schema enumeration."""
    return {value: name for name, value in vars(enum).items() if isinstance(value, int) and not name.startswith("_")}


class _Reader:
    """One pass over one file."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        self.const_bytes = 0
        self.op_names = _enum_names(schema.BuiltinOperator)
        self.type_names = _enum_names(schema.TensorType)
        self.option_names = _enum_names(schema.BuiltinOptions)

    def fail(self, text: str) -> MalformedModelError:
        """Return the error for ``text``, prefixed by the file."""
        return MalformedModelError(f"{self.source}: {text}; the file is damaged or from a broken converter")

    def length(self, count: int, most: int, what: str) -> int:
        """Return ``count`` if a vector of that many offsets fits the file and our own bound."""
        if count > most or 4 * count > len(self.data):
            raise self.fail(f"{count} {what} do not fit the file")
        return count

    def ints(self, vector: Any, most: int, what: str) -> tuple[int, ...]:
        """Return an ``…AsNumpy()`` result (0 where absent) as integers."""
        if isinstance(vector, int):
            return ()
        self.length(len(vector), most, what)
        return tuple(int(v) for v in vector)

    def text(self, raw: bytes | None, fallback: str) -> str:
        """Decode a name; undecodable bytes are replaced, control characters dropped, the length bounded."""
        name = (raw or b"")[: 4 * MAX_NAME_CHARS].decode("utf-8", errors="replace")[:MAX_NAME_CHARS]
        name = "".join(c if c.isprintable() else "?" for c in name)
        return name or fallback

    def model(self) -> RawModel:
        """Read the main subgraph."""
        root = schema.Model.GetRootAs(self.data, 0)
        if root.Version() != 3:
            raise self.fail(f"schema version {root.Version()}, only 3 is known")
        subgraphs = self.length(root.SubgraphsLength(), 1 << 10, "subgraphs")
        if subgraphs == 0:
            raise self.fail("no subgraph")
        graph = root.Subgraphs(0)
        n_tensors = self.length(graph.TensorsLength(), MAX_TENSORS, "tensors")
        n_ops = self.length(graph.OperatorsLength(), MAX_OPS, "operators")
        tensors = tuple(self.tensor(root, graph.Tensors(i), i) for i in range(n_tensors))
        codes = self.codes(root)
        ops = tuple(self.op(graph.Operators(i), i, codes, n_tensors) for i in range(n_ops))
        inputs = self.ints(graph.InputsAsNumpy(), MAX_OP_INPUTS, "inputs")
        outputs = self.ints(graph.OutputsAsNumpy(), MAX_OP_INPUTS, "outputs")
        for what, indices in (("input", inputs), ("output", outputs)):
            for index in indices:
                if not 0 <= index < n_tensors:
                    raise self.fail(f"graph {what} {index} is not one of {n_tensors} tensors")
        if not outputs:
            raise self.fail("the graph has no output")
        return RawModel(
            description=self.text(root.Description(), ""),
            tensors=tensors,
            ops=ops,
            inputs=inputs,
            outputs=outputs,
            subgraphs=subgraphs,
        )

    def codes(self, root: Any) -> list[tuple[str, str]]:
        """Operator codes as (schema name, custom code)."""
        found = []
        for i in range(self.length(root.OperatorCodesLength(), 1 << 10, "operator codes")):
            code = root.OperatorCodes(i)
            # Files from before 2020 hold the code in the deprecated int8 field only.
            number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
            name = self.op_names.get(number, f"OPERATOR_{number}")
            found.append((name, self.text(code.CustomCode(), "?") if name == "CUSTOM" else ""))
        return found

    def op(self, raw: Any, index: int, codes: list[tuple[str, str]], n_tensors: int) -> RawOp:
        """Read operator ``index``; its tensor indices are checked here, once."""
        opcode = int(raw.OpcodeIndex())
        if not 0 <= opcode < len(codes):
            raise self.fail(f"operator {index} has code index {opcode} of {len(codes)}")
        code, custom = codes[opcode]
        inputs = self.ints(raw.InputsAsNumpy(), MAX_OP_INPUTS, "operator inputs")
        outputs = self.ints(raw.OutputsAsNumpy(), MAX_OP_INPUTS, "operator outputs")
        for tensor in inputs:
            if not -1 <= tensor < n_tensors:
                raise self.fail(f"operator {index} ({code}) reads tensor {tensor} of {n_tensors}")
        for tensor in outputs:
            if not 0 <= tensor < n_tensors:
                raise self.fail(f"operator {index} ({code}) writes tensor {tensor} of {n_tensors}")
        options = self.options(raw, code, index)
        return RawOp(index=index, code=code, custom=custom, inputs=inputs, outputs=outputs, options=options)

    def options(self, raw: Any, code: str, index: int) -> Options | None:
        """Read the option fields this importer uses; None where the file carries no table."""
        if code not in _OPTION_TABLES:
            return None
        table_name, scalars, vectors = _OPTION_TABLES[code]
        kind = int(raw.BuiltinOptionsType())
        union = raw.BuiltinOptions()
        if kind == 0 or union is None:
            return None
        if self.option_names.get(kind) != table_name:
            raise self.fail(f"operator {index} ({code}) carries options of type {kind}")
        table = getattr(schema, table_name)()
        table.Init(union.Bytes, union.Pos)
        options: Options = {}
        for field in scalars:
            value = getattr(table, field)()
            if isinstance(value, float) and not math.isfinite(value):
                raise self.fail(f"operator {index} ({code}) has {field} = {value}")
            options[field] = value
        for field in vectors:
            options[field] = self.ints(getattr(table, f"{field}AsNumpy")(), MAX_RANK, f"entries of {field}")
        return options

    def tensor(self, root: Any, raw: Any, index: int) -> RawTensor:
        """Read tensor ``index`` with its bytes and quantisation."""
        name = self.text(raw.Name(), f"tensor_{index}")
        type_name = self.type_names.get(int(raw.Type()))
        if type_name is None:
            raise self.fail(f"tensor '{name}' has type number {raw.Type()}")
        shape = self.ints(raw.ShapeAsNumpy(), 64, "dimensions")
        signature = self.ints(raw.ShapeSignatureAsNumpy(), 64, "dimensions")
        if len(shape) > MAX_RANK:
            raise UnsupportedModelError(
                f"{self.source}: tensor '{name}' has {len(shape)} dimensions, at most {MAX_RANK}"
            )
        dynamic = tuple(s < 0 or (len(signature) == len(shape) and signature[i] < 0) for i, s in enumerate(shape))
        shape = tuple(1 if s == -1 else s for s in shape)
        if any(s < 0 for s in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise self.fail(f"tensor '{name}' has shape {list(shape)}")
        data = self.buffer(root, raw, name)
        scale, zero_point, axis = self.quantization(raw, name)
        return RawTensor(
            index=index,
            name=name,
            shape=shape,
            dynamic=dynamic,
            type=type_name,
            data=data,
            scale=scale,
            zero_point=zero_point,
            axis=axis,
            variable=bool(raw.IsVariable()),
            sparse=raw.Sparsity() is not None,
        )

    def buffer(self, root: Any, raw: Any, name: str) -> bytes | None:
        """Return the tensor's constant bytes, or None."""
        number = int(raw.Buffer())
        if number == 0:
            return None
        if not 0 <= number < root.BuffersLength():
            raise self.fail(f"tensor '{name}' uses buffer {number} of {root.BuffersLength()}")
        buffer = root.Buffers(number)
        if int(buffer.Offset()) > 1:
            raise UnsupportedModelError(
                f"{self.source}: tensor '{name}' keeps its bytes outside the FlatBuffer; convert the model to < 2 GB"
            )
        array = buffer.DataAsNumpy()
        if isinstance(array, int) or len(array) == 0:
            return None
        self.const_bytes += len(array)
        # Many tensors may share one buffer; copies of it must not grow without end.
        if self.const_bytes > 8 * len(self.data) + (1 << 20):
            raise self.fail("tensors share buffers so often that the constants outgrow the file")
        return bytes(array)

    def quantization(self, raw: Any, name: str) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        """Return (scales, zero points, axis); empty where the tensor is not quantised."""
        quant = raw.Quantization()
        if quant is None:
            return (), (), 0
        scales = self.floats(quant.ScaleAsNumpy(), name)
        zeros = self.ints(quant.ZeroPointAsNumpy(), MAX_TENSORS, "zero points")
        if any(not math.isfinite(s) or s < 0 for s in scales):
            raise self.fail(f"tensor '{name}' has a quantisation scale that is negative or not finite")
        return scales, zeros, int(quant.QuantizedDimension())

    def floats(self, vector: Any, name: str) -> tuple[float, ...]:
        """Return scales as Python floats (exact images of the file's float32)."""
        if isinstance(vector, int):
            return ()
        self.length(len(vector), MAX_TENSORS, f"scales of '{name}'")
        return tuple(float(v) for v in vector)


_NUMPY_TYPES: dict[str, str] = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT8": "i1",
    "UINT8": "u1",
    "INT32": "<i4",
    "INT64": "<i8",
    "INT16": "<i2",
    "BOOL": "?",
}


def constant(raw: RawTensor, fail: Callable[[str], Exception]) -> npt.NDArray[np.generic]:
    """Return the constant's values in the tensor's shape, in the file's own type.

    Raises whatever ``fail`` returns if the byte count does not match shape and type.
    """
    if raw.data is None or raw.type not in _NUMPY_TYPES:
        raise fail(f"tensor '{raw.name}' ({raw.type}) has no constant values that could be read")
    dtype = np.dtype(_NUMPY_TYPES[raw.type])
    want = math.prod(raw.shape) * dtype.itemsize
    if len(raw.data) != want:
        raise fail(f"tensor '{raw.name}' has {len(raw.data)} bytes where shape {list(raw.shape)} needs {want}")
    return np.frombuffer(raw.data, dtype=dtype).reshape(raw.shape)

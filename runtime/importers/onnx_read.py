# SPDX-License-Identifier: Apache-2.0
"""Bytes of an .onnx file to plain records; the only place that touches protobuf.

The file is hostile until proven otherwise. Nothing outside it is ever opened: tensors that point to other files are
refused. Element counts are held against the bytes that are there before an array is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulet.errors import MalformedModelError, MissingDependencyError, UnsupportedModelError
from joulet.importers.border import MAX_ELEMENTS, MAX_NAME_CHARS, MAX_RANK
from joulet.ir import Array

MAX_BYTES = 512 << 20
MAX_NODES = 1 << 14
MAX_NODE_INPUTS = 1 << 10
MIN_OPSET, MAX_OPSET = 7, 30

Attribute = float | int | str | tuple[float, ...] | tuple[int, ...] | Array
Fail = Callable[[str], MalformedModelError]

# TensorProto.DataType: the dtype, and the field that holds it where raw_data does not.
_TYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("|b1", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
}
TYPE_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 16: "bfloat16", 21: "uint4", 22: "int4",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RawNode:
    """One node. ``label`` is what messages call it; ``unread`` names attributes that hold graphs or other types."""

    index: int
    op: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBorder:
    """A graph input or output: -1 stands for a size that the file leaves open; ``shape`` is None without any."""

    name: str
    type: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawOnnx:
    """What the importer needs of a file; ``shapes`` are the declared ones, -1 where a size is left open."""

    nodes: tuple[RawNode, ...]
    constants: dict[str, Array]
    inputs: tuple[RawBorder, ...]
    outputs: tuple[RawBorder, ...]
    shapes: dict[str, tuple[int, ...]]
    opset: int
    description: str


def _text(value: str | bytes) -> str:
    """Return a name; protobuf hands out bytes where they are no text."""
    return value if isinstance(value, str) else value.decode("utf-8", errors="backslashreplace")


def label(name: str) -> str:
    """Return a foreign name as it may stand in a message: printable, one line, short."""
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME_CHARS])


def read_onnx(data: bytes, source: str) -> RawOnnx:
    """Return the records of a file.

    Raises
    ------
    MissingDependencyError
        Without the package onnx.
    MalformedModelError, UnsupportedModelError
        For bytes that are no consistent model, or one that keeps its weights elsewhere.
    """
    try:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto
    except ImportError as error:
        raise MissingDependencyError(f"{source}: reading ONNX needs a package: pip install 'joulet[onnx]'") from error
    if len(data) > MAX_BYTES:
        raise UnsupportedModelError(f"{source}: has {len(data):,} bytes, at most {MAX_BYTES:,} are read")

    def fail(text: str) -> MalformedModelError:
        return MalformedModelError(f"{source}: {text}; export the model again from its source")

    try:
        proto = ModelProto.FromString(data)
        return _model(proto, source, fail)
    except DecodeError as error:
        raise fail("is no ONNX model (its protobuf cannot be decoded)") from error


def _model(proto: Any, source: str, fail: Fail) -> RawOnnx:
    graph = proto.graph
    if not graph.node or not graph.output:
        raise fail("is no ONNX model, or one that computes nothing")
    if len(graph.node) > MAX_NODES:
        raise fail(f"has {len(graph.node)} nodes, at most {MAX_NODES}")
    constants = {_text(t.name): _array(t, f"constant '{label(_text(t.name))}'", fail) for t in graph.initializer}
    if graph.sparse_initializer:
        raise UnsupportedModelError(f"{source}: has sparse constants; export it with dense weights")
    inputs = tuple(_border(v, fail) for v in graph.input if _text(v.name) not in constants)
    borders = [_border(v, fail) for v in graph.value_info]
    outputs = tuple(_border(v, fail) for v in graph.output)
    known = {b.name: b.shape for b in (*borders, *outputs) if b.shape is not None}
    return RawOnnx(
        nodes=tuple(_node(n, i, fail) for i, n in enumerate(graph.node)),
        constants=constants,
        inputs=inputs,
        outputs=outputs,
        shapes=known,
        opset=_opset(proto, source, fail),
        description=label(f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip()),
    )


def _opset(proto: Any, source: str, fail: Fail) -> int:
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions:
        raise fail("names no version of the standard operators (opset_import)")
    opset = int(max(versions))
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise UnsupportedModelError(
            f"{source}: uses opset {opset}; {MIN_OPSET} to {MAX_OPSET} are read: export it with opset 13 to 21"
        )
    return opset


def _border(value: Any, fail: Fail) -> RawBorder:
    kind, name = value.type.tensor_type, _text(value.name)
    number = int(kind.elem_type) if value.type.HasField("tensor_type") else 0
    shape = None
    if kind.HasField("shape"):
        if len(kind.shape.dim) > MAX_RANK:
            raise fail(f"tensor '{label(name)}' has {len(kind.shape.dim)} dimensions, at most {MAX_RANK}")
        shape = tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in kind.shape.dim)
        if any(s < -1 for s in shape) or math.prod(max(s, 1) for s in shape) > MAX_ELEMENTS:
            raise fail(f"tensor '{label(name)}' has shape {list(shape)}")
    return RawBorder(name=name, type=TYPE_NAMES.get(number, f"type {number}"), shape=shape)


def _node(node: Any, index: int, fail: Fail) -> RawNode:
    outputs = tuple(map(_text, node.output))
    name = label(_text(node.name) or (outputs[0] if outputs else "") or f"node {index}")
    if max(len(node.input), len(node.output)) > MAX_NODE_INPUTS:
        raise fail(f"node '{name}' has {len(node.input)} inputs and {len(node.output)} outputs")
    attributes: dict[str, Attribute] = {}
    unread = []
    for attribute in node.attribute:
        value = _attribute(attribute, name, fail)
        if value is None:
            unread.append(label(_text(attribute.name)))
        else:
            attributes[_text(attribute.name)] = value
    op, domain = label(_text(node.op_type)), label(_text(node.domain))
    op = op if domain in ("", "ai.onnx") else f"{domain}.{op}"
    return RawNode(
        index=index,
        op=op,
        label=name,
        inputs=tuple(map(_text, node.input)),
        outputs=outputs,
        attributes=attributes,
        unread=tuple(unread),
    )


def _attribute(attribute: Any, node: str, fail: Fail) -> Attribute | None:
    kinds = type(attribute)
    match attribute.type:
        case kinds.FLOAT:
            return float(attribute.f)
        case kinds.INT:
            return int(attribute.i)
        case kinds.STRING:
            return label(attribute.s.decode("utf-8", errors="replace"))
        case kinds.FLOATS:
            return tuple(float(v) for v in attribute.floats)
        case kinds.INTS:
            return tuple(int(v) for v in attribute.ints)
        case kinds.TENSOR:
            return _array(attribute.t, f"attribute '{label(_text(attribute.name))}' of '{node}'", fail)
        case _:
            return None


def _array(tensor: Any, what: str, fail: Fail) -> Array:
    """Return a tensor of the file, copied."""
    if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
        raise UnsupportedModelError(
            f"{what} keeps its values in another file, which is never opened; save the model as one file: "
            "onnx.save(model, path, save_as_external_data=False)"
        )
    if tensor.data_type not in _TYPES:
        raise UnsupportedModelError(
            f"{what} is {TYPE_NAMES.get(tensor.data_type, f'of type {tensor.data_type}')}, which no kernel takes; "
            "export the model as float32, or quantise it to int8"
        )
    dims = tuple(int(d) for d in tensor.dims)
    count = math.prod(dims)
    if len(dims) > MAX_RANK or any(d < 0 for d in dims) or count > MAX_ELEMENTS or tensor.HasField("segment"):
        raise fail(f"{what} has shape {list(dims)[:8]}")
    code, field = _TYPES[tensor.data_type]
    dtype = np.dtype(code)
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise fail(f"{what} of shape {list(dims)} has {len(tensor.raw_data)} bytes")
        return np.frombuffer(tensor.raw_data, dtype).reshape(dims).astype(dtype.newbyteorder("="))
    values = getattr(tensor, field)
    if len(values) != count:
        raise fail(f"{what} of shape {list(dims)} has {len(values)} values")
    if tensor.data_type == 10:
        return np.asarray(values, np.int64).astype(np.uint16).view(np.float16).reshape(dims)
    wide: Array = np.asarray(values, np.float64 if dtype.kind == "f" else np.int64).reshape(dims)
    return wide.astype(dtype.newbyteorder("="))

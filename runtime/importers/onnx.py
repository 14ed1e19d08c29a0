# SPDX-License-Identifier: Apache-2.0
"""ONNX files to the IR: float models, and int8 models in the QDQ form.

Channels move behind space once, at import: the graph's images are NHWC from its inputs to its outputs. What no kernel
covers is refused with everything that is missing in one message; what contradicts itself is refused with the node
that does. Nothing is guessed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from joulet.errors import ModelError, UnsupportedModelError
from joulet.importers.border import NotCoveredError, read_source, refusal
from joulet.importers.onnx_context import IMAGE, Context, Value
from joulet.importers.onnx_fold import fold
from joulet.importers.onnx_move import MOVERS
from joulet.importers.onnx_ops import OPS
from joulet.importers.onnx_read import MAX_BYTES, RawBorder, RawNode, label, read_onnx
from joulet.ir import Convert, DType, Graph, OpKind, Tensor

_CONVERTERS = {**OPS, **MOVERS}
_TYPES = {"float32": DType.F32, "int8": DType.S8, "uint8": DType.S8}
# What an input may pass before its layout is decided by the first node that cares.
_PASS = {
    "QuantizeLinear", "DequantizeLinear", "Identity", "Dropout", "Cast", "Add", "Sub", "Mul", "Div", "Relu", "Clip",
    "Pad", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Concat", "Split", "Slice", "PRelu", "HardSigmoid", "Sum",
}  # fmt: skip
# QLinearConv, ConvInteger, com.microsoft.QGemm: quantised operators, where QDQ puts float ones between quantised tensors
_OPERATOR_FORMAT = re.compile(r"(^|\.)(QLinear|QGemm)|(Conv|MatMul)Integer$|^DynamicQuantize")
_QDQ = "quantise in QDQ form instead"
_IMAGES = {
    "Conv", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "Resize", "Upsample",
}  # fmt: skip


def load_onnx(source: Path | str | bytes, *, name: str | None = None) -> Graph:
    """Import an ONNX model.

    Parameters
    ----------
    source
        A file, or its bytes. Weights must be in it: no other file is opened.
    name
        Name of the graph; the file's stem where it is None.

    Returns
    -------
    Graph
        An int8 graph (from a QDQ model; uint8 activations converted exactly) or a float graph. Images are NHWC,
        inputs and outputs included; ``source["notes"]`` says so where the file has them otherwise. A batch whose size
        the file leaves open is 1.

    Raises
    ------
    UnsupportedModelError
        If operators, types or options are not covered; the message lists all of them with their nodes.
    MalformedModelError
        If the bytes are no consistent model.
    MissingDependencyError
        Without the package ``onnx``.
    UsageError
        If the file cannot be read.
    """
    data, title = read_source(source, name, "an .onnx", MAX_BYTES)
    context = Context(read_onnx(data, title), title)
    missing = _convert(context)
    if missing:
        raise UnsupportedModelError(refusal(title, missing, "node"))
    return _finish(context, name or Path(title).stem, data)


def _convert(context: Context) -> list[tuple[str, str]]:
    """Convert every node; return what is not covered as (what, node)."""
    missing: list[tuple[str, str]] = []
    contradiction: ModelError | None = None
    for node in context.raw.nodes:
        if node.op == "Constant" and not node.unread:
            try:
                fold(context, node)
            except NotCoveredError as error:
                missing.append((f"Constant ({error})", node.label))
            context.done.add(node.index)
    for border in context.raw.inputs:
        try:
            _input(context, border)
        except NotCoveredError as error:
            missing.append((f"input ({error})", label(border.name)))
    unknown = False
    for node in context.raw.nodes:
        if node.index in context.done:
            continue
        try:
            _convert_node(context, node)
        except NotCoveredError as error:
            missing.append((f"{node.op} ({error})" if str(error) else node.op, node.label))
            unknown = unknown or node.op not in _CONVERTERS
        except ModelError as error:
            # After something that is not covered, a contradiction may only be its consequence: keep listing.
            contradiction = contradiction or (None if missing else error)
    if contradiction is not None and not unknown:
        raise contradiction
    return missing


def _convert_node(context: Context, node: RawNode) -> None:
    """Convert one node, or fold it."""
    if not node.outputs or not node.outputs[0]:
        raise context.fail(f"'{node.label}' ({node.op}) has no output")
    if node.unread:
        raise NotCoveredError(f"with {', '.join(node.unread)}")
    if fold(context, node):
        return
    convert = _CONVERTERS.get(node.op)
    if convert is None:
        raise NotCoveredError(_QDQ if _OPERATOR_FORMAT.search(node.op) else "")
    convert(context, node)


def _input(context: Context, border: RawBorder) -> None:
    """Create the IR tensor of a graph input."""
    if border.type not in _TYPES:
        raise NotCoveredError(f"of {border.type} (export it with float32 or int8)")
    if border.shape is None:
        raise NotCoveredError("without a shape (export it with fixed sizes)")
    shape = border.shape
    if shape[:1] == (-1,):
        shape = (1, *shape[1:])
    if min(shape, default=1) < 0:
        text = ", ".join("?" if s < 0 else str(s) for s in border.shape)
        raise NotCoveredError(f"of unknown size [{text}] (export it with fixed sizes)")
    if border.name in context.values or 0 in shape:
        raise context.fail(f"input '{label(border.name)}' is empty or listed twice")
    quant = None
    if _TYPES[border.type] is DType.S8:
        readers = context.users.get(border.name, [])
        quants = {context.node_quant(u) for u in readers if u.op == "DequantizeLinear"}
        if len(quants) != 1 or any(u.op != "DequantizeLinear" for u in readers):
            raise NotCoveredError(f"of {border.type} whose scale is not known (DequantizeLinear must read it)")
        quant = quants.pop()
    image = len(shape) in (3, 4) and _is_image(context, border.name)
    stored = shape
    if image:
        n, c, *space = shape
        stored = (n, *((1, *space) if len(space) == 1 else space), c)
    tensor = Tensor(
        name=label(border.name),
        shape=stored,
        dtype=_TYPES[border.type],
        quant=quant,
        border="uint8" if border.type == "uint8" else None,
    )
    index = context.add(tensor)
    if image and stored != shape:
        context.notes.append(f"input '{label(border.name)}' is {list(stored)} here (NHWC), {list(shape)} in the file")
    context.bind(border.name, context.of_image(index, len(shape)) if image else context.of_plain(index))


def _is_image(context: Context, name: str) -> bool:
    """Whether the first nodes that care read a tensor as channels before space."""
    queue, seen = [name], {name}
    while queue:
        for node in context.users.get(queue.pop(0), []):
            if node.op in _IMAGES:
                return True
            if node.op not in _PASS:
                continue
            fresh = [o for o in node.outputs if o and o not in seen]
            seen.update(fresh)
            queue.extend(fresh)
    return False


def _output(context: Context, border: RawBorder) -> int:
    """Return the IR tensor of a graph output, in the file's own type."""
    value = context.values.get(border.name)
    if value is None:
        if border.name in context.constants:
            raise context.fail(f"output '{label(border.name)}' is a constant")
        raise context.fail(f"output '{label(border.name)}' is never computed")
    index = _output_order(context, border, value)
    have = context.tensors[index]
    if border.type == "float32" and have.dtype is DType.S8:
        y = context.add(Tensor(name=f"{label(border.name)}:float", shape=have.shape, dtype=DType.F32))
        context.emit(OpKind.DEQUANTIZE, f"{label(border.name)}:float", (index,), y, Convert())
        return y
    types = {"float32": DType.F32, "int8": DType.S8, "uint8": DType.S8, "int64": DType.S32, "int32": DType.S32}
    if types.get(border.type) is not have.dtype:
        raise context.fail(
            f"output '{label(border.name)}' is declared {border.type} but computes to {have.dtype.value}"
        )
    if border.type == "uint8":
        context.tensors[index] = replace(have, border="uint8")
    return index


def _output_order(context: Context, border: RawBorder, value: Value) -> int:
    """Return the tensor of an output: an image stays as it is stored, everything else in the file's order."""
    order = context.order(value)
    turned = order is None or list(order) != sorted(order)
    if len(value.shape) in (3, 4) and value.perm == IMAGE and context.axes(value) is not None and turned:
        stored = list(context.tensors[value.tensor].shape)
        context.notes.append(f"output '{label(border.name)}' is {stored} here (NHWC), {list(value.shape)} in the file")
        return value.tensor
    return context.plain(value)


def _check_whole(context: Context) -> None:
    """Refuse a model that is int8 in parts only: float layers between int8 ones have no kernel."""
    if not any(t.dtype is DType.S8 for t in context.tensors):
        return
    borders = (OpKind.QUANTIZE, OpKind.DEQUANTIZE)
    found = [
        (f"{op.kind.value} in float32 beside int8 layers (quantise it too, or leave the model float)", op.name)
        for op in context.ops
        if op.kind not in borders and context.tensors[op.inputs[0]].dtype is DType.F32
    ]
    if found:
        raise UnsupportedModelError(refusal(context.source, found, "node"))


def _finish(context: Context, name: str, data: bytes) -> Graph:
    """Assemble the graph."""
    inputs = tuple(context.values[b.name].tensor for b in context.raw.inputs)
    outputs = tuple(_output(context, b) for b in context.raw.outputs)
    if not inputs:
        raise context.fail("the graph has no input")
    if not context.ops:
        raise context.fail("the graph computes nothing")
    _check_whole(context)
    if len(set(outputs)) != len(outputs) or set(outputs) & set(inputs):
        raise context.fail("a graph output is listed twice, or is an input")
    source = {
        "format": "onnx",
        "file": context.source,
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": context.raw.description,
        "notes": "\n".join(context.notes),
    }
    return Graph(
        name=name,
        tensors=tuple(context.tensors),
        ops=tuple(context.ops),
        inputs=inputs,
        outputs=outputs,
        source=source,
    )

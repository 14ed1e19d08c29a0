# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite files to the IR.

What no kernel covers is refused with everything that is missing in one message; what contradicts itself is
refused with the tensor that does. Nothing is guessed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from joulet.errors import ModelError, UnsupportedModelError
from joulet.importers.border import NotCoveredError, read_source, refusal
from joulet.importers.tflite_context import Context
from joulet.importers.tflite_fold import fold
from joulet.importers.tflite_move import MOVERS
from joulet.importers.tflite_ops import CONVERTERS
from joulet.importers.tflite_read import RawOp, read_model
from joulet.ir import Graph

_CONVERTERS = {**CONVERTERS, **MOVERS}


def load_tflite(source: Path | str | bytes, *, name: str | None = None) -> Graph:
    """Import a TensorFlow Lite model.

    Parameters
    ----------
    source
        A file, or its bytes.
    name
        Name of the graph; the file's stem where it is None.

    Returns
    -------
    Graph
        An int8 graph (uint8 models converted exactly) or a float graph. ``source["notes"]`` says what a caller
        should know about the conversion, one remark a line.

    Raises
    ------
    UnsupportedModelError
        If operators, types or options are not covered; the message lists all of them with their layers.
    MalformedModelError
        If the bytes are no consistent model.
    UsageError
        If the file cannot be read.
    """
    data, title = read_source(source, name, "a .tflite")
    context = Context(read_model(data, title), title)
    missing = _convert(context)
    if missing:
        raise UnsupportedModelError(refusal(title, missing, "operator"))
    return _finish(context, name or Path(title).stem, data)


def _convert(context: Context) -> list[tuple[str, str]]:
    """Convert every operator; return what is not covered as (what, layer)."""
    missing: list[tuple[str, str]] = []
    contradiction: ModelError | None = None
    for index in context.raw.inputs:
        try:
            context.graph_input(index)
        except NotCoveredError as error:
            missing.append((f"INPUT ({error})", context.raw.tensors[index].name))
        except ModelError as error:
            contradiction = contradiction or error
    unknown = False
    for op in context.raw.ops:
        try:
            _convert_op(context, op)
        except NotCoveredError as error:
            what = f"CUSTOM {op.custom}" if op.code == "CUSTOM" else op.code
            missing.append((f"{what} ({error})" if str(error) else what, context.name(op)))
            unknown = unknown or op.code not in _CONVERTERS
        except ModelError as error:
            # After something that is not covered, a contradiction may only be its consequence: keep listing.
            contradiction = contradiction or (None if missing else error)
    # An unknown operator outweighs a contradiction: such graphs often leave shapes and scales open.
    if contradiction is not None and not unknown:
        raise contradiction
    return missing


def _convert_op(context: Context, op: RawOp) -> None:
    """Convert one operator, or fold it."""
    if not op.outputs:
        raise context.fail(f"operator {op.index} ({op.code}) has no output")
    for index in op.inputs:
        if index >= 0 and context.raw.tensors[index].variable:
            raise NotCoveredError("keeps state in a variable tensor" if op.code in _CONVERTERS else "")
    if fold(context, op):
        return
    convert = _CONVERTERS.get(op.code)
    if convert is None:
        raise NotCoveredError("")
    convert(context, op)


def _finish(context: Context, name: str, data: bytes) -> Graph:
    """Assemble the graph."""
    inputs = []
    for index in context.raw.inputs:
        known = context.known(index)
        if known is None:
            raise context.fail(f"graph input '{context.raw.tensors[index].name}' was never created")
        inputs.append(known)
    outputs = []
    for index in context.raw.outputs:
        known = context.known(index)
        if known is None:
            raise context.fail(f"graph output '{context.raw.tensors[index].name}' is never computed")
        outputs.append(known)
    if len(set(outputs)) != len(outputs):
        raise context.fail("a graph output is listed twice")
    if not context.ops:
        raise context.fail("the graph computes nothing")
    if context.raw.subgraphs > 1:
        context.notes.append(f"only the main of {context.raw.subgraphs} subgraphs is imported")
    source = {
        "format": "tflite",
        "file": context.source,
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": context.raw.description,
        "notes": "\n".join(context.notes),
    }
    return Graph(
        name=name,
        tensors=tuple(context.tensors),
        ops=tuple(context.ops),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        source=source,
    )

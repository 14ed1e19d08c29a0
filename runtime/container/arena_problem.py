# SPDX-License-Identifier: Apache-2.0
"""What placing the tensors of a container depends on, from its records: sizes, lives, scratch, and where outputs may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from joulet.container import layout
from joulet.container.read import Container
from joulet.plan.overlap import NOWHERE, Overlap, overlap_of
from joulet.plan.overlap_arena import BEFORE_START, ArenaOp, ArenaTensor
from joulet.plan.steps import BinaryParams, ConvParams, PoolParams

_CODES = {code: name for name, code in layout.CODES["OpCode"].items()}
_S8 = layout.CODES["DType"]["S8"]
_CONST = layout.CODES["TensorFlag"]["CONST"]
_PARAMS: dict[str, type[ConvParams] | type[PoolParams] | type[BinaryParams]] = {
    **dict.fromkeys(("CONV", "DWCONV", "FC"), ConvParams),
    **dict.fromkeys(("AVGPOOL", "MAXPOOL"), PoolParams),
    **dict.fromkeys(("ADD", "SUB", "MUL"), BinaryParams),
}


def arena_problem(
    container: Container, scratch_bytes: Sequence[int]
) -> tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]]:
    """Return tensors and ops as :func:`joulet.plan.overlap_arena.plan_overlapping` takes them.

    Parameters
    ----------
    container : Container
        Whose records are read.
    scratch_bytes : sequence of int
        What each op's kernel asks for [bytes].
    """
    lives = _lives(container)
    tensors = tuple(
        None
        if life is None
        else ArenaTensor(bytes=_width(container, index) * _elements(container, index), first=life[0], last=life[1])
        for index, life in enumerate(lives)
    )
    ops = tuple(
        ArenaOp(
            inputs=tuple(
                (int(tensor), _overlap(container, op, position))
                for position, tensor in enumerate(record["inputs"][: int(record["n_inputs"])])
            ),
            output=int(record["output"]),
            scratch_bytes=scratch_bytes[op],
        )
        for op, record in enumerate(container.ops)
    )
    return tensors, ops


def conv_params(container: Container, op: int) -> ConvParams:
    """Return the parameters of a CONV, DWCONV or FC op."""
    params = _params(container, op)
    assert isinstance(params, ConvParams)
    return params


def _params(container: Container, op: int) -> ConvParams | PoolParams | BinaryParams | None:
    kind = _PARAMS.get(_CODES[int(container.ops[op]["code"])])
    if kind is None:
        return None
    offset = int(container.ops[op]["params_offset"])
    entry = np.frombuffer(container.pool, layout.dtype(kind.__name__), 1, offset)[0]
    return kind(**{field.name: _plain(entry[field.name]) for field in fields(kind)})


def _plain(value: Any) -> Any:
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value.item()


def _overlap(container: Container, op: int, position: int) -> Overlap:
    record = container.ops[op]
    source, output = int(record["inputs"][position]), int(record["output"])
    if int(container.tensors[source]["flags"]) & _CONST:
        return NOWHERE
    return overlap_of(
        _CODES[int(record["code"])],
        _params(container, op),
        position,
        n_elements=_elements(container, output),
        in_bytes=_width(container, source),
        out_bytes=_width(container, output),
    )


def _elements(container: Container, tensor: int) -> int:
    return int(container.tensors[tensor]["elements"])


def _width(container: Container, tensor: int) -> int:
    return 1 if int(container.tensors[tensor]["dtype"]) == _S8 else 4


def _lives(container: Container) -> list[tuple[int, int] | None]:
    """Return the first op that needs each tensor's memory and the last; answers live to the end, logits past their exit."""
    model = container.model
    inputs = [int(tensor) for tensor in model["inputs"][: int(model["n_inputs"])]]
    first = dict.fromkeys(inputs, BEFORE_START)
    last = dict.fromkeys(inputs, BEFORE_START)
    for time, op in enumerate(container.ops):
        for tensor in (*op["inputs"][: int(op["n_inputs"])], op["output"]):
            first.setdefault(int(tensor), time)
            last[int(tensor)] = time
    end = len(container.ops)
    for each in container.exits:
        if int(each["n_classes"]):
            last[int(each["logits"])] = max(last[int(each["logits"])], int(each["last_op"]) + 1)
    for tensor in (*model["outputs"][: int(model["n_outputs"])], *container.exits["output"]):
        last[int(tensor)] = end
    return [
        (first[index], last[index]) if index in first and not int(record["flags"]) & _CONST else None
        for index, record in enumerate(container.tensors)
    ]

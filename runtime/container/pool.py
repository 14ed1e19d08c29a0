# SPDX-License-Identifier: Apache-2.0
"""Records to bytes, and the POOL section they point into."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from joulet.container import layout
from joulet.errors import PlanError
from joulet.plan.steps import FLOAT_MAX, LutParams, Params

_POOL_ALIGN_BYTES = 4


class Pool:
    """A growing POOL section. Equal contents share one place; everything starts at a multiple of 4."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._known: dict[bytes, int] = {}

    def append(self, content: bytes) -> int:
        """Return the offset of ``content`` [bytes], adding it where it is new."""
        if content not in self._known:
            self._content.extend(bytes(-len(self._content) % _POOL_ALIGN_BYTES))
            self._known[content] = len(self._content)
            self._content.extend(content)
        return self._known[content]

    def bytes(self) -> bytes:
        """Return the section's content."""
        return bytes(self._content)


def record(struct: str, /, **values: object) -> bytes:
    """Serialise one record; fields that are not given are 0.

    Raises
    ------
    ValueError
        For a field that the record does not have.
    PlanError
        For a value that its field does not hold: the format cannot say this model.
    """
    array = np.zeros(1, layout.dtype(struct))
    by_name = {field.name: field for field in layout.STRUCTS[struct][1]}
    for name, value in values.items():
        if name not in by_name:
            raise ValueError(f"{struct} has no field {name!r}")
        if by_name[name].type != "f32":
            info = np.iinfo(array.dtype[name].base)
            wide = np.asarray(value, np.int64)
            if wide.size and (wide.min() < info.min or wide.max() > info.max):
                raise PlanError(f"{struct}.{name} = {value!r} is more than a container can hold ({info.max})")
        array[name] = value
    return array.tobytes()


def encode_params(params: Params) -> bytes:
    """Serialise the parameters of one step; the record is named like their class."""
    struct = type(params).__name__
    values: dict[str, object] = {field.name: getattr(params, field.name) for field in fields(params)}
    if isinstance(params, LutParams):
        values["table"] = np.frombuffer(params.table, np.int8)
        values["function"] = layout.CODES["Unary"][params.function.upper()]
    for name in ("f32_min", "f32_max"):
        if name in values:
            values[name] = min(max(float(str(values[name])), -FLOAT_MAX), FLOAT_MAX)
    return record(struct, **values)

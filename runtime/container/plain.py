# SPDX-License-Identifier: Apache-2.0
"""The same model with its weights as plain int8: what nested storage is compared with."""

from __future__ import annotations

import numpy as np

from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.read import Container
from joulet.container.values import weight_values
from joulet.errors import ContainerError

_RECORDS = ("WEIGHTS", "LAYERS", "DATA_S8", "PLANE_HIGH", "PLANE_LOW")


def with_plain_weights(container: bytes) -> bytes:
    """Return a container without plan parts whose weights are plain int8: every integer precision is then the first with 8 bits.

    It is another container, with a model hash of its own, and computes what ``w8`` of the given one does.

    Raises
    ------
    ContainerError
        For bytes that are no container, one without its low planes, or one in which no precision has 8 bits throughout.
    """
    table, decoded = read_table(container), Container.from_bytes(container)
    if not all(section.present for section in table.sections):
        raise ContainerError("the container lacks its low planes, so its weights are not known: use the whole one")
    layers = decoded.layers.reshape(len(decoded.precisions), -1).copy()
    whole = [index for index, row in enumerate(layers) if (row["bits"] == 8).all()]
    if not whole:
        raise ContainerError("no precision has 8 bits throughout; compile with --precisions w8,w4")
    for index, precision in enumerate(decoded.precisions):
        if not precision["is_f32"]:
            layers[index] = layers[whole[0]]
    weights, data = decoded.weights.copy(), bytearray()
    for index in range(len(weights)):
        data.extend(bytes(-len(data) % layout.SECTION_ALIGN_BYTES))
        weights[index]["storage"], weights[index]["offset"] = layout.CODES["Storage"]["S8"], len(data)
        data.extend(weight_values(decoded, index).tobytes())
    kept = [
        PartSection(section.name, container[section.offset : section.offset + section.size_bytes])
        for section in table.sections
        if section.part == 0 and section.name not in _RECORDS
    ]
    changed = [
        PartSection("WEIGHTS", np.ascontiguousarray(weights).tobytes()),
        PartSection("LAYERS", np.ascontiguousarray(layers).tobytes()),
        PartSection("DATA_S8", bytes(data)),
    ]
    return assemble(sorted([*kept, *changed], key=lambda section: layout.SECTIONS[section.name][0]))


def without_plans(container: bytes) -> bytes:
    """Return a container's canonical part alone: what every engine runs with the reference kernels.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    table = read_table(container)
    if not all(section.present for section in table.sections):
        return container
    return assemble(
        [
            PartSection(section.name, container[section.offset : section.offset + section.size_bytes])
            for section in table.sections
            if section.part == 0
        ]
    )

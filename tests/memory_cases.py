# SPDX-License-Identifier: Apache-2.0
"""Containers whose arena lies in two memories, divided as a test asks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.isa_plan import with_isa_plan
from joulet.container.read import Container
from joulet.plan.memories import TwoMemories

ROOMY = 1 << 24


def divided(content: bytes, isa: str, is_slow: Callable[[int], bool]) -> bytes:
    """Return a container with a plan part in which the tensors asked for are slow."""
    count = len(Container.from_bytes(content).tensors)
    slow = frozenset(tensor for tensor in range(count) if is_slow(tensor))
    two = TwoMemories(fast_bytes=ROOMY, slow_bytes=ROOMY, wait_cycles=(0.0,) * count, slow=slow)
    return with_isa_plan(content, isa, memories=two)


def in_halves(content: bytes, isa: str) -> bytes:
    """Return a container with every other tensor in the slow memory."""
    return divided(content, isa, lambda tensor: tensor % 2 == 0)


def with_border(planned: bytes, record: bytes | int) -> bytes:
    """Return the container with another MEMORIES, its checksums right."""
    if isinstance(record, int):
        record = np.array([record, 0, 0, 0], "<u4").tobytes()
    table = read_table(planned)
    sections = [
        PartSection(s.name, planned[s.offset : s.offset + s.size_bytes], s.part)
        for s in table.sections
        if s.name != "MEMORIES"
    ]
    part = next(s.part for s in table.sections if s.name == "PACKED")
    return assemble([*sections, PartSection("MEMORIES", record, part)])


def offsets_of(planned: bytes) -> list[int]:
    """Return the arena offsets of the plan part, without those of tensors that have none."""
    section = next(s for s in read_table(planned).sections if s.name == "ARENA" and s.part)
    at = section.offset + layout.dtype("Arena").itemsize
    offsets = np.frombuffer(planned, "<u4", len(Container.from_bytes(planned).tensors), at)
    return [int(each) for each in offsets if each != layout.NO_OFFSET]

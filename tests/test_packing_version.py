# SPDX-License-Identifier: Apache-2.0
"""Weights that another version packed are not read: as if the plan part were not there, on host and board."""

from __future__ import annotations

import numpy as np
import pytest
from board_tools import need_tools
from link_bench import tiny_container
from tiny import tiny_inputs

from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.isa_plan import has_isa_plan, with_isa_plan
from joulet.container.needs import stored_copies
from joulet.container.read import Container
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.tools.engines import open_board

N = 6


def packed_by_another(planned: bytes) -> bytes:
    """Return the container with another version in its PACKED record, and weights that this one would misread."""
    sections = []
    for section in read_table(planned).sections:
        content = bytearray(planned[section.offset : section.offset + section.size_bytes])
        if section.name == "PACKED":
            head = np.frombuffer(content, layout.dtype("Packed"), 1)[0].copy()
            head["version"] = layout.PACKING_VERSION + 1
            content[:] = head.tobytes() + bytes(byte ^ 0x55 for byte in content[head.nbytes :])
        sections.append(PartSection(section.name, bytes(content), section.part))
    return assemble(sections)


@pytest.mark.parametrize("isa", ["ARMV6M", "AVX2"])
def test_a_stale_part_is_planned_again(isa: str) -> None:
    fresh = with_isa_plan(tiny_container(), isa)
    stale = packed_by_another(fresh)
    assert has_isa_plan(fresh, isa)
    assert not has_isa_plan(stale, isa)
    assert stored_copies(Container.from_bytes(fresh), isa)
    assert stored_copies(Container.from_bytes(stale), isa) is None
    assert with_isa_plan(stale, isa) == fresh


def test_the_host_answers_as_ever() -> None:
    stale = packed_by_another(with_isa_plan(tiny_container(), "ARMV6M"))
    x = [tiny_inputs(N)]
    for path in ("w8", "w4"):
        expected = HostEngine(tiny_container(), isa="REF").infer(x, path=path)
        found = HostEngine(stale, isa="ARMV6M").infer(x, path=path)
        for a, b in zip(expected.outputs, found.outputs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_board_answers_by_the_reference_kernels() -> None:
    need_tools()
    stale = packed_by_another(with_isa_plan(tiny_container(), "ARMV7EM"))
    x = [tiny_inputs(N)]
    expected = HostEngine(tiny_container(), isa="REF").infer(x, path="w8")
    with open_board("virtual:virtual_m4", {"model": stale}) as (link, counter):
        found = BoardEngine(stale, link, counter=counter).infer(x, path="w8")
    for a, b in zip(expected.outputs, found.outputs, strict=True):
        np.testing.assert_array_equal(a, b)

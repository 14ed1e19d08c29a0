# SPDX-License-Identifier: Apache-2.0
"""Calls that an engine has prepared once: the same answers as without, along any path, in tiles and across a switch."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import tiny_inputs, tiny_quant_graph

from joulet._core import ffi, lib
from joulet.container.write import write_container
from joulet.engine.host import HostEngine

EARLY, FINAL = 0, 1
ERR_ARGUMENT, ERR_ALIGNMENT = -1, -2


@pytest.fixture(scope="module")
def container() -> bytes:
    return write_container(tiny_quant_graph(("w8", "w4", "f32")))


def without_calls(container: bytes) -> HostEngine:
    """An engine that prepares every call anew."""
    engine = HostEngine(container)
    engine.c_engine.calls = ffi.NULL
    return engine


def test_every_path_answers_as_without(container: bytes) -> None:
    kept, plain = HostEngine(container), without_calls(container)
    x = [tiny_inputs(6)]
    for path in (*range(len(kept.path_names)), *reversed(range(len(kept.path_names)))):
        for depth in (EARLY, "last"):
            wanted = plain.infer(x, path=path, depth=depth)
            found = kept.infer(x, path=path, depth=depth)
            for a, b in zip(wanted.outputs, found.outputs, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(wanted.macs, found.macs)


def test_tiles_answer_as_without(container: bytes) -> None:
    kept, plain = HostEngine(container), without_calls(container)
    for sample in tiny_inputs(3):
        for units in (1, 3):
            answers = []
            for engine in (kept, plain):
                engine.start([sample], 0)
                event = ffi.new("jlt_event_t *")
                while event.kind != lib.JLT_EVENT_EXIT:
                    assert lib.jlt_engine_tile(engine.c_engine, FINAL, units, event) == 0
                engine._event[0] = event[0]
                answers.append(engine.answer().tobytes())
            assert answers[0] == answers[1]


def test_room_that_does_not_do_is_refused(container: bytes) -> None:
    engine = HostEngine(container)
    n_bytes = lib.jlt_calls_bytes(engine.checked)
    room = ffi.new("uint64_t[]", n_bytes // 8 + 2)
    shifted = ffi.cast("void *", ffi.cast("char *", room) + 1)
    assert lib.jlt_engine_keep_calls(engine.c_engine, room, n_bytes - 1) == ERR_ARGUMENT
    assert lib.jlt_engine_keep_calls(engine.c_engine, ffi.NULL, n_bytes) == ERR_ARGUMENT
    assert lib.jlt_engine_keep_calls(engine.c_engine, shifted, n_bytes) == ERR_ALIGNMENT
    assert lib.jlt_engine_keep_calls(engine.c_engine, room, n_bytes) == 0

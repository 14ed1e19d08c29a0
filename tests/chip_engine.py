# SPDX-License-Identifier: Apache-2.0
"""The engine as a Cortex-M4 runs it, function by function in an emulator: every tile's reads and writes are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from thumb import FLASH, RAM, ROOT, Thumb

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.engine.host import HostEngine

MODEL = FLASH + 0x12_0000
_CONTAINER, _ENGINE, _EVENT, _INPUT, _ARENA = RAM, RAM + 0x200, RAM + 0x300, RAM + 0x400, RAM + 0x8000
_EDGE = 64  # bytes watched around the arena
_CALLED = ("jlt_container_check", "jlt_engine_init", "jlt_engine_start", "jlt_engine_write", "jlt_engine_tile")
_CODES = {code: name for name, code in layout.CODES["OpCode"].items()}

Units = Callable[[], int]


def chip(folder: Path, cpu: str = "cortex-m4") -> Thumb:
    """Build core and kernels."""
    files = [*(ROOT / "csrc/core").glob("*.c"), *(ROOT / "csrc/kernels").rglob("*.c")]
    sources = sorted(str(path.relative_to(ROOT / "csrc")) for path in files if not path.stem.endswith("_f32"))
    options = ["-O2", "-DJLT_WITH_F32=0", "-DNDEBUG", "-fno-tree-loop-distribute-patterns"]
    options += ["-ffunction-sections", "-Wl,--gc-sections", *(f"-Wl,-u,{name}" for name in _CALLED)]
    return Thumb(folder, cpu, sources, options)


class ChipEngine:
    """A container on the chip, whose arena offsets and records the host knows.

    ``guard``: it fails where a tile writes what is neither its output nor its scratch.
    """

    def __init__(self, thumb: Thumb, container: bytes, isa: str = "ARMV7EM", *, guard: bool = True) -> None:
        self.thumb = thumb
        self.host = HostEngine(container, isa="REF")  # for its tables
        self.checked = ffi.new("jlt_container_t *")
        lib.jlt_container_check(self.host._checked.base, len(container), self.checked)
        assert lib.jlt_container_use(self.checked, layout.CODES["Isa"][isa], True) == 0
        self.guard = guard
        self.executed: dict[int, int] = {}
        thumb.write(MODEL, container)
        assert thumb.call("jlt_container_check", MODEL, len(container), _CONTAINER)[0] == 0
        self.rng = np.random.default_rng(1)
        self.isa = layout.CODES["Isa"][isa]

    def arena_bytes(self, path: int) -> int:
        """Return what a path needs."""
        return int(lib.jlt_arena_bytes(self.checked, path))

    def place(self, tensor: int) -> slice:
        """Where a tensor lies, counted from the edge before the arena."""
        begin = int(self.checked.arena_offsets[tensor]) + _EDGE
        return slice(begin, begin + int(lib.jlt_tensor_bytes(self.checked.tensors + tensor)))

    def scratch(self, op: int) -> slice:
        """Where an op's scratch lies: the arena's last bytes, which other ops may use for tensors."""
        needs = ffi.new("jlt_isa_needs_t *")
        assert lib.jlt_isa_needs(self.checked, self.isa, op, needs) == 0
        end = self.arena_bytes(0)
        return slice((end - int(needs.scratch_bytes)) // 16 * 16 + _EDGE, end + _EDGE)

    def members(self, op: int) -> range:
        """The ops that run when one ends: its band group, or itself."""
        group = lib.jlt_band_group_of(self.checked, op)
        return range(group.first_op, group.first_op + group.n_ops) if group else range(op, op + 1)

    def code(self, op: int) -> str:
        """Name of an op's code."""
        return _CODES[int(self.checked.ops[op].code)]

    def start(self, inputs: Sequence[np.ndarray], path: int) -> None:
        """Begin an inference over noise."""
        size = self.arena_bytes(path)
        self.thumb.write(_ARENA - _EDGE, self.rng.bytes(size + 2 * _EDGE))
        assert self.thumb.call("jlt_engine_init", _ENGINE, _CONTAINER, _ARENA, size)[0] == 0
        assert self.thumb.call("jlt_engine_start", _ENGINE, path)[0] == 0
        for index, array in enumerate(inputs):
            flat = np.ascontiguousarray(array)
            data = (flat ^ 128 if flat.dtype == np.uint8 else flat).tobytes()
            self.thumb.write(_INPUT, data)
            assert self.thumb.call("jlt_engine_write", _ENGINE, index, _INPUT, len(data))[0] == 0
        self.path, self.next_op = path, 0

    def tile(self, exit: int, units: int) -> tuple[int, int]:
        """Run some units; return (kind of event, op)."""
        before = self._memory()
        status, count = self.thumb.call("jlt_engine_tile", _ENGINE, exit, units, _EVENT)
        assert status == 0
        kind, _, low, high = self.thumb.read(_EVENT, 4)
        op = low | high << 8
        self.executed[op] = self.executed.get(op, 0) + count
        if self.guard:
            changed = self._memory() != before
            for member in self.members(op):
                begin = self.place(int(self.checked.ops[member].output)).start
                changed[begin : begin + int(lib.jlt_band_room(self.checked, member))] = False
                changed[self.scratch(member)] = False
            assert not changed.any(), f"op {op} {self.code(op)} wrote at {np.flatnonzero(changed) - _EDGE}"
        return kind, op

    def taken(self) -> int:
        """Count the ops that a kernel of the instruction set runs."""
        needs = ffi.new("jlt_isa_needs_t *")
        isa = int(self.checked.isa)
        ops = range(int(self.checked.model.n_ops))
        count = 0
        for op in ops:
            assert lib.jlt_isa_needs(self.checked, isa, op, needs) == 0
            count += int(needs.taken)
        return count

    def _memory(self) -> np.ndarray:
        size = self.arena_bytes(self.path) + 2 * _EDGE
        return np.frombuffer(self.thumb.read(_ARENA - _EDGE, size), np.uint8).copy()

    def run(self, inputs: Sequence[np.ndarray], path: int, exit: int, units: Units) -> list[tuple[int, bytes]]:
        """Return (op, bytes of its output) for every op on the way to an exit."""
        self.start(inputs, path)
        outputs, kind = [], 0
        while kind != lib.JLT_EVENT_EXIT:
            kind, op = self.tile(exit, units())
            if kind != lib.JLT_EVENT_TILE:
                outputs.append((op, self._memory()[self.place(int(self.checked.ops[op].output))].tobytes()))
        return outputs


def reference_outputs(container: bytes, inputs: Sequence[np.ndarray], path: int, exit: int) -> list[tuple[int, bytes]]:
    """Return (op, bytes of its output) from the reference kernels on this machine."""
    host = HostEngine(container, isa="REF")
    host.start(list(inputs), path)
    event: Any = ffi.new("jlt_event_t *")
    outputs = []
    while event.kind != lib.JLT_EVENT_EXIT:
        assert lib.jlt_engine_step(host._engine, exit, event) == 0
        tensor = int(host._checked.ops[event.op].output)
        begin = int(host._checked.arena_offsets[tensor])
        size = int(lib.jlt_tensor_bytes(host._checked.tensors + tensor))
        outputs.append((int(event.op), host._arena[begin : begin + size].tobytes()))
    return outputs

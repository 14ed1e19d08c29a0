# SPDX-License-Identifier: Apache-2.0
"""The C engine on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.container.isa_plan import has_isa_plan, with_isa_plan
from joulet.container.read import Container
from joulet.engine.borders import Borders
from joulet.engine.seam import Array, Depth, ExitEvent, InferResult
from joulet.errors import ContainerError, DataError, EngineError, UsageError

_REASONS = {
    -1: "an argument is out of range",
    -2: "memory is not aligned",
    -3: "the container is cut short",
    -4: "not a .jlt container",
    -5: "the container is of another major version; compile the model again",
    -6: "a checksum does not match: the container is damaged",
    -7: "the section table is broken",
    -8: "the model record is broken",
    -9: "a tensor record is broken",
    -10: "an op record is broken",
    -11: "op parameters do not fit their tensors",
    -12: "a weight record is broken",
    -13: "a layer record is broken",
    -14: "a precision record is broken",
    -15: "an exit record is broken",
    -16: "a path record is broken",
    -17: "the arena plan is broken",
    -18: "two live tensors share memory",
    -19: "an accumulator could overflow",
    -20: "the path needs the low planes, which this container lacks; choose a w4 path",
    -21: "the engine was driven in the wrong order",
    -22: "the other path differs in what has already run",
    -23: "policy tables are broken",
    -27: "ops that run in bands do not follow each other, or hold too few rows",
    -29: "a sparse copy of weights leaves its bounds, or no kernel reads it",
    -30: "the border between two memories lies inside a tensor or scratch, or beyond the arena",
}
_ABSENT = -20
_OF_CONTAINERS = frozenset((*range(-19, -1), -27, -29, -30))


def check_status(status: int, what: str) -> None:
    """Raise the exception that a C status stands for; 0 passes."""
    if status == 0:
        return
    reason = _REASONS.get(status, "unknown status")
    if status in _OF_CONTAINERS:
        raise ContainerError(f"{what}: {reason} (check {-status})")
    raise EngineError(f"{what}: {reason} (status {status})")


def _isa(name: str | None) -> str:
    """Return whose kernels run; see :class:`HostEngine`."""
    codes = layout.CODES["Isa"]
    if name is None:
        best = lib.jlt_host_best_isa()
        return next(each for each, code in codes.items() if code == best)
    if name not in codes or not lib.jlt_host_runs(codes[name]):
        here = ", ".join(each for each, code in codes.items() if lib.jlt_host_runs(code))
        raise UsageError(f"instruction set '{name}' does not run here; there are: {here}")
    return name


def _aligned(n_bytes: int, alignment: int) -> npt.NDArray[np.uint8]:
    """Return ``n_bytes`` zeroed bytes at a multiple of ``alignment``."""
    raw = np.zeros(n_bytes + alignment, dtype=np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + n_bytes]


class Prepared:
    """A batch bound to caller's buffers: calling it runs the C engine and nothing else.

    The arrays given to :meth:`HostEngine.bind` are read and written in place at every call.
    """

    __slots__ = ("_batch", "_engine", "_keep", "_run", "confidence_q15", "exit", "macs")

    def __init__(self, engine: Any, batch: Any, keep: tuple[Any, ...], result: InferResult) -> None:
        self._engine = engine
        self._batch = batch
        self._keep = keep
        self._run = lib.jlt_host_infer_batch
        self.exit = result.exit
        self.confidence_q15 = result.confidence_q15
        self.macs = result.macs

    @property
    def direct(self) -> Callable[[], int]:
        """The C function alone, for timing: it returns a status that nobody checks. Keep this object as long."""
        return partial(self._run, self._engine, self._batch)

    def __call__(self) -> None:
        """Run the batch.

        Raises
        ------
        EngineError
            When the engine refuses, for instance a path whose weights this container lacks.
        """
        status = self._run(self._engine, self._batch)
        if status:
            check_status(status, "infer")


class HostEngine(Borders):
    """A container on the C engine of this machine.

    Parameters
    ----------
    container : bytes or Path
        A .jlt container; every byte of it is checked once, here.
    isa : str, optional
        Whose kernels run integer paths: a name of ``layout.CODES["Isa"]``, ``REF`` for the reference. This core's best without.
        Weights are packed here unless the container brings a plan part for it.

    Raises
    ------
    ContainerError
        When any check of FORMAT.md fails.
    UsageError
        When this machine does not run the instruction set.
    """

    def __init__(self, container: bytes | Path, *, isa: str | None = None) -> None:
        data = container.read_bytes() if isinstance(container, Path) else bytes(container)
        super().__init__(Container.from_bytes(data))
        self.isa = _isa(isa)
        data = data if has_isa_plan(data, self.isa) else with_isa_plan(data, self.isa)
        self._bytes = _aligned(len(data), 64)
        self._bytes[:] = np.frombuffer(data, dtype=np.uint8)
        self._checked = ffi.new("jlt_container_t *")
        base = ffi.from_buffer("uint8_t[]", self._bytes)
        check_status(lib.jlt_container_check(base, len(data), self._checked), "container")
        status = lib.jlt_container_use(self._checked, layout.CODES["Isa"][self.isa], False)
        if status != _ABSENT:
            check_status(status, f"plan part for {self.isa}")
        paths = range(int(self.container.model["n_paths"]))
        arena_bytes = max(lib.jlt_arena_bytes(self._checked, path) for path in paths)
        self._arena = _aligned(arena_bytes, 16)
        self._engine = ffi.new("jlt_engine_t *")
        arena = ffi.from_buffer("uint8_t[]", self._arena)
        check_status(lib.jlt_engine_init(self._engine, self._checked, arena, arena_bytes), "engine")
        n_bytes = lib.jlt_calls_bytes(self._checked)
        self._calls = ffi.new("uint64_t[]", -(-n_bytes // 8))
        check_status(lib.jlt_engine_keep_calls(self._engine, self._calls, n_bytes), "calls")
        self._event = ffi.new("jlt_event_t *")
        self._refit: Any | None = None
        self._staging = np.zeros(max(info.bytes for info in self.inputs), dtype=np.uint8)
        self._staging_c = ffi.from_buffer("uint8_t[]", self._staging)

    @property
    def arena_bytes(self) -> int:
        """Working memory of the most demanding path [bytes]."""
        return len(self._arena)

    def path_arena_bytes(self, path: int | str) -> int:
        """Return the working memory of one path [bytes]."""
        return int(lib.jlt_arena_bytes(self._checked, self.path_index(path)))

    def infer(
        self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last", out: Sequence[Array] | None = None
    ) -> InferResult:
        """Run a batch in one call of the C engine.

        Parameters
        ----------
        inputs : sequence of ndarray
            One array an input of the model, ``(n, …)`` with the input's elements a sample, in the model's dtype.
        path : int or str
            Operating path; constant ones are named like their precision (``w8``).
        depth : int or str
            Exit to answer at, ``last``, or ``auto``: stop where the confidence reaches the path's threshold.
        out : sequence of ndarray, optional
            Arrays to write the outputs to.

        Raises
        ------
        DataError
            When an array has another dtype, another number of elements a sample, no samples, or is not finite.
        """
        prepared, result = self._prepare(inputs, path, depth, out)
        prepared()
        return result

    def bind(
        self, inputs: Sequence[Array], outputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last"
    ) -> Prepared:
        """Return a call that runs on these very arrays, for loops where microseconds count."""
        for array in inputs:
            if not array.flags.c_contiguous:
                raise DataError("bind needs C-contiguous input arrays; pass np.ascontiguousarray(x)")
        return self._prepare(inputs, path, depth, outputs)[0]

    def start(self, inputs: Sequence[Array], path: int) -> None:
        """Begin one inference along a path; each array holds one sample."""
        arrays = self.check_inputs([np.asarray(array)[np.newaxis] for array in inputs])
        check_status(lib.jlt_engine_start(self._engine, path), "start")
        for index, array in enumerate(arrays):
            view = ffi.from_buffer("uint8_t[]", array.view(np.uint8).reshape(-1))
            check_status(lib.jlt_host_write(self._engine, index, view, self._staging_c), f"input {index}")

    def run_to_exit(self, exit: int) -> ExitEvent:
        """Run until exit ``exit`` is reached, evaluating no other head."""
        check_status(lib.jlt_host_run_to_exit(self._engine, exit, self._event), f"exit {exit}")
        event = self._event
        return ExitEvent(exit=event.exit, confidence_q15=event.confidence_q15, macs=event.macs)

    @property
    def checked(self) -> Any:
        """The checked container, for what else in C reads it."""
        return self._checked

    @property
    def c_engine(self) -> Any:
        """The same as ``jlt_engine_t *``, for what else in C drives it; lives as long as this."""
        return self._engine

    def step_to(self, op: int, exit: int) -> None:
        """Run up to an op on the way to an exit, and not the op itself."""
        while self._engine.next_op < op:
            check_status(lib.jlt_engine_step(self._engine, exit, self._event), f"op {op}")

    def use_head(self, refit: Any | None) -> None:
        """Answer at one exit with a head of :class:`joulet.engine.refit.HeadRefit`, or None for the container's own."""
        self._refit = refit  # kept alive as long as C points to it
        self._engine.head = ffi.NULL if refit is None else ffi.addressof(refit, "head")

    def switch(self, path: int) -> None:
        """Continue along another path that agrees in all segments already run."""
        check_status(lib.jlt_engine_switch(self._engine, path), "switch")

    def answer(self) -> Array:
        """Return the answer of the exit just reached, shaped and typed as that exit's output."""
        info = self.answers[self._event.exit]
        out = np.empty(info.shape, dtype=info.dtype)
        view = ffi.from_buffer("uint8_t[]", out.reshape(-1).view(np.uint8), require_writable=True)
        tensor = int(self.container.exits[self._event.exit]["output"])
        check_status(lib.jlt_host_read(self._engine, tensor, view), "answer")
        return out

    def _prepare(
        self, inputs: Sequence[Array], path: int | str, depth: Depth, out: Sequence[Array] | None
    ) -> tuple[Prepared, InferResult]:
        arrays = self.check_inputs(inputs)
        n = len(arrays[0])
        if out is None:
            out = self.new_outputs(n)
        result = InferResult(
            outputs=self.check_outputs(out, n),
            exit=np.zeros(n, dtype=np.uint8),
            confidence_q15=np.zeros(n, dtype=np.uint16),
            macs=np.zeros(n, dtype=np.uint64),
        )
        pointers_in = ffi.new("void *[]", [_pointer(array) for array in arrays])
        pointers_out = ffi.new("void *[]", [_pointer(array) for array in result.outputs])
        batch = ffi.new("jlt_batch_t *")
        batch.n = n
        batch.path = self.path_index(path)
        batch.depth = self.depth_index(depth)
        batch.inputs = ffi.cast("void const * const *", pointers_in)
        batch.outputs = ffi.cast("void * const *", pointers_out)
        batch.exits = ffi.cast("uint8_t *", result.exit.ctypes.data)
        batch.confidences_q15 = ffi.cast("uint16_t *", result.confidence_q15.ctypes.data)
        batch.macs = ffi.cast("uint64_t *", result.macs.ctypes.data)
        batch.staging = self._staging_c
        keep = (self, arrays, result, pointers_in, pointers_out)
        return Prepared(self._engine, batch, keep, result), result


def _pointer(array: Array) -> Any:
    return ffi.cast("void *", array.ctypes.data)

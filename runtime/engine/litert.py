# SPDX-License-Identifier: Apache-2.0
"""Plain .tflite models through LiteRT, behind the same seam: one, or a ladder of several as operating points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from joulet.engine.seam import Array, Depth, ExitEvent, InferResult, TensorInfo
from joulet.errors import DataError, EngineError, MalformedModelError, MissingDependencyError, UsageError


class LiteRTEngine:
    """A .tflite file on LiteRT (XNNPACK): one precision, one exit, constant confidence.

    Parameters
    ----------
    model : bytes or Path
        The .tflite file.
    threads : int
        XNNPACK threads.
    """

    def __init__(self, model: bytes | Path, *, threads: int = 1) -> None:
        make = _interpreter()
        data = model.read_bytes() if isinstance(model, Path) else bytes(model)
        try:
            self._interpreter = make(model_content=data, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise MalformedModelError(f"LiteRT refuses the model: {reason}; give a plain .tflite file") from error
        self.inputs = tuple(_info(detail) for detail in self._interpreter.get_input_details())
        self.outputs = tuple(_info(detail) for detail in self._interpreter.get_output_details())
        self._in = [int(detail["index"]) for detail in self._interpreter.get_input_details()]
        self._out = [int(detail["index"]) for detail in self._interpreter.get_output_details()]
        self.exit_names = ("last",)
        self.path_names = ("tflite",)
        self.model_hash = hashlib.sha256(data).hexdigest()

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        """Run a batch sample by sample; see :meth:`joulet.engine.seam.Engine.infer`. MACs are not known: 0."""
        if path not in (0, "tflite") or depth not in ("last", "auto", 0):
            raise UsageError("a plain .tflite model has one precision and one exit: leave out --precision and --depth")
        if len(inputs) != len(self.inputs):
            raise DataError(f"the model has {len(self.inputs)} inputs, {len(inputs)} arrays were given")
        n = len(inputs[0])
        for index, (array, info) in enumerate(zip(inputs, self.inputs, strict=True)):
            size = int(np.prod(info.shape, dtype=np.int64))
            if n == 0 or len(array) != n or array.dtype != info.dtype or array.size != n * size:
                raise DataError(
                    f"input_{index} ({info.name}): got {array.dtype} {array.shape}, "
                    f"needs {info.dtype} with {size} elements a sample and at least one sample"
                )
        rows: list[list[Array]] = [[] for _ in self.outputs]
        for sample in range(n):
            for index, array, info in zip(self._in, inputs, self.inputs, strict=True):
                self._interpreter.set_tensor(index, array[sample].reshape(info.shape))
            self._interpreter.invoke()
            for index, row in zip(self._out, rows, strict=True):
                row.append(np.array(self._interpreter.get_tensor(index)))
        outputs = tuple(
            np.stack(row).reshape(n, *(info.shape[1:] if info.shape[:1] == (1,) else info.shape))
            for row, info in zip(rows, self.outputs, strict=True)
        )
        return InferResult(
            outputs=outputs,
            exit=np.zeros(n, dtype=np.uint8),
            confidence_q15=np.full(n, 32767, dtype=np.uint16),
            macs=np.zeros(n, dtype=np.uint64),
        )


def _interpreter() -> Any:
    """Return the class of LiteRT, else of its predecessor tflite-runtime, whose last release needs numpy 1.

    Raises
    ------
    MissingDependencyError
        If neither is installed, or the latter beside numpy 2, with which it fails on its first array.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        try:
            from tflite_runtime.interpreter import Interpreter as Legacy
        except ImportError:
            raise MissingDependencyError("the litert engine needs LiteRT: pip install 'joulet[tflite]'") from error
        if int(np.__version__.partition(".")[0]) >= 2:
            raise MissingDependencyError(
                f"tflite-runtime does not work with numpy {np.__version__}: pip install 'numpy<2', or 'joulet[tflite]' instead"
            ) from error
        return Legacy
    return Interpreter


class LiteRTLadder:
    """Several .tflite files for one task, each an operating point: a path named after its file, with one exit.

    With several numbers of threads each file is several paths: ``small/1t``, ``small/2t``.

    Parameters
    ----------
    models : sequence of Path
        The files; their inputs must be the same, their outputs of one shape and type. There must be two operating points or
        more.
    threads : int or sequence of int
        XNNPACK threads of each.

    Raises
    ------
    UsageError
        For fewer than two points, two files of one name, or files that do not take and give the same.
    """

    def __init__(self, models: Sequence[Path], *, threads: int | Sequence[int] = 1) -> None:
        numbers = (threads,) if isinstance(threads, int) else tuple(threads)
        names = [model.stem for model in models]
        if len(models) * len(numbers) < 2 or len(set(names)) != len(names):
            raise UsageError("a ladder needs two or more .tflite files of different names, separated by commas")
        self._rungs = []
        for model in models:
            try:
                self._rungs += [LiteRTEngine(model, threads=number) for number in numbers]
            except OSError as error:
                raise UsageError(f"cannot read '{model}': {error.strerror or error}; give a .tflite file") from error
        first = self._rungs[0]
        for model, rung in zip(models, self._rungs[:: len(numbers)], strict=True):
            _check_alike(models[0], first, model, rung)
        if len(numbers) > 1:
            names = [f"{name}/{number}t" for name in names for number in numbers]
        self.inputs, self.outputs = first.inputs, first.outputs
        self.exit_names = ("last",)
        self.path_names = tuple(names)
        self.model_hash = hashlib.sha256("".join(rung.model_hash for rung in self._rungs).encode()).hexdigest()
        self._running: tuple[int, list[Array]] | None = None
        self._answer: Array | None = None

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        """Run a batch on one file; see :meth:`joulet.engine.seam.Engine.infer`."""
        return self._rungs[self._index(path)].infer(inputs, depth=depth)

    def _index(self, path: int | str) -> int:
        if isinstance(path, str) and path in self.path_names:
            return self.path_names.index(path)
        if isinstance(path, int) and 0 <= path < len(self._rungs):
            return path
        raise UsageError(f"path {path!r}: this ladder has {', '.join(self.path_names)}")

    def start(self, inputs: Sequence[Array], path: int) -> None:
        """Take one sample; see :class:`joulet.engine.seam.SteppedEngine`."""
        self._running = (self._index(path), [np.asarray(x)[None] for x in inputs])
        self._answer = None

    def run_to_exit(self, exit: int) -> ExitEvent:
        """Run to the one exit there is."""
        if self._running is None or exit != 0:
            raise EngineError("a ladder has one exit, 0, and runs to it once after start")
        path, arrays = self._running
        result = self._rungs[path].infer(arrays)
        self._answer = result.outputs[0][0]
        return ExitEvent(exit=0, confidence_q15=int(result.confidence_q15[0]), macs=int(result.macs[0]))

    def switch(self, path: int) -> None:
        """Refuse: nothing that one network has computed is of use to another."""
        raise EngineError("the files of a ladder share nothing: a path is chosen at the start")

    def answer(self) -> Array:
        """Return output 0 of the sample."""
        if self._answer is None:
            raise EngineError("there is no answer yet; run to an exit first")
        return self._answer


def _check_alike(first: Path, one: LiteRTEngine, other: Path, two: LiteRTEngine) -> None:
    same_inputs = [(i.shape, i.dtype, i.scale, i.zero_point) for i in one.inputs] == [
        (i.shape, i.dtype, i.scale, i.zero_point) for i in two.inputs
    ]
    same_outputs = [(o.shape, o.dtype) for o in one.outputs] == [(o.shape, o.dtype) for o in two.outputs]
    if not same_inputs or not same_outputs:
        what = "outputs" if same_inputs else "inputs"
        raise UsageError(
            f"'{other.name}' has other {what} than '{first.name}': a ladder's files take and give the same"
        )


def _info(detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    return TensorInfo(
        name=str(detail["name"]),
        shape=tuple(int(extent) for extent in detail["shape"]),
        dtype=np.dtype(detail["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )

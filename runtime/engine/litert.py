# SPDX-License-Identifier: Apache-2.0
"""A plain .tflite model through LiteRT, behind the same seam."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from joulet.engine.seam import Array, Depth, InferResult, TensorInfo
from joulet.errors import DataError, MalformedModelError, MissingDependencyError, UsageError


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
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingDependencyError("the litert engine needs LiteRT: pip install 'joulet[tflite]'") from error
        data = model.read_bytes() if isinstance(model, Path) else bytes(model)
        try:
            self._interpreter = Interpreter(model_content=data, num_threads=threads)
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


def _info(detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    return TensorInfo(
        name=str(detail["name"]),
        shape=tuple(int(extent) for extent in detail["shape"]),
        dtype=np.dtype(detail["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )

# SPDX-License-Identifier: Apache-2.0
"""What a container says of the outside of its model: inputs, outputs, exits and paths, and whether arrays fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.container import layout
from joulet.container.read import Container
from joulet.engine.seam import Array, Depth, TensorInfo
from joulet.errors import DataError, UsageError

AUTO = -1  # the depth that stops by confidence
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.int8), 2: np.dtype(np.int32), 3: np.dtype(np.float32)}
_U8 = layout.CODES["TensorFlag"]["BORDER_U8"]


class Borders:
    """The outside of a model.

    Attributes
    ----------
    container
        The decoded container.
    inputs, outputs
        Borders in their order.
    answers
        Output of each exit.
    exit_names, path_names
        As in the container.
    model_hash
        SHA-256 of the canonical part, hexadecimal.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self.inputs = tuple(self._info(int(i)) for i in self._indices("inputs"))
        self.outputs = tuple(self._info(int(i)) for i in self._indices("outputs"))
        self.answers = tuple(self._info(int(record["output"])) for record in container.exits)
        self.exit_names = tuple(str(each["name"]) for each in container.meta["exits"])
        self.path_names = tuple(
            str(each["name"] if isinstance(each, dict) else each) for each in container.meta["paths"]
        )
        self.model_hash = container.model_hash.hex()

    @property
    def n_exits(self) -> int:
        """Number of exits, 1 or more."""
        return len(self.exit_names)

    def path_index(self, path: int | str) -> int:
        """Return the index of a path given by index or name."""
        if isinstance(path, int):
            if not 0 <= path < len(self.path_names):
                raise UsageError(f"path {path} does not exist; this container has 0..{len(self.path_names) - 1}")
            return path
        if path not in self.path_names:
            raise UsageError(
                f"precision or path {path!r} is not in this container; choose from {', '.join(self.path_names)}"
            )
        return self.path_names.index(path)

    def new_outputs(self, n: int) -> list[Array]:
        """Return arrays for the answers of ``n`` samples, ``(n, *shape)`` without the model's own leading 1."""
        return [np.empty((n, *_sample_shape(info.shape)), dtype=info.dtype) for info in self.outputs]

    def _indices(self, name: str) -> npt.NDArray[np.uint16]:
        count = int(self.container.model[f"n_{name}"])
        borders: npt.NDArray[np.uint16] = self.container.model[name][:count]
        return borders

    def _info(self, index: int) -> TensorInfo:
        record = self.container.tensors[index]
        unsigned = bool(record["flags"] & _U8)
        return TensorInfo(
            name=str(self.container.meta["tensors"][index]),
            shape=tuple(int(extent) for extent in record["dims"][: record["rank"]]),
            dtype=np.dtype(np.uint8) if unsigned else _DTYPES[int(record["dtype"])],
            scale=float(record["scale"]),
            zero_point=int(record["zero_point"]) + (128 if unsigned else 0),
        )

    def depth_index(self, depth: Depth) -> int:
        """Return the exit that a depth means; AUTO for ``auto``."""
        if depth == "auto":
            return AUTO
        if depth == "last":
            return self.n_exits - 1
        if isinstance(depth, int) and 0 <= depth < self.n_exits:
            return depth
        raise UsageError(f"depth {depth!r} is neither 'last', 'auto' nor an exit from 0 to {self.n_exits - 1}")

    def check_inputs(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the arrays of a batch, C-contiguous.

        Raises
        ------
        DataError
            When an array has another dtype, another number of elements a sample, no samples, or is not finite.
        """
        if len(inputs) != len(self.inputs):
            raise DataError(f"the model has {len(self.inputs)} inputs, {len(inputs)} arrays were given")
        checked: list[Array] = []
        for index, (array, info) in enumerate(zip(inputs, self.inputs, strict=True)):
            name = f"input_{index} ({info.name})"
            array = np.asarray(array)
            if array.ndim == 0 or array.shape[0] == 0:
                raise DataError(f"{name}: no samples; the first axis counts them")
            if array.dtype != info.dtype:
                raise DataError(f"{name}: dtype is {array.dtype}, the model takes {info.dtype}")
            if array.size != array.shape[0] * _size(info.shape):
                per_sample = "×".join(map(str, info.shape))
                raise DataError(f"{name}: shape is {array.shape}, each sample must hold {per_sample} elements")
            if info.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{name}: holds NaN or infinity; clean the data first")
            checked.append(np.ascontiguousarray(array))
        if len({len(array) for array in checked}) > 1:
            raise DataError("the inputs hold different numbers of samples")
        return checked

    def check_outputs(self, out: Sequence[Array], n: int) -> tuple[Array, ...]:
        """Return the arrays that the answers of ``n`` samples can be written to."""
        if len(out) != len(self.outputs):
            raise DataError(f"the model has {len(self.outputs)} outputs, {len(out)} arrays were given")
        for index, (array, info) in enumerate(zip(out, self.outputs, strict=True)):
            fits = array.dtype == info.dtype and array.size == n * _size(info.shape)
            if not (fits and array.flags.c_contiguous and array.flags.writeable):
                raise DataError(
                    f"output_{index}: needs a writable C-contiguous {info.dtype} array of {n} × {_size(info.shape)} elements"
                )
        return tuple(out)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if shape and shape[0] == 1 else shape

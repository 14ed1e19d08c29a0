# SPDX-License-Identifier: Apache-2.0
"""Samples and labels from .npz files: foreign bytes, checked here once."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.engine.seam import Array, TensorInfo
from joulet.errors import DataError, UsageError


def load_inputs(path: Path, infos: Sequence[TensorInfo]) -> tuple[Array, ...]:
    """Read and check ``input_0…`` of an .npz file.

    Raises
    ------
    UsageError
        When the file cannot be read.
    DataError
        For missing or empty arrays, other shapes or types than the model's, or values that are not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"'{path}' is a single array; save it with np.savez(path, input_0=array)")
            arrays = tuple(_one_input(path, archive, index, info) for index, info in enumerate(infos))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise DataError(f"'{path}' is no .npz file of plain arrays ({error}); write it with np.savez") from error
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise DataError(f"'{path}': the inputs hold {sorted(counts)} samples; give the same number of each")
    return arrays


def _one_input(path: Path, archive: np.lib.npyio.NpzFile, index: int, info: TensorInfo) -> Array:
    name = f"input_{index}"
    if name not in archive.files:
        held = ", ".join(archive.files) or "nothing"
        raise DataError(f"'{path}' has no {name} (it holds {held}); add it for model input '{info.name}'")
    array: Array = archive[name]
    shape = info.shape[1:]
    wanted = f"(samples{''.join(f', {extent}' for extent in shape)}) {info.dtype}"
    if array.ndim == 0 or array.shape[1:] != tuple(shape):
        raise DataError(f"'{path}': {name} is {array.shape}, model input '{info.name}' wants {wanted}; reshape it")
    if array.dtype != info.dtype:
        advice = "convert it"
        if array.dtype.kind == "f" and info.dtype.kind in "iu":
            advice = f"quantise it: round(x / {info.scale:g}) + {info.zero_point}"
        raise DataError(f"'{path}': {name} is {array.dtype}, model input '{info.name}' wants {wanted}; {advice}")
    if not array.size:
        raise DataError(f"'{path}': {name} is empty, shape {array.shape}; give at least one sample")
    if array.dtype.kind == "f" and not np.isfinite(array.astype(np.float64)).all():
        bad = int(np.argmin(np.isfinite(array.astype(np.float64)).reshape(len(array), -1).all(axis=1)))
        raise DataError(f"'{path}': {name} has NaN or infinity in sample {bad}; clean the data")
    return np.ascontiguousarray(array)


def load_labels(path: Path, count: int) -> npt.NDArray[np.int64] | None:
    """Return ``labels`` of an .npz file, None where it holds none."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "labels" not in archive.files:
                return None
            labels = archive["labels"]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise DataError(f"'{path}': labels cannot be read ({error}); save integers with np.savez") from error
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(f"'{path}': labels are {labels.shape} {labels.dtype}; {count} samples need ({count},) integers")
    found: npt.NDArray[np.int64] = labels.astype(np.int64)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Calibration data: ``input_0``, ``input_1`` … with samples first, optional ``labels`` and ``groups``, checked."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.ir import DType, Graph
from joulet.quant.probe import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Arrays by graph tensor (int8 where the border is uint8), and the number of samples.

    ``labels`` and ``groups`` are ``(n,)`` or None; a group is who or what was recorded.
    """

    feeds: dict[int, Array]
    labels: npt.NDArray[np.int64] | None
    groups: npt.NDArray[np.int64] | None
    samples: int


def load_calibration(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file.

    Raises
    ------
    DataError
        For a file that cannot be read as .npz, or that holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise DataError(f"{path}: is a single array; save it with np.savez(path, input_0=…)")
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give an .npz with input_0 and optional labels") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a readable .npz ({error}); save it with np.savez(path, input_0=…)") from error


def check_calibration(
    graph: Graph, arrays: Mapping[str, Any], *, most: int | None = None, seed: int = 0
) -> Calibration:
    """Check arrays against a model and return them as the engine takes them.

    Parameters
    ----------
    graph
        The imported graph.
    arrays
        ``input_0`` … ``(n, *shape[1:])`` in the model's own dtype; ``labels`` ``(n,)`` integers; ``groups`` ``(n,)``
        integers or strings.
    most
        Samples to keep, drawn without replacement in file order by ``seed``; all when None.
    seed
        Of that draw.

    Raises
    ------
    DataError
        Naming the array, what it is and what it should be.
    """
    feeds: dict[int, Array] = {}
    samples = -1
    for position, index in enumerate(graph.inputs):
        name = f"input_{position}"
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(
                f"calibration data: {name} is missing (found {found}); the model has {len(graph.inputs)} inputs"
            )
        feeds[index] = _checked_input(graph, index, name, np.asarray(arrays[name]))
        if samples not in (-1, len(feeds[index])):
            raise DataError(f"calibration data: {name} has {len(feeds[index])} samples, input_0 has {samples}")
        samples = len(feeds[index])
    labels = _checked_labels(arrays["labels"], samples) if "labels" in arrays else None
    groups = _checked_groups(arrays["groups"], samples) if "groups" in arrays else None
    if most is not None and samples > most:
        kept = np.sort(np.random.default_rng(seed).permutation(samples)[:most])
        feeds = {t: a[kept] for t, a in feeds.items()}
        labels = labels[kept] if labels is not None else None
        groups = groups[kept] if groups is not None else None
        samples = most
    return Calibration(feeds=feeds, labels=labels, groups=groups, samples=samples)


def _checked_input(graph: Graph, index: int, name: str, array: Array) -> Array:
    tensor = graph.tensors[index]
    shape = tensor.shape[1:]
    border = np.dtype(tensor.border or tensor.dtype.value)
    if array.ndim == 0 or array.shape[1:] != shape:
        want = ", ".join(["n", *map(str, shape)])
        raise DataError(f"calibration data: {name} has shape {array.shape}; the model takes ({want})")
    if len(array) == 0:
        raise DataError(f"calibration data: {name} has no samples; give at least one")
    if tensor.dtype is DType.F32 and array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype != border:
        raise DataError(f"calibration data: {name} is {array.dtype}; the model takes {border}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"calibration data: {name} holds NaN or infinity; remove those samples")
    if border == np.uint8 and tensor.dtype is DType.S8:
        return (array ^ 0x80).view(np.int8)
    return array


def _checked_labels(labels: Any, samples: int) -> npt.NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"calibration data: labels are {labels.dtype} {labels.shape}; give {samples} integers, one class a sample"
        )
    if labels.min(initial=0) < 0:
        raise DataError(f"calibration data: labels hold {labels.min()}; classes start at 0")
    return np.asarray(labels, np.int64)


def _checked_groups(groups: Any, samples: int) -> npt.NDArray[np.int64]:
    groups = np.asarray(groups)
    if groups.shape != (samples,) or groups.dtype.kind not in "iuUS":
        raise DataError(
            f"calibration data: groups are {groups.dtype} {groups.shape}; give {samples} integers or strings, one a sample"
        )
    found, member = np.unique(groups, return_inverse=True)
    if len(found) < 2:
        raise DataError("calibration data: groups are all the same; leave them out or give two or more")
    return np.asarray(member, np.int64)

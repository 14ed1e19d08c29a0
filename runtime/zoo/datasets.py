# SPDX-License-Identifier: Apache-2.0
"""Datasets of the zoo as the models take them: ``calibration`` and ``test``, which share no speaker, person or patient.

A loader reads a folder that the user has, checks what it finds, and never writes.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError, UsageError
from joulet.zoo import ecg

SPLITS = ("calibration", "test")
_PER_ECTOPIC = 4  # other beats for each ectopic one in the calibration set


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """``x`` int8 ``(n, *shape)``, classes ``y`` ``(n,)``, who or what was recorded ``groups`` ``(n,)`` or None.

    ``sha256`` is over the arrays, so that a measurement can say what it was made on.
    """

    x: npt.NDArray[np.int8]
    y: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64] | None

    @property
    def sha256(self) -> str:
        """Of inputs and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.x).tobytes())
        digest.update(np.ascontiguousarray(self.y).tobytes())
        return digest.hexdigest()


def load_split(loader: str, folder: Path | None, split: str) -> Split:
    """Return one split of a dataset.

    Parameters
    ----------
    loader
        Name in :data:`LOADERS`.
    folder
        Where the data is; None for data that a package brings.
    split
        ``calibration`` or ``test``.

    Raises
    ------
    DataError
        For data that is missing, cut short, or not what the format says.
    UsageError
        Without a folder where one is needed.
    """
    if loader not in LOADERS:
        raise DataError(f"no loader {loader!r}; there are {', '.join(LOADERS)}")
    if split not in SPLITS:
        raise UsageError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    return LOADERS[loader](folder, split)


def _need(folder: Path | None) -> Path:
    if folder is None:
        raise UsageError("this dataset is not downloaded here: give the folder that holds it, --from DIR")
    if not folder.is_dir():
        raise UsageError(f"--from {folder}: is no folder")
    return folder


def _find(folder: Path, *names: str) -> Path:
    """Return the first of ``names`` in a folder or one below it."""
    for name in names:
        for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
            if (place / name).is_file():
                return place / name
    raise DataError(f"'{folder}': holds no {' or '.join(names)}; joulet zoo show says what is needed")


def _holder(folder: Path, *patterns: str) -> Path:
    """Return the folder with a file like one of ``patterns``: the given one, or one below it; the given one where none has."""
    places = (folder, *sorted(p for p in folder.iterdir() if p.is_dir()))
    return next((place for place in places for pattern in patterns if any(place.glob(pattern))), folder)


def arrays(path: Path, wanted: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of an .npz, each checked: ``name: (kinds of dtype, shape after the first axis)``, of one length."""
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted(set(wanted) - set(file.files))
            if missing:
                raise DataError(f"'{path}': has no {', '.join(missing)}; it is not the file this loader reads")
            found = {name: file[name] for name in wanted}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"'{path}': is no readable .npz ({error}); fetch it again") from error
    lengths = set()
    for name, (kinds, shape) in wanted.items():
        value = found[name]
        if value.dtype.kind not in kinds or value.shape[1:] != shape or value.ndim < 1:
            text = ", ".join(["n", *map(str, shape)])
            raise DataError(f"'{path}': {name} is {value.dtype}{list(value.shape)}; ({text}) of kind {kinds} is needed")
        lengths.add(len(value))
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(
            f"'{path}': {', '.join(wanted)} have {sorted(lengths)} rows; as many of each are needed, not none"
        )
    return found


def _classes(path: Path, y: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    if y.min() < 0 or y.max() >= count:
        raise DataError(f"'{path}': labels run from {y.min()} to {y.max()}; 0 to {count - 1} are needed")
    return y.astype(np.int64)


def _speech(folder: Path | None, split: str) -> Split:
    """Speech commands as the MLPerf Tiny model's int8 MFCC: speakers are halved by the CRC of their name."""
    path = _find(_need(folder), "mfcc.npz")
    found = arrays(path, {"mfcc_int8": ("i", (49, 10)), "y": ("iu", ()), "names": ("U", ())})
    if found["mfcc_int8"].dtype != np.int8:
        raise DataError(f"'{path}': mfcc_int8 is {found['mfcc_int8'].dtype}, int8 is needed")
    speakers = [str(name).replace("\\", "/").rsplit("/", 1)[-1].split("_nohash_")[0] for name in found["names"]]
    number = np.asarray([zlib.crc32(s.encode()) for s in speakers], np.int64)
    mine = (number % 2 == 0) == (split == "calibration")
    if not mine.any():
        raise DataError(f"'{path}': has no speakers for the split {split}")
    y = _classes(path, found["y"], 12)
    return Split(x=found["mfcc_int8"][mine][..., None].astype(np.int8), y=y[mine], groups=number[mine])


def _cifar(folder: Path | None, split: str) -> Split:
    """CIFAR-10: ``train.npz`` and ``test.npz`` with x and y, or the binary version's ``data_batch_1.bin`` …"""
    name = "train" if split == "calibration" else "test"
    place = _need(folder)
    packed = [p for p in (place / f"{name}.npz", place / "cifar10" / f"{name}.npz") if p.is_file()]
    if packed:
        found = arrays(packed[0], {"x": ("u", (32, 32, 3)), "y": ("iu", ())})
        x, y = found["x"], _classes(packed[0], found["y"], 10)
    else:
        path = _find(place, "data_batch_1.bin" if split == "calibration" else "test_batch.bin")
        raw = np.fromfile(path, np.uint8)
        if len(raw) == 0 or len(raw) % 3073:
            raise DataError(f"'{path}': has {len(raw)} bytes, records are 3,073 each: it is cut short; fetch it again")
        rows = raw.reshape(-1, 3073)
        x, y = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), _classes(path, rows[:, 0], 10)
    most = 2000 if split == "calibration" else len(x)
    return Split(x=(x[:most].astype(np.int16) - 128).astype(np.int8), y=y[:most], groups=None)


def _mitbih(folder: Path | None, split: str) -> Split:
    """Heartbeats: calibration is every ectopic beat of the training and calibration patients, and some others."""
    place = _holder(_need(folder), "ecg.npz", "*.hea")
    if split == "test":
        beats = ecg.load_beats(place, "test")
        return Split(x=beats.x, y=beats.y, groups=beats.patient)
    parts = [ecg.load_beats(place, name) for name in ("train", "calibration")]
    x = np.concatenate([p.x for p in parts])
    y = np.concatenate([p.y for p in parts])
    patient = np.concatenate([p.patient for p in parts])
    rng = np.random.default_rng(0)
    ectopic, other = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    if len(ectopic) == 0 or len(other) == 0:
        raise DataError(f"'{place}': has beats of one kind only; give the whole dataset")
    kept = np.sort(np.concatenate([ectopic, rng.permutation(other)[: _PER_ECTOPIC * len(ectopic)]]))
    return Split(x=x[kept], y=y[kept], groups=patient[kept])


def _watch(folder: Path | None, split: str) -> Split:
    """Smartwatch exercises, from the package seglearn."""
    from joulet.demo.watch import load_windows

    if folder is not None:
        raise UsageError("these recordings come with the package seglearn; leave out --from")
    windows = load_windows(split)
    return Split(x=windows.x, y=windows.y, groups=windows.subject)


LOADERS: dict[str, Callable[[Path | None, str], Split]] = {
    "speech-commands-mfcc": _speech,
    "cifar10": _cifar,
    "mitbih": _mitbih,
    "seglearn-watch": _watch,
}

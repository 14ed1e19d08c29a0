# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of the MIT-BIH Arrhythmia Database: one lead, a window around each beat, ectopic or not, split by patient.

Reads PhysioNet's own files (``100.hea``, ``100.dat``, ``100.atr`` …) or one ``ecg.npz`` with ``records``, and for each
record ``ecg_R`` int16 (first signal, 5 uV a step), ``r_R`` beats [samples] and ``pvc_R`` flags. The split was fixed
before the first training.

Source: G. B. Moody, R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. in Med. and Biol. 20 (2001);
file formats: WFDB Applications Guide, signal(5) and annot(5).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError

RATE_HZ = 360
DECIMATION = 3
WINDOW = 192  # 1.6 s at 120 Hz
BEFORE = 112  # of them before the beat: room for the beat before it
INPUT_SCALE = 1.0 / 24.0
LABELS = ("other beat", "premature ventricular contraction")
PATIENTS = {
    "train": ("100", "102", "105", "119", "121"),
    "calibration": ("108", "123"),
    "test": ("104", "116"),
}
_BEATS = frozenset((*range(1, 14), 25, 30, 34, 35, 38))
_PVC = 5
_MAX_SAMPLES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EcgRecord:
    """One record: ``signal`` int16 ``(t,)`` at 360 Hz [5 uV], ``beats`` ``(n,)`` [samples], ``pvc`` bool ``(n,)``."""

    name: str
    signal: npt.NDArray[np.int16]
    beats: npt.NDArray[np.int64]
    pvc: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beats:
    """Windows as the model takes them: ``x`` int8 ``(n, 1, 192, 1)``; ``y``, ``patient`` ``(n,)``."""

    x: npt.NDArray[np.int8]
    y: npt.NDArray[np.int64]
    patient: npt.NDArray[np.int64]


def load_records(folder: Path, names: tuple[str, ...]) -> tuple[EcgRecord, ...]:
    """Return records of a folder.

    Raises
    ------
    DataError
        If a record is missing, cut short, or not what its format says.
    """
    packed = folder / "ecg.npz"
    if packed.is_file():
        return _from_npz(packed, names)
    return tuple(_from_wfdb(folder, name) for name in names)


def _from_npz(path: Path, names: tuple[str, ...]) -> tuple[EcgRecord, ...]:
    found = []
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in names:
                keys = [f"{kind}_{name}" for kind in ("ecg", "r", "pvc")]
                missing = [key for key in keys if key not in file.files]
                if missing:
                    raise DataError(f"'{path}': has no {missing[0]}; give a folder with the whole dataset")
                found.append(_checked(path, name, *(file[key] for key in keys)))
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}': is no readable .npz ({error}); fetch it again") from error
    return tuple(found)


def _checked(
    path: Path, name: str, signal: npt.NDArray[np.generic], beats: npt.NDArray[np.generic], pvc: npt.NDArray[np.generic]
) -> EcgRecord:
    whole = signal.ndim == beats.ndim == 1 and beats.shape == pvc.shape and len(beats) > 0
    if not whole or signal.dtype != np.int16 or beats.dtype.kind not in "iu" or pvc.dtype.kind not in "iub":
        raise DataError(
            f"'{path}': record {name} has {signal.dtype}{list(signal.shape)}, {beats.dtype}{list(beats.shape)} and "
            f"{pvc.dtype}{list(pvc.shape)}; int16 samples, integer beats and as many flags are needed"
        )
    at = beats.astype(np.int64)
    if at.min() < 0 or at.max() >= len(signal) or (np.diff(at) < 0).any():
        raise DataError(f"'{path}': record {name} has beats outside its {len(signal)} samples, or out of order")
    return EcgRecord(name=name, signal=signal.astype(np.int16), beats=at, pvc=pvc.astype(bool))


def _from_wfdb(folder: Path, name: str) -> EcgRecord:
    header = _read(folder / f"{name}.hea").decode("ascii", errors="replace").splitlines()
    lines = [line.split() for line in header if line.strip() and not line.startswith("#")]
    try:
        _, signals, rate, samples = lines[0][:4]
        file, form, gain = lines[1][:3]
        zero = int(lines[1][4])
        count, n_signals = int(samples), int(signals)
        known = (form, n_signals, float(rate.split("/")[0]), float(gain.split("(")[0].split("/")[0]))
    except (ValueError, IndexError) as error:
        raise DataError(f"'{folder / name}.hea': is no WFDB header of a record with two signals") from error
    if known != ("212", 2, float(RATE_HZ), 200.0) or file != f"{name}.dat" or not 0 < count < _MAX_SAMPLES:
        raise DataError(f"'{folder / name}.hea': two signals in format 212 at 360 Hz and 200 steps a mV are needed")
    data = np.frombuffer(_read(folder / file), np.uint8)
    if len(data) != 3 * count:
        raise DataError(
            f"'{folder / file}': has {len(data)} bytes, {count} pairs of samples need {3 * count}; fetch it again"
        )
    triple = data.reshape(-1, 3).astype(np.int16)
    first = triple[:, 0] | (triple[:, 1] & 0x0F) << 8
    first = np.where(first >= 2048, first - 4096, first) - zero
    beats, codes = _annotations(folder / f"{name}.atr")
    return _checked(folder / f"{name}.atr", name, first.astype(np.int16), beats, codes == _PVC)


def _annotations(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return times and codes of the beats of a WFDB annotation file."""
    data = _read(path)
    words = np.frombuffer(data[: len(data) & ~1], "<u2")
    times: list[int] = []
    codes: list[int] = []
    now = i = 0
    while i < len(words):
        code, step = int(words[i]) >> 10, int(words[i]) & 0x3FF
        i += 1
        if code == 0 and step == 0:
            return np.asarray(times, np.int64), np.asarray(codes, np.int64)
        if code == 59:  # a long step: four bytes, high half first
            if i + 2 > len(words):
                break
            long = int(words[i]) << 16 | int(words[i + 1])
            now += long - (1 << 32) if long >= 1 << 31 else long
            i += 2
        elif code == 63:  # text
            i += (step + 1) // 2
        elif code not in (60, 61, 62):
            now += step
            if code in _BEATS:
                times.append(now)
                codes.append(code)
    raise DataError(f"'{path}': ends in the middle of an annotation; fetch it again")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read '{path}': {error.strerror}; give the folder of the MIT-BIH files, or of ecg.npz"
        ) from error


def quantise_window(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return windows ``(n, 192)`` as the model takes them: mean 0, deviation 1 each, on the int8 grid."""
    centred = signal - signal.mean(axis=-1, keepdims=True)
    real = centred / np.maximum(centred.std(axis=-1, keepdims=True), 1e-3)
    q: npt.NDArray[np.int8] = np.clip(np.rint(real / np.float32(INPUT_SCALE)), -128, 127).astype(np.int8)
    return q


def cut(record: EcgRecord, shift: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
    """Return ``(n, 192)`` windows at 120 Hz around the beats that have one, each moved by ``shift`` samples at 120 Hz."""
    slow = record.signal[: len(record.signal) // DECIMATION * DECIMATION].reshape(-1, DECIMATION)
    slow_f = slow.astype(np.float32).mean(axis=1)
    start = record.beats[whole(record)] // DECIMATION - BEFORE
    start = start if shift is None else start + shift
    start = np.clip(start, 0, len(slow_f) - WINDOW)
    windows: npt.NDArray[np.float32] = slow_f[start[:, None] + np.arange(WINDOW)]
    return windows


def whole(record: EcgRecord) -> npt.NDArray[np.bool_]:
    """Return which beats have a whole window."""
    at = record.beats // DECIMATION
    fits: npt.NDArray[np.bool_] = (at >= BEFORE) & (at + WINDOW - BEFORE <= len(record.signal) // DECIMATION)
    return fits


def load_beats(folder: Path, split: str) -> Beats:
    """Return the windows of the patients of ``train``, ``calibration`` or ``test``."""
    records = load_records(folder, PATIENTS[split])
    x = [quantise_window(cut(r)) for r in records]
    y = [r.pvc[whole(r)].astype(np.int64) for r in records]
    patient = [np.full(len(labels), int(r.name), np.int64) for r, labels in zip(records, y, strict=True)]
    return Beats(
        x=np.concatenate(x)[:, None, :, None], y=np.concatenate(y), patient=np.concatenate(patient)
    )  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Labelled data of two MLPerf Tiny tasks, from folders in the layouts that their owners ship; nothing of it is here.

Visual wake words: ``person/*.jpg`` and ``non_person/*.jpg``, 96 × 96 (vw_coco2014_96). Half of the images calibrate, by the CRC-32
of their names. Anomaly detection: ``train/*.wav`` and ``test/*.wav`` of one machine (ToyADMOS ToyCar, 16 kHz, 16 bits, one
channel), ``normal_id_01_….wav`` and ``anomaly_id_01_….wav``; clips of train/ calibrate.
"""

from __future__ import annotations

import re
import wave
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulet.errors import DataError, UsageError

SIDE = 96
_RATE, _POINTS, _HOP, _BANDS, _FRAMES = 16_000, 1024, 512, 128, 5
_FIRST, _LAST = 50, 250  # frames that are looked at: the middle of a clip of ten seconds or more
_CLIP = re.compile(r"(normal|anomaly)_(id_\d+)_")


def _files(folder: Path, *suffixes: str) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes) if folder.is_dir() else []
    if not found:
        raise DataError(f"'{folder}': holds no {' or '.join(suffixes)}; see the layout in {Path(__file__).name}")
    return found


def images(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images ``(n, 96, 96, 3)`` int8, classes ``(n,)`` (1: a person), and which of them calibrate ``(n,)``."""
    paths = [(p, k) for k, name in enumerate(("non_person", "person")) for p in _files(folder / name, ".jpg", ".png")]
    x = np.stack([_image(path) for path, _ in paths])
    fit = np.array([zlib.crc32(path.name.encode()) % 2 == 0 for path, _ in paths])
    if fit.all() or not fit.any():
        raise DataError(f"'{folder}': {len(paths)} images are too few to calibrate on some and to judge others")
    return x, np.array([label for _, label in paths]), fit


def _image(path: Path) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise UsageError("images need Pillow: pip install pillow") from error
    try:
        with Image.open(path) as file:
            pixels = np.asarray(file.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"'{path}': is no readable image ({error}); fetch it again") from error
    if pixels.shape != (SIDE, SIDE, 3):
        raise DataError(f"'{path}': is {pixels.shape[1]} × {pixels.shape[0]}; vw_coco2014_96 has {SIDE} × {SIDE}")
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    """Return mels by M. Slaney (Auditory Toolbox, 1998): linear below 1 kHz, 27 steps for each factor of 6.4 above."""
    f = np.asarray(hertz, np.float64)
    return np.where(f < 1000.0, 3.0 * f / 200.0, 15.0 + 27.0 * np.log(np.maximum(f, 1.0) / 1000.0) / np.log(6.4))


def _hertz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15.0, 200.0 * mels / 3.0, 1000.0 * 6.4 ** ((mels - 15.0) / 27.0))


def mel_bands() -> np.ndarray:
    """Return triangular bands equally wide in Slaney's mel, each of area 1 over frequency, ``(513, 128)``."""
    edges = _hertz(np.linspace(0.0, _mel(_RATE / 2), _BANDS + 2))
    f = np.fft.rfftfreq(_POINTS, 1 / _RATE)[:, None]
    up = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down)) * 2.0 / (edges[2:] - edges[:-2])


def windows(pcm: np.ndarray) -> np.ndarray:
    """Return five frames of log-mel in a row, from the middle of a clip, ``(n, 640)`` in dB: the features of MLPerf Tiny."""
    wide = np.pad(pcm.astype(np.float64) / 32768, _POINTS // 2)
    frames = np.lib.stride_tricks.sliding_window_view(wide, _POINTS)[::_HOP][_FIRST:_LAST]
    power = np.abs(np.fft.rfft(frames * np.hanning(_POINTS + 1)[:-1], axis=1)) ** 2
    levels = 10 * np.log10(np.maximum(power @ mel_bands(), np.finfo(np.float64).eps))
    return np.lib.stride_tricks.sliding_window_view(levels.reshape(-1), _FRAMES * _BANDS)[::_BANDS]


def _pcm(path: Path) -> np.ndarray:
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (wave.Error, EOFError, ValueError) as error:
        raise DataError(f"'{path}': is no readable .wav ({error}); fetch it again") from error
    if form != (1, 2, _RATE):
        raise DataError(
            f"'{path}': has {form[0]} channels of {8 * form[1]} bits at {form[2]} Hz; 1 of 16 at {_RATE} is needed"
        )
    least = (_FIRST + _FRAMES) * _HOP
    if len(pcm) < least:
        raise DataError(f"'{path}': {len(pcm) / _RATE:.2f} s are too short; {least / _RATE:.2f} s or more are needed")
    return pcm


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """``x`` float ``(n, 640)``, the clip of each row ``(n,)``; of each clip its machine and whether it is abnormal."""

    x: np.ndarray
    clip: np.ndarray
    machines: tuple[str, ...]
    abnormal: np.ndarray


def clips(folder: Path, *, most: int | None = None) -> Clips:
    """Return the windows of a folder's clips; ``most``: of so many, evenly chosen."""
    paths = _files(folder, ".wav")
    paths = paths if most is None else paths[:: max(1, len(paths) // most)]
    named = [_CLIP.match(path.name) for path in paths]
    for path, name in zip(paths, named, strict=True):
        if name is None:
            raise DataError(f"'{path}': is not named as normal_id_01_….wav or anomaly_id_01_….wav")
    rows = [windows(_pcm(path)) for path in paths]
    return Clips(
        x=np.concatenate(rows),
        clip=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        machines=tuple(name[2] for name in named if name),
        abnormal=np.array([name[1] == "anomaly" for name in named if name]),
    )


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive's score is above a negative's, equal ones counted half."""
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        raise DataError("an AUC needs normal and abnormal clips; give the folder whole")
    gaps = above[:, None] - below[None, :]
    return float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())


def auc_by_machine(errors: np.ndarray, found: Clips) -> dict[str, float]:
    """Return the AUC of each machine and their ``mean``; a clip's score is the mean error of its windows."""
    scores = np.bincount(found.clip, weights=errors) / np.bincount(found.clip)
    machines = np.array(found.machines)
    each = {str(m): auc(scores[machines == m], found.abnormal[machines == m]) for m in np.unique(machines)}
    return {**each, "mean": float(np.mean(list(each.values())))}

# SPDX-License-Identifier: Apache-2.0
"""Smartwatch windows for the demo: 140 recordings of seven shoulder exercises by ten people.

The recordings come with the ``seglearn`` package (BSD): accelerometer and gyroscope on the wrist, 50 Hz. They are
split by *person*, so no one who moves in the test set was seen in training or calibration. The split was fixed
before the first training run.

Source: D. M. Burns et al., "Shoulder physiotherapy exercise recognition", Physiological Measurement 39 (2018).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import MissingDependencyError, UsageError

WINDOW = 128
SAMPLE_RATE_HZ = 50
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
LABELS = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
)
# One quantisation serves all six channels: acceleration in g as it is, rotation in units of 2 rad/s.
CHANNEL_GAIN = (1.0, 1.0, 1.0, 0.5, 0.5, 0.5)
INPUT_SCALE = 1.0 / 32.0
INPUT_ZERO_POINT = 0
SUBJECTS = {"train": (1, 2, 3, 4, 5, 6), "calibration": (7, 8), "test": (9, 10)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One exercise set of one person: ``signal`` ``(t, 6)`` [g, 2 rad/s], ``label`` indexes :data:`LABELS`."""

    signal: npt.NDArray[np.float32]
    label: int
    subject: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchWindows:
    """Windows as the model takes them: ``x`` int8 ``(n, 1, 128, 6)``; ``y``, ``subject``, ``recording`` ``(n,)``."""

    x: npt.NDArray[np.int8]
    y: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]
    recording: npt.NDArray[np.int64]


def _load_watch() -> dict[str, Any]:
    # The file is read where seglearn keeps it: importing seglearn also imports scikit-learn and pandas (which it does
    # not declare), seconds and packages that these arrays do not need. It is as trusted as any installed package.
    spec = importlib.util.find_spec("seglearn")
    path = Path(spec.origin).parent / "data" / "watch_dataset.npy" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            "the demo's smartwatch recordings come with the package seglearn, which is not installed; "
            "run: pip install 'joulet[demo]'"
        )
    content: dict[str, Any] = np.load(path, allow_pickle=True).item()
    return content


def load_recordings(split: str) -> tuple[Recording, ...]:
    """Return the recordings of ``train``, ``calibration`` or ``test``, in the package's order.

    Raises
    ------
    UsageError
        If there is no such split.
    MissingDependencyError
        If ``seglearn``, which carries the recordings, is not installed.
    """
    if split not in SUBJECTS:
        raise UsageError(f"no split {split!r} of the smartwatch recordings; choose one of {', '.join(SUBJECTS)}")
    watch = _load_watch()
    gain = np.asarray(CHANNEL_GAIN, dtype=np.float32)
    rows = zip(watch["X"], watch["y"], watch["subject"], strict=True)
    return tuple(
        Recording(signal=np.asarray(x, dtype=np.float32) * gain, label=int(y), subject=int(subject), index=index)
        for index, (x, y, subject) in enumerate(rows)
        if int(subject) in SUBJECTS[split]
    )


def quantise_window(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Return ``signal`` (scaled by :data:`CHANNEL_GAIN`) as the model's int8 input."""
    q = np.round(signal / np.float32(INPUT_SCALE)) + INPUT_ZERO_POINT
    result: npt.NDArray[np.int8] = np.clip(q, -128, 127).astype(np.int8)
    return result


def load_windows(split: str, *, hop: int = 64) -> WatchWindows:
    """Return every window of ``split``: 128 samples (2.56 s), a new one each ``hop`` samples."""
    x, y, subject, index = [], [], [], []
    for recording in load_recordings(split):
        for start in range(0, len(recording.signal) - WINDOW + 1, hop):
            x.append(quantise_window(recording.signal[start : start + WINDOW]))
            y.append(recording.label)
            subject.append(recording.subject)
            index.append(recording.index)
    return WatchWindows(
        x=np.ascontiguousarray(np.stack(x)[:, None]),
        y=np.asarray(y, dtype=np.int64),
        subject=np.asarray(subject, dtype=np.int64),
        recording=np.asarray(index, dtype=np.int64),
    )

# SPDX-License-Identifier: Apache-2.0
"""The MFCC front end in C, fed with PCM in pieces of any size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.errors import DataError
from joulet.front.mfcc import Grid

FRAME = np.dtype([("c_q7", np.int16, (10,)), ("peak", np.int16)])  # jlt_mfcc_frame_t
FrameRows = npt.NDArray[np.void]


class MfccStream:
    """A ``jlt_mfcc_t``: takes PCM as it comes, gives a frame every 320 samples once 480 are in."""

    def __init__(self) -> None:
        self._state = ffi.new("jlt_mfcc_t *")
        lib.jlt_mfcc_begin(self._state)

    @property
    def peak(self) -> int:
        """Largest sample since the beginning; -32768 before the first."""
        return int(self._state.peak)

    def begin(self) -> None:
        """Forget all samples."""
        lib.jlt_mfcc_begin(self._state)

    def take(self, pcm: npt.NDArray[np.int16]) -> FrameRows:
        """Take a piece of PCM and return the frames that it completes.

        Parameters
        ----------
        pcm : ndarray
            ``(samples,)`` int16, 16 kHz; any number of them.

        Returns
        -------
        ndarray
            ``(frames,)`` of :data:`FRAME`.

        Raises
        ------
        DataError
            Another type or shape.
        """
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise DataError(f"PCM of type {pcm.dtype} and shape {pcm.shape}: the front end takes int16 (samples,)")
        pcm = np.ascontiguousarray(pcm)
        rows = np.zeros(len(pcm) // lib.JLT_MFCC_STRIDE + 2, FRAME)  # one never filled, or the rest would be left
        piece = ffi.new("jlt_pcm_t *", [ffi.from_buffer("int16_t *", pcm), len(pcm)])
        room = ffi.from_buffer("jlt_mfcc_frame_t *", rows, require_writable=True)
        return rows[: lib.jlt_mfcc_take(self._state, piece, room, len(rows))]


def quantise(rows: FrameRows, peak: int, grid: Grid) -> npt.NDArray[np.int8]:
    """Return ``(frames, 10)`` int8: frames on a model's grid, loudness relative to a peak.

    Parameters
    ----------
    rows : ndarray
        ``(frames,)`` of :data:`FRAME`.
    peak : int
        -32768..32767: that of the stretch the model looks at. Its sign does not matter, 0 counts as 1.
    grid : Grid
        From :func:`joulet.front.mfcc.grid_of`.
    """
    rows = np.ascontiguousarray(rows)
    out = np.empty((len(rows), lib.JLT_MFCC_COEFFICIENTS), np.int8)
    c_grid = ffi.new("jlt_mfcc_grid_t *", [grid.multiplier, grid.shift, grid.zero_point])
    frames = ffi.from_buffer("jlt_mfcc_frame_t *", rows)
    lib.jlt_mfcc_quantise(frames, len(rows), peak, c_grid, ffi.from_buffer("int8_t *", out, require_writable=True))
    return out


def peak_of(rows: FrameRows) -> int:
    """Return the largest sample in some frames; -32768 for none."""
    rows = np.ascontiguousarray(rows)
    return int(lib.jlt_mfcc_peak(ffi.from_buffer("jlt_mfcc_frame_t *", rows), len(rows)))

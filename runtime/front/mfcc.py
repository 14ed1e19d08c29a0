# SPDX-License-Identifier: Apache-2.0
"""Mel-frequency cepstral coefficients of 16 kHz PCM in integers: the twin of csrc/front/mfcc.c, bit for bit.

30 ms Hann windows every 20 ms, 40 triangular bands from 20 to 4000 Hz over amplitudes, natural logarithm, cosine
transform, 10 coefficients. csrc/NUMERICS.md §11 gives the arithmetic. Everything works on whole batches of clips, with
int64 where C has int32: no intermediate value leaves 32 bits, so the bits are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.front.tables import (
    COEFFICIENTS,
    FFT,
    HALF_FFT,
    LOG_SEGMENTS,
    MAGNITUDE_STEPS,
    MELS,
    STRIDE,
    WINDOW,
    tables,
)

Ints = npt.NDArray[np.int64]
Pcm = npt.NDArray[np.int16]
_CHUNK = 32  # clips at once; a second of them is 3 MB of transforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A model's input grid, as in ``jlt_mfcc_grid_t``: ``multiplier × 2^-shift`` steps for one unit.

    Attributes
    ----------
    multiplier
        Below 2¹⁵.
    shift
        0..20.
    zero_point
        -128..127.
    """

    multiplier: int
    shift: int
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """Frames of a batch of clips, loudness left in.

    Attributes
    ----------
    c_q7
        ``(n, frames, 10)`` int16 coefficients of logarithms of amplitudes in steps of the PCM.
    peak
        ``(n, frames)`` int16 largest sample in each window.
    clip_peak
        ``(n,)`` int16 largest sample of each clip.
    """

    c_q7: npt.NDArray[np.int16]
    peak: npt.NDArray[np.int16]
    clip_peak: npt.NDArray[np.int16]


def grid_of(scale: float, zero_point: int) -> Grid:
    """Return the grid of a tensor with this quantisation.

    Raises
    ------
    DataError
        The scale lies outside 2⁻¹⁵..64, or the zero point outside -128..127.
    """
    if not (math.isfinite(scale) and 2.0**-15 < scale <= 64.0 and -128 <= zero_point <= 127):
        raise DataError(f"scale {scale:g}, zero point {zero_point}: the front end takes scales of 2^-15..64 and int8")
    shift = min(20, 15 - math.frexp(1.0 / scale)[1])
    multiplier = round(2**shift / scale)
    return Grid(multiplier=min(multiplier, 32767), shift=shift, zero_point=zero_point)


def _mul_q15(a: Ints, b: Ints | int) -> Ints:
    return (a * b + 0x4000) >> 15


def _log2_q15(words: Ints) -> Ints:
    # frexp is exact: words have at most 32 bits
    bits = np.frexp(words.astype(np.float64))[1].astype(np.int64)
    words = words << (32 - bits)
    segment = (words >> 26) & (LOG_SEGMENTS - 1)
    table = tables().log2_q15
    low = table[segment]
    rise = table[segment + 1] - low
    return np.asarray(((bits - 1) << 15) + low + ((rise * ((words >> 10) & 0xFFFF) + 0x8000) >> 16))


def _windowed(windows: Ints) -> tuple[Ints, Ints]:
    """Return ``(n, 512)`` samples times 2⁶ and 2 to the returned power ``(n,)``."""
    bits = np.bitwise_or.reduce(np.where(windows < 0, ~windows, windows), axis=1)
    shift = 15 - np.frexp(bits.astype(np.float64))[1].astype(np.int64)
    half = tables().window_q15
    window = np.concatenate([half, half[WINDOW // 2 - 1 : 0 : -1]])
    out = np.zeros((len(windows), FFT), np.int64)
    out[:, :WINDOW] = ((windows << shift[:, None]) * window + 0x100) >> 9
    return out, shift


def _twiddles(turns: Ints) -> tuple[Ints, Ints]:
    """Return real and imaginary parts of e^(−2πi · turn / 512) in q15."""
    half = tables().sine_q15
    sine = np.concatenate([half, -half[1:]])
    return sine[turns + 128], -sine[turns]


def _turned(re: Ints, im: Ints, by: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    return (re * by[0] - im * by[1] + 0x4000) >> 15, (re * by[1] + im * by[0] + 0x4000) >> 15


def _digit_reversed() -> Ints:
    i = np.arange(HALF_FFT)
    return ((i & 3) << 6) | ((i & 12) << 2) | ((i >> 2) & 12) | (i >> 6)


def _transform(samples: Ints) -> tuple[Ints, Ints]:
    """Return the 256-point transform of sample pairs, real and imaginary parts ``(n, 256)``."""
    order = _digit_reversed()  # its own inverse
    re, im = samples[:, 0::2][:, order], samples[:, 1::2][:, order]
    apart = 1
    while apart < HALF_FFT:
        shape = (len(samples), HALF_FFT // (4 * apart), 4, apart)
        turns = np.arange(apart) * (FFT // (4 * apart))
        parts = []
        for quarter in range(4):
            x, y = re.reshape(shape)[:, :, quarter], im.reshape(shape)[:, :, quarter]
            if quarter and apart > 1:
                p, q = _turned(x[..., 1:], y[..., 1:], _twiddles(quarter * turns[1:]))
                x, y = np.concatenate([x[..., :1], p], -1), np.concatenate([y[..., :1], q], -1)
            parts.append((x, y))
        (ar, ai), (br, bi), (cr, ci), (dr, di) = parts
        sr, si, tr, ti = ar + cr, ai + ci, ar - cr, ai - ci
        ur, ui, vr, vi = br + dr, bi + di, br - dr, bi - di
        re = np.stack([sr + ur, tr + vi, sr - ur, tr - vi], axis=2).reshape(len(samples), HALF_FFT)
        im = np.stack([si + ui, ti - vr, si - ui, ti + vr], axis=2).reshape(len(samples), HALF_FFT)
        apart *= 4
    return re, im


def _amplitudes(re: Ints, im: Ints) -> Ints:
    """Return ``(n, 127)`` amplitudes of bins 1 to 127 of the real samples, times UNIT."""
    k = np.arange(1, 128)
    a_re, a_im, b_re, b_im = re[:, k], im[:, k], re[:, HALF_FFT - k], im[:, HALF_FFT - k]
    odd_re, odd_im = _turned(a_im + b_im, b_re - a_re, _twiddles(k))
    x, y = np.abs(a_re + b_re + odd_re), np.abs(a_im - b_im + odd_im)
    for step in range(MAGNITUDE_STEPS):
        x, y = x + (y >> step), np.abs(y - (x >> step))
    return np.asarray(x >> 2)


def _band_logs(amplitudes: Ints, shift: Ints) -> Ints:
    """Return ``(n, 40)`` log2 of each band's sum in q10."""
    made = tables()
    gap = np.repeat(np.arange(MELS + 1), made.mel_bins)
    share = (amplitudes * made.mel_rise_q16) >> 16
    sums = np.zeros((len(amplitudes), MELS + 2), np.int64)  # one band more at either end
    for k, above in enumerate(gap.tolist()):
        sums[:, above + 1] += share[:, k]
        sums[:, above] += amplitudes[:, k] - share[:, k]
    sums = sums[:, 1 : MELS + 1]
    logs = _log2_q15(np.maximum(sums, 1)) - made.unit_log2_q15 - (shift << 15)[:, None]
    return np.where(sums == 0, made.least_q10, np.maximum((logs + 16) >> 5, made.least_q10))


def _coefficients(logs_q10: Ints) -> Ints:
    """Return ``(n, 10)`` coefficients in q7."""
    made = tables()
    low, high = logs_q10[:, : MELS // 2], logs_q10[:, : MELS // 2 - 1 : -1]
    out = np.empty((len(logs_q10), COEFFICIENTS), np.int64)
    out[:, 0] = (_mul_q15((low + high).sum(axis=1), made.mean_q17) + 16) >> 5
    for k in range(1, COEFFICIENTS):
        folded = low - high if k & 1 else low + high
        out[:, k] = (folded @ made.cosine_q14[k - 1] + 0x10000) >> 17
    return out


def _checked(pcm: Pcm) -> Pcm:
    if pcm.dtype != np.int16 or pcm.ndim != 2:
        raise DataError(f"PCM of type {pcm.dtype} and shape {pcm.shape}: the front end takes int16 (n, samples)")
    if pcm.shape[1] < WINDOW:
        raise DataError(f"clips of {pcm.shape[1]} samples: one window takes {WINDOW}")
    return pcm


def frames(pcm: Pcm) -> Frames:
    """Return the frames of each clip; samples after the last whole window count only towards its peak.

    Parameters
    ----------
    pcm : ndarray
        ``(n, samples)`` int16, 16 kHz, at least 480 samples.

    Raises
    ------
    DataError
        Another type or shape, or clips shorter than a window.
    """
    pcm = _checked(pcm)
    count = 1 + (pcm.shape[1] - WINDOW) // STRIDE
    c_q7 = np.empty((len(pcm), count, COEFFICIENTS), np.int16)
    peak = np.empty((len(pcm), count), np.int16)
    views = np.lib.stride_tricks.sliding_window_view(pcm, WINDOW, axis=1)[:, ::STRIDE]
    for first in range(0, len(pcm), _CHUNK):
        windows = views[first : first + _CHUNK].reshape(-1, WINDOW).astype(np.int64)
        samples, shift = _windowed(windows)
        rows = _coefficients(_band_logs(_amplitudes(*_transform(samples)), shift))
        c_q7[first : first + _CHUNK] = rows.reshape(-1, count, COEFFICIENTS)
        peak[first : first + _CHUNK] = windows.max(axis=1).reshape(-1, count)
    return Frames(c_q7=c_q7, peak=peak, clip_peak=pcm.max(axis=1))


def quantise(c_q7: npt.NDArray[np.int16], peak: npt.NDArray[np.int16], grid: Grid) -> npt.NDArray[np.int8]:
    """Return frames on a model's grid, loudness relative to a peak.

    Parameters
    ----------
    c_q7 : ndarray
        ``(n, frames, 10)`` int16.
    peak : ndarray
        ``(n,)`` int16, one for all frames of a clip; its sign does not matter, 0 counts as 1.
    grid : Grid
        From :func:`grid_of`.

    Returns
    -------
    ndarray
        ``(n, frames, 10)`` int8.
    """
    loudest = np.maximum(np.abs(peak.astype(np.int64)), 1)
    unit_q15 = c_q7.astype(np.int64) * 256
    unit_q15[:, :, 0] -= 8 * _mul_q15(_log2_q15(loudest), tables().peak_q12)[:, None]
    steps = _mul_q15(unit_q15, grid.multiplier) + (grid.zero_point << grid.shift)
    whole = np.sign(steps) * (np.abs(steps) >> grid.shift)
    return np.asarray(np.clip(whole, -128, 127), np.int8)


def features(pcm: Pcm, grid: Grid) -> npt.NDArray[np.int8]:
    """Return what a keyword model takes, ``(n, frames, 10)`` int8: 49 frames for a second, each clip by its own peak.

    Parameters
    ----------
    pcm : ndarray
        ``(n, samples)`` int16, 16 kHz.
    grid : Grid
        Of the model's input.
    """
    made = frames(pcm)
    return quantise(made.c_q7, made.clip_peak, grid)

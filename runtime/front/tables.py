# SPDX-License-Identifier: Apache-2.0
"""Parameters and tables of the MFCC front end; ``tools/front_tables.py`` writes the same numbers into csrc/front.

The parameters are those of the MLPerf Tiny keyword-spotting reference (Banbury et al., "MLPerf Tiny Benchmark", NeurIPS
Datasets and Benchmarks 2021): they reproduce the features that its model was given, see ``tests/studies/mfcc.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
WINDOW = 480  # samples, 30 ms
STRIDE = 320  # samples, 20 ms
FFT = 512  # points, of which the window fills the first 480
HALF_FFT = FFT // 2  # points of the complex transform
MELS = 40
LOW_HZ, HIGH_HZ = 20.0, 4000.0
COEFFICIENTS = 10
LEAST = 1e-6  # a band is never weaker than this [steps of the PCM]
MAGNITUDE_STEPS = 7
LOG_SEGMENTS = 32
# magnitudes come out times this: 2^7 by window and split, 2^-2 for headroom, and the length that the rotations add
UNIT = 32.0 * math.prod(math.sqrt(1.0 + 4.0**-step) for step in range(MAGNITUDE_STEPS))

Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """What the front end looks up.

    Attributes
    ----------
    window_q15
        ``(241,)`` rising half of a periodic Hann window.
    sine_q15
        ``(257,)`` half a turn in steps of 1/512.
    mel_bins
        ``(41,)`` how many FFT bins lie between neighbouring centres of bands, from bin 1 on.
    mel_rise_q16
        ``(127,)`` share of each bin, from bin 1 on, that goes to the band above it; the band below gets the rest.
    cosine_q14
        ``(9, 20)`` rows 1 to 9 of the cosine transform over half the bands, for base-2 logarithms.
    log2_q15
        ``(33,)`` log2(1 + i / 32).
    mean_q17
        Row 0 of the cosine transform, a constant.
    peak_q12
        What a doubling of the peak takes from coefficient 0.
    unit_log2_q15
        log2 of :data:`UNIT`.
    least_q10
        log2 of :data:`LEAST`.
    """

    window_q15: Array
    sine_q15: Array
    mel_bins: Array
    mel_rise_q16: Array
    cosine_q14: Array
    log2_q15: Array
    mean_q17: int
    peak_q12: int
    unit_log2_q15: int
    least_q10: int


def hz_to_mel(hz: float) -> float:
    """Return a frequency on the mel scale, 1127 · ln(1 + f / 700) (O'Shaughnessy, "Speech Communication", 1987)."""
    return 1127.0 * math.log1p(hz / 700.0)


def _rounded(values: npt.ArrayLike) -> Array:
    return np.rint(np.asarray(values, np.float64)).astype(np.int64)


def _mel() -> tuple[list[int], list[float]]:
    low, high = hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ)
    bins, rise = [0] * (MELS + 1), []
    for k in range(1, round(HIGH_HZ * FFT / SAMPLE_RATE_HZ)):
        position = (hz_to_mel(k * SAMPLE_RATE_HZ / FFT) - low) / (high - low) * (MELS + 1)
        bins[int(position)] += 1
        rise.append(position - int(position))
    return bins, rise


@cache
def tables() -> Tables:
    """Return the tables; the arrays are not to be written to."""
    bins, rise = _mel()
    scale = 2.0 / math.sqrt(2.0 * MELS) * math.log(2.0)  # orthonormal but for row 0, natural logarithms
    angles = [[math.pi * k * (2 * n + 1) / (2 * MELS) for n in range(MELS // 2)] for k in range(1, COEFFICIENTS)]
    made = Tables(
        window_q15=_rounded([32768 * math.sin(math.pi * n / WINDOW) ** 2 for n in range(WINDOW // 2 + 1)]),
        sine_q15=np.minimum(_rounded([32768 * math.sin(2 * math.pi * i / FFT) for i in range(FFT // 2 + 1)]), 32767),
        mel_bins=np.asarray(bins, np.int64),
        mel_rise_q16=np.minimum(_rounded(np.asarray(rise) * 65536), 65535),
        cosine_q14=_rounded([[16384 * scale * math.cos(angle) for angle in row] for row in angles]),
        log2_q15=_rounded([32768 * math.log2(1 + i / LOG_SEGMENTS) for i in range(LOG_SEGMENTS + 1)]),
        mean_q17=round(131072 * scale),
        peak_q12=round(4096 * scale * MELS),
        unit_log2_q15=round(32768 * math.log2(UNIT)),
        least_q10=round(1024 * math.log2(LEAST)),
    )
    for value in (getattr(made, name) for name in Tables.__slots__):
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return made

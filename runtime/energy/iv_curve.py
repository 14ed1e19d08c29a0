# SPDX-License-Identifier: Apache-2.0
"""Measured I-V curves of small harvesters, and the most power that a tracker could take from them."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError

_FOLDER = "Harvesters/harvesting_data/IVCurves/"
_NAME = re.compile(re.escape(_FOLDER) + r"(.+)_lux(\d+)\.json")
_MAX_BYTES = 1 << 20


def curve_names(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the parts of an archive and the illuminances at which each was measured, rising [lx]."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [match.groups() for match in map(_NAME.fullmatch, archive.namelist()) if match]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{Path(path).name}: cannot be read as an archive of I-V curves ({error})") from error
    parts = sorted({part for part, _ in found})
    return {part: tuple(sorted(int(lux) for name, lux in found if name == part)) for part in parts}


def load_iv_curve(path: str | Path, part: str, lux: int) -> npt.NDArray[np.float64]:
    """Read one curve.

    Parameters
    ----------
    path : str or Path
        A zip with ``Harvesters/harvesting_data/IVCurves/PART_luxN.json``, which maps voltages to currents; a current that
        the harvester gives is negative there.
    part : str
        Harvester, such as ``AM1417``.
    lux : int
        Illuminance, one of those measured [lx].

    Returns
    -------
    array (n, 2) float64
        Voltage, rising [V], and current given [A].

    Raises
    ------
    DataError
        If the archive lacks the curve or holds something else in its place.
    """
    name, member = Path(path).name, f"{_FOLDER}{part}_lux{lux}.json"
    levels = curve_names(path)
    if lux not in levels.get(part, ()):
        raise DataError(f"{name}: has no curve of '{part}' at {lux} lx; there are: {levels}")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(member).file_size > _MAX_BYTES:
                raise DataError(f"{name}: {member} is larger than {_MAX_BYTES} bytes; that is no curve")
            (points,) = json.loads(archive.read(member)).values()
        curve = np.array(sorted((float(volt), -float(ampere)) for volt, ampere in points.items()), np.float64)
    except (OSError, AttributeError, ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{name}: {member} cannot be read ({error}); it maps voltages to currents") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise DataError(f"{name}: {member} is damaged ({error}); get the archive again") from error
    if len(curve) < 2 or not (np.all(np.isfinite(curve)) and np.all(np.diff(curve[:, 0]) > 0.0)):
        raise DataError(f"{name}: {member} holds {len(curve)} usable points; a curve has two or more")
    return curve


def maximum_power_w(curve: npt.NDArray[np.float64]) -> float:
    """Return the largest power along a curve whose current runs straight from point to point, 0 or more [W].

    Between two points with currents i₁ and i₂ the power v·i(v) is a parabola; its peak counts where it lies between them.
    """
    volts, amperes = curve[:, 0], curve[:, 1]
    slopes = np.diff(amperes) / np.diff(volts)
    with np.errstate(divide="ignore", invalid="ignore"):
        peaks = (volts[:-1] - amperes[:-1] / slopes) / 2.0
    # flat stretches have no peak; the points at their ends count
    peaks = np.where((peaks > volts[:-1]) & (peaks < volts[1:]), peaks, volts[:-1])
    between = peaks * (amperes[:-1] + slopes * (peaks - volts[:-1]))
    return float(max(0.0, (volts * amperes).max(), between.max()))

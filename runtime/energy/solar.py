# SPDX-License-Identifier: Apache-2.0
"""Sun on a panel, through pvlib: irradiance from a file or from a clear sky, to power.

The irradiance in the plane of the panel gives cell temperature by Ross' model (ambient plus (NOCT − 20) / 800 degrees for
each W/m²) and power by area × efficiency, which falls with temperature. Reflection and shading are not modelled.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.energy.trace import TraceHarvester
from joulet.errors import DataError, MissingDependencyError, UsageError

_HEADER = "time,ghi"
_MOST_STEPS = 10_000_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A photovoltaic panel.

    Attributes
    ----------
    area_m2, efficiency
        Active area [m²], and efficiency at 25 °C and 1000 W/m², 0..1.
    tilt_deg, azimuth_deg
        From the horizontal, and where it faces: 180 is south [°].
    temperature_coefficient_per_k
        Relative change of power for each degree of the cell above 25 °C.
    ambient_c, noct_c
        Air temperature, and cell temperature at 800 W/m² and 20 °C of air [°C].
    """

    area_m2: float
    efficiency: float = 0.15
    tilt_deg: float = 0.0
    azimuth_deg: float = 180.0
    temperature_coefficient_per_k: float = -0.004
    ambient_c: float = 20.0
    noct_c: float = 45.0

    def __post_init__(self) -> None:
        if not (self.area_m2 > 0.0 and math.isfinite(self.area_m2) and 0.0 < self.efficiency <= 1.0):
            raise UsageError(f"panel: area {self.area_m2} m² and efficiency {self.efficiency} must be more than zero")
        if not (0.0 <= self.tilt_deg <= 180.0 and 0.0 <= self.azimuth_deg <= 360.0):
            raise UsageError(
                f"panel: tilt {self.tilt_deg}° must be in 0..180 and azimuth {self.azimuth_deg}° in 0..360"
            )
        if not all(map(math.isfinite, (self.temperature_coefficient_per_k, self.ambient_c, self.noct_c))):
            raise UsageError("panel: temperatures and their coefficient must be finite")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands: latitude and longitude, north and east positive [°], and altitude [m]."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0

    def __post_init__(self) -> None:
        if not (abs(self.latitude_deg) <= 90.0 and abs(self.longitude_deg) <= 180.0 and math.isfinite(self.altitude_m)):
            raise UsageError(
                f"place: {self.latitude_deg}°, {self.longitude_deg}° is nowhere; latitude 90, longitude 180"
            )


def clear_sky(
    panel: Panel,
    place: Place,
    date: str,
    *,
    days: int = 1,
    step_s: float = 60.0,
    scale: float = 1.0,
    loop: bool = False,
) -> TraceHarvester:
    """Return what a panel gives under a clear sky (Ineichen's model with pvlib's turbidity).

    Parameters
    ----------
    panel, place
        What stands where.
    date : str
        First day, as 2024-06-21. Days begin at midnight of local mean solar time.
    days : int
        1 or more.
    step_s : float
        Each step has the power of its middle [s].
    scale, loop
        As for :func:`joulet.energy.trace.load_trace`.
    """
    pvlib, pandas = _libraries()
    try:
        midnight = pandas.Timestamp(date)
    except ValueError as error:
        raise UsageError(f"solar: '{date}' is no date ({error}); write it as 2024-06-21") from error
    n_steps = round(days * 86400.0 / step_s) if step_s > 0.0 else 0
    if days < 1 or not 2 <= n_steps <= _MOST_STEPS or midnight is pandas.NaT or midnight.tz is not None:
        raise UsageError(f"solar: {days} days from '{date}' in steps of {step_s} s; give a date and a day or more")
    time_s = np.arange(n_steps, dtype=np.float64) * step_s
    utc = midnight - pandas.Timedelta(seconds=place.longitude_deg * 240.0)
    times = pandas.DatetimeIndex(utc + pandas.to_timedelta(time_s + step_s / 2.0, unit="s")).tz_localize("UTC")
    location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, "UTC", place.altitude_m)
    sky = location.get_clearsky(times)
    sun = location.get_solarposition(times)
    power_w = _power(pvlib, panel, _on_panel(pvlib, panel, sun, sky["dni"], sky["ghi"], sky["dhi"]))
    name = f"clear sky {place.latitude_deg:g}°, {place.longitude_deg:g}° from {date}"
    harvester = TraceHarvester(time_s, power_w, scale=scale, loop=loop, name=name)
    harvester.provenance = f"modelled: {name}, pvlib {pvlib.__version__}, {_about(panel)}"
    return harvester


def load_irradiance(
    path: str | Path, panel: Panel, place: Place | None = None, *, scale: float = 1.0, loop: bool = False
) -> TraceHarvester:
    """Read global horizontal irradiance and return what a panel gives.

    Parameters
    ----------
    path : str or Path
        CSV or CSV.GZ with the header ``time,ghi``: seconds, or dates with times (UTC where no zone is given), and W/m².
    panel : Panel
        A flat one (tilt 0) takes the irradiance as it is.
    place : Place, optional
        Needed, with dates, for a tilted panel: direct and diffuse light are told apart by Erbs' model.
    scale, loop
        As for :func:`joulet.energy.trace.load_trace`.

    Raises
    ------
    DataError
        If the file cannot be read or has a bad row.
    """
    pvlib, pandas = _libraries()
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: cannot be read as irradiance ({error}); give a CSV with '{_HEADER}'") from error
    time_s, times, ghi = _rows(text, path.name, pandas)
    if panel.tilt_deg > 0.0:
        if place is None or times is None:
            raise UsageError(f"{path.name}: a tilted panel needs dates in the file, and latitude and longitude")
        location = pvlib.location.Location(place.latitude_deg, place.longitude_deg, "UTC", place.altitude_m)
        sun = location.get_solarposition(times)
        parts = pvlib.irradiance.erbs(ghi, sun["zenith"], times)
        ghi = _on_panel(pvlib, panel, sun, parts["dni"], ghi, parts["dhi"])
    harvester = TraceHarvester(
        time_s,
        _power(pvlib, panel, ghi),
        scale=scale,
        loop=loop,
        name=path.name,
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    harvester.provenance = f"irradiance {path.name}, pvlib {pvlib.__version__}, {_about(panel)}"
    return harvester


def _libraries() -> tuple[Any, Any]:
    try:
        import pandas
        import pvlib
    except ImportError as error:
        raise MissingDependencyError("irradiance needs pvlib; pip install joulet[solar]") from error
    return pvlib, pandas


def _rows(text: str, name: str, pandas: Any) -> tuple[Floats, Any, Floats]:
    """Return times [s], the same as dates or None, and irradiance [W/m²]; small negative readings of the night are 0."""
    header, *lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or [""]
    if header.replace(" ", "").lower() != _HEADER:
        raise DataError(f"{name}: line 1 is '{header[:40]}'; irradiance begins with '{_HEADER}'")
    fields = [line.split(",") for line in lines]
    bad = next((number for number, row in enumerate(fields, start=2) if len(row) != 2), None)
    if bad is not None or len(fields) < 2:
        raise DataError(f"{name}: line {bad or len(fields) + 1}: give two rows or more of '{_HEADER}'")
    try:
        ghi = np.array([float(row[1]) for row in fields])
        first = fields[0][0].strip()
        if first.replace(".", "", 1).lstrip("-").isdigit():
            times, time_s = None, np.array([float(row[0]) for row in fields])
        else:
            times = pandas.DatetimeIndex(pandas.to_datetime([row[0].strip() for row in fields], utc=True))
            time_s = (times - times[0]).total_seconds().to_numpy()
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{name}: a row is no time and number ({error}); expected '{_HEADER}'") from error
    wrong = np.flatnonzero(~(np.isfinite(ghi) & (ghi >= -20.0) & (ghi < 3000.0)))
    if wrong.size:
        raise DataError(f"{name}: row {wrong[0] + 1} holds {ghi[wrong[0]]} W/m²; remove or repair it")
    return time_s, times, np.maximum(ghi, 0.0)


def _on_panel(pvlib: Any, panel: Panel, sun: Any, dni: Any, ghi: Any, dhi: Any) -> Floats:
    total = pvlib.irradiance.get_total_irradiance(
        panel.tilt_deg, panel.azimuth_deg, sun["apparent_zenith"], sun["azimuth"], dni, ghi, dhi
    )
    values: Floats = np.nan_to_num(np.asarray(total["poa_global"], np.float64))
    return np.maximum(values, 0.0)


def _power(pvlib: Any, panel: Panel, irradiance: Floats) -> Floats:
    cell_c = pvlib.temperature.ross(irradiance, panel.ambient_c, panel.noct_c)
    peak_w = panel.area_m2 * panel.efficiency * 1000.0
    power_w = pvlib.pvsystem.pvwatts_dc(irradiance, cell_c, peak_w, panel.temperature_coefficient_per_k)
    return np.maximum(np.asarray(power_w, np.float64), 0.0)


def _about(panel: Panel) -> str:
    return f"panel of {panel.area_m2:g} m², efficiency {panel.efficiency:g}, tilt {panel.tilt_deg:g}°"

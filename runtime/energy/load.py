# SPDX-License-Identifier: Apache-2.0
"""One way in for every harvester: a file, told by its content, or a spec such as ``constant:100uW``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Protocol

from joulet.energy.seam import Harvester
from joulet.energy.shepherd import MAGIC, load_shepherd
from joulet.energy.solar import Panel, Place, clear_sky, load_irradiance
from joulet.energy.synthetic import ConstantHarvester, MarkovHarvester
from joulet.energy.trace import load_trace
from joulet.errors import DataError, UsageError
from joulet.units import parse_quantity

SPECS = """\
  T.csv, T.csv.gz    recorded power, header time_s,power_w
  R.h5               recording of the Shepherd testbed (needs joulet[shepherd])
  constant:100uW     the same power for ever
  markov:levels=0W/1mW,stay=0.9,step=1s,duration=1h,seed=1
                     a chain over levels that stays with probability stay and else takes any other level;
                     in place of stay, transition=0.9/0.1:0.2/0.8 gives all rows
  solar:lat=39.7,lon=-105.2,date=2024-06-21,days=2,area=1cm2
                     clear sky on a panel (needs joulet[solar]); also efficiency, tilt, azimuth, tempco, ambient,
                     altitude, step
  solar:file=G.csv,area=1cm2
                     recorded irradiance, header time,ghi; lat and lon for a tilted panel"""

_SPEC = re.compile(r"(constant|markov|solar):(.*)", re.DOTALL)
_AREAS = {"mm2": 1e-6, "cm2": 1e-4, "m2": 1.0}


class Source(Harvester, Protocol):
    """A harvester that can say what it is."""

    @property
    def name(self) -> str:
        """File or spec."""

    @property
    def sha256(self) -> str:
        """Digest of the file, empty without one."""

    @property
    def span_s(self) -> float:
        """Length of one pass, ``inf`` for a source without end [s]."""

    @property
    def mean_w(self) -> float:
        """Mean power of one pass [W]."""

    @property
    def n_gaps(self) -> int:
        """Gaps in the recording."""


def load_harvester(source: str | Path, *, scale: float = 1.0, loop: bool = False) -> Source:
    """Return a harvester from a file or a spec.

    Parameters
    ----------
    source : str or Path
        A path, told apart by the file's content, or a spec; :data:`SPECS` lists them.
    scale : float
        Factor on power, more than 0.
    loop : bool
        Begin again at the end.

    Raises
    ------
    UsageError
        If a spec is malformed; the message names the key.
    DataError
        If a file cannot be read.
    """
    if not (scale > 0.0 and math.isfinite(scale)):
        raise DataError(f"{source}: scale {scale} must be more than zero")
    match = _SPEC.fullmatch(source) if isinstance(source, str) else None
    if match is not None:
        kind, text = match.groups()
        if kind == "constant":
            return ConstantHarvester(parse_quantity(text, "W", what="constant", allow_zero=True) * scale)
        options = _Options(kind, text)
        return _markov(options, scale, loop) if kind == "markov" else _solar(options, scale, loop)
    path = Path(source)
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be read ({error}); give a trace or a spec such as constant:1mW"
        ) from error
    return (load_shepherd if start == MAGIC else load_trace)(path, scale=scale, loop=loop)


class _Options:
    """``key=value`` pairs of a spec; every key must be asked for before :meth:`done`."""

    def __init__(self, kind: str, text: str) -> None:
        self._kind = kind
        self._left: dict[str, str] = {}
        for pair in text.split(","):
            key, equals, value = pair.partition("=")
            if not equals or key.strip() in self._left:
                raise UsageError(f"{kind}: '{pair}' is no key=value, or comes twice")
            self._left[key.strip()] = value.strip()

    def has(self, key: str) -> bool:
        return key in self._left

    def text(self, key: str, default: str | None = None) -> str:
        value = self._left.pop(key, default)
        if value is None:
            raise UsageError(f"{self._kind}: lacks {key}=; see joulet run --help")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        text = self.text(key, None if default is None else repr(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UsageError(f"{self._kind}: {key} is '{text}'; it must be a number")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if value != int(value) or value < 0:
            raise UsageError(f"{self._kind}: {key} is {value:g}; it must be a whole number of zero or more")
        return int(value)

    def quantity(self, key: str, unit: str, default: str | None = None) -> float:
        return parse_quantity(self.text(key, default), unit, what=f"{self._kind}: {key}")

    def area_m2(self, key: str) -> float:
        text = self.text(key)
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(mm2|cm2|m2)", text)
        if match is None:
            raise UsageError(f"{self._kind}: {key} is '{text}'; write an area such as 4cm2")
        return float(match.group(1)) * _AREAS[match.group(2)]

    def done(self) -> None:
        if self._left:
            raise UsageError(f"{self._kind}: does not know {', '.join(self._left)}; see joulet run --help")


def _markov(options: _Options, scale: float, loop: bool) -> MarkovHarvester:
    levels_w = [
        parse_quantity(text, "W", what="markov: levels", allow_zero=True) for text in options.text("levels").split("/")
    ]
    if options.has("transition"):
        try:
            rows = [[float(chance) for chance in row.split("/")] for row in options.text("transition").split(":")]
        except ValueError:
            raise UsageError("markov: transition must be rows of numbers, such as 0.9/0.1:0.2/0.8") from None
    else:
        stay, others = options.number("stay"), max(len(levels_w) - 1, 1)
        if not 0.0 <= stay <= 1.0 or len(levels_w) < 2:
            raise UsageError(f"markov: stay is {stay} of {len(levels_w)} levels; give 0..1 and two levels or more")
        rows = [[stay if i == j else (1.0 - stay) / others for j in range(others + 1)] for i in range(others + 1)]
    step_s, duration_s = options.quantity("step", "s"), options.quantity("duration", "s")
    seed, start = options.count("seed"), options.count("start", 0)
    options.done()
    return MarkovHarvester(
        levels_w, rows, step_s=step_s, duration_s=duration_s, seed=seed, start=start, scale=scale, loop=loop
    )


def _solar(options: _Options, scale: float, loop: bool) -> Source:
    panel = Panel(
        area_m2=options.area_m2("area"),
        efficiency=options.number("efficiency", 0.15),
        tilt_deg=options.number("tilt", 0.0),
        azimuth_deg=options.number("azimuth", 180.0),
        temperature_coefficient_per_k=options.number("tempco", -0.004),
        ambient_c=options.number("ambient", 20.0),
    )
    file = options.text("file") if options.has("file") else None
    place = None
    if file is None or options.has("lat"):
        place = Place(options.number("lat"), options.number("lon"), options.number("altitude", 0.0))
    if file is not None or place is None:
        options.done()
        return load_irradiance(str(file), panel, place, scale=scale, loop=loop)
    date, days, step_s = options.text("date"), options.count("days", 1), options.quantity("step", "s", "1min")
    options.done()
    return clear_sky(panel, place, date, days=days, step_s=step_s, scale=scale, loop=loop)

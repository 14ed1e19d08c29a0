# SPDX-License-Identifier: Apache-2.0
"""Quantities with units: parse what people type (``4.7mF``, ``50ms``), format what they read.

Inside Joulet every number is in SI base units and its name says so (``_j``, ``_s``, ``_v``); this module is the
border where text becomes numbers and back.
"""

from __future__ import annotations

import math
import re

from joulet.errors import UsageError

_PREFIXES = {
    "p": 1e-12,
    "n": 1e-9,
    "u": 1e-6,
    "µ": 1e-6,
    "μ": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
}
_NAMES = {
    "F": "farad, e.g. 4.7mF",
    "s": "second, e.g. 50ms, 1s, 2min, 1h or 1d",
    "V": "volt, e.g. 3.3V",
    "W": "watt, e.g. 10mW",
    "J": "joule, e.g. 20mJ",
    "Hz": "hertz, e.g. 120MHz",
    "ohm": "ohm, e.g. 1Mohm",
    "A": "ampere, e.g. 3uA",
}
_TIMES = {"min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\s\d]*)\s*")


def parse_quantity(text: str, unit: str, *, what: str = "value", allow_zero: bool = False) -> float:
    """Read a quantity such as ``4.7mF``.

    Parameters
    ----------
    text : str
        Number, then an SI prefix (p n u µ m k M G) and the unit; a time may also end in ``min``, ``h`` or ``d``. A
        bare number is taken to be in ``unit``.
    unit : str
        The unit expected: F, s, V, W, J, Hz, ohm or A.
    what : str
        Name of the option or field, for the message.
    allow_zero : bool
        Accept 0.

    Returns
    -------
    float
        The value in the base unit, finite and positive (or 0 where allowed).

    Raises
    ------
    UsageError
        If the text is no number, has another unit, or is not positive.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UsageError(f"{what}: '{text}' is not a quantity; write a number and a unit ({_NAMES[unit]})")
    number, suffix = float(match.group(1)), match.group(2)
    value = number * _scale(suffix, unit, what, text)
    if not math.isfinite(value) or value < 0.0 or (value == 0.0 and not allow_zero):
        bound = "zero or more" if allow_zero else "more than zero"
        raise UsageError(f"{what}: '{text}' must be finite and {bound} ({_NAMES[unit]})")
    return value


def _scale(suffix: str, unit: str, what: str, text: str) -> float:
    if suffix == "":
        return 1.0
    if unit == "s" and suffix in _TIMES:
        return _TIMES[suffix]
    if unit == "ohm" and suffix.endswith("Ω"):
        suffix = suffix[:-1] + "ohm"
    prefix = suffix[: -len(unit)] if suffix.endswith(unit) else None
    if prefix is None or prefix not in _PREFIXES:
        raise UsageError(f"{what}: '{text}' has no unit of {_NAMES[unit].split(',')[0]}; write it in {_NAMES[unit]}")
    return _PREFIXES[prefix]


def format_quantity(value: float, unit: str, *, digits: int = 3) -> str:
    """Return ``value`` with an SI prefix and ``digits`` significant digits, e.g. ``1.43 mJ``."""
    if not math.isfinite(value):
        return f"{value} {unit}"
    if value == 0.0:
        return f"0 {unit}"
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)):
        # 0.9995 so that a value which would round up to 1000 takes the next prefix
        if abs(value) >= 0.9995 * scale:
            return f"{float(f'{value / scale:.{digits}g}'):g} {prefix}{unit}"
    return f"{value / 1e-12:.{digits}g} p{unit}"


def format_time(seconds: float) -> str:
    """Return a duration for people: ``43.2 ms``, ``1 min 30 s``, ``2 h 5 min``, ``1 d 3 h``."""
    if seconds < 60.0:
        return format_quantity(seconds, "s")
    whole = round(seconds)
    for (big, name), (small, rest) in zip(
        ((86400, "d"), (3600, "h"), (60, "min")), ((3600, "h"), (60, "min"), (1, "s")), strict=True
    ):
        if whole >= big:
            left = whole % big // small
            return f"{whole // big} {name}" + (f" {left} {rest}" if left else "")
    return f"{whole} s"

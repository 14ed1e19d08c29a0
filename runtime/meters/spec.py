# SPDX-License-Identifier: Apache-2.0
"""How a source is named: ``KIND[:WHERE][,OPTION=VALUE]…``, such as ``ina228:/dev/i2c-1@0x40,shunt=15mOhm``."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.errors import UsageError
from joulet.units import parse_quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A source, taken apart. ``text`` is what was written."""

    text: str
    kind: str
    where: str
    options: dict[str, str]

    def allow(self, *names: str) -> None:
        """Check that there are no other options than these.

        Raises
        ------
        UsageError
            If there are.
        """
        for name in self.options:
            if name not in names:
                known = ", ".join(names) or "none"
                raise UsageError(f"source '{self.text}': there is no option '{name}'; {self.kind} has {known}")

    def quantity(self, name: str, unit: str, default: float | None = None, *, allow_zero: bool = False) -> float:
        """Return an option as a number in its base unit.

        Raises
        ------
        UsageError
            If it is none, or missing where there is no default.
        """
        if name not in self.options:
            if default is None:
                raise UsageError(f"source '{self.text}': give {name}, as in {self.kind}:…,{name}=… ({unit})")
            return default
        text = self.options[name].replace("Ohm", "ohm").replace("OHM", "ohm")
        return parse_quantity(text, unit, what=f"source '{self.text}': {name}", allow_zero=allow_zero)

    def integer(self, name: str, default: int, among: tuple[int, ...]) -> int:
        """Return an option as one of a few integers.

        Raises
        ------
        UsageError
            If it is none of them.
        """
        text = self.options.get(name, str(default))
        if not text.isdecimal() or int(text) not in among:
            raise UsageError(f"source '{self.text}': {name} is one of {', '.join(map(str, among))}, not '{text}'")
        return int(text)


def parse_spec(text: str) -> Spec:
    """Take a source's name apart.

    Raises
    ------
    UsageError
        If it is not of the form ``KIND[:WHERE][,OPTION=VALUE]…``.
    """
    head, *rest = text.strip().split(",")
    kind, _, where = head.partition(":")
    options: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals or not name or not value or name in options:
            raise UsageError(f"source '{text}': '{part}' should be OPTION=VALUE, each option once")
        options[name.strip()] = value.strip()
    if not kind:
        raise UsageError(
            f"source '{text}' has no kind; it is KIND[:WHERE][,OPTION=VALUE]…; joulet power --help lists them"
        )
    return Spec(text=text.strip(), kind=kind.strip().lower(), where=where.strip(), options=options)


def parse_chip(spec: Spec) -> tuple[str, int]:
    """Return (bus, address) of ``/dev/i2c-1@0x40``; a bare number is a bus.

    Raises
    ------
    UsageError
        If it is not of that form.
    """
    bus, _, address = spec.where.partition("@")
    try:
        number = int(address or "0x40", 0)
    except ValueError:
        number = -1
    if not bus or not 0x03 <= number <= 0x77:
        raise UsageError(f"source '{spec.text}': say where, as in {spec.kind}:/dev/i2c-1@0x40")
    return (f"/dev/i2c-{bus}" if bus.isdecimal() else bus), number

# SPDX-License-Identifier: Apache-2.0
"""From the text of an option to a policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from joulet.errors import UsageError
from joulet.policies.atm import Atm
from joulet.policies.bandit import LinUcb, UcbV
from joulet.policies.eno import Eno
from joulet.policies.fixed import Fixed
from joulet.policies.joule_scale import Calibrated
from joulet.policies.linear import Linear
from joulet.policies.mpc import Mpc
from joulet.policies.qlearning import QLearning
from joulet.policies.seam import Policy
from joulet.policies.shadow import Shadow
from joulet.policies.tables import PolicyTable
from joulet.policies.threshold import Threshold
from joulet.policies.zygarde import Zygarde

_USAGE = {
    "fixed": "fixed, fixed:smallest or fixed:PATH@EXIT (e.g. fixed:w8@last)",
    "threshold": "threshold or threshold:HYSTERESIS (0..1)",
    "linear": "linear or linear:LOW,HIGH (0..1)",
    "atm": "atm or atm:RATE,ENERGY (RATE more than 0, ENERGY 0..1)",
    "eno": "eno or eno:CONFIDENCE (0..1)",
    "zygarde": "zygarde or zygarde:UTILITY,ENERGY (0..1)",
    "bandit": "bandit, bandit:linucb or bandit:ucbv",
    "qlearning": "qlearning",
    "mpc": "mpc or mpc:RESERVE (0..1)",
    "shadow": "shadow, or shadow:FILE with a table from joulet simulate --export",
    "calibrated": "calibrated+POLICY (any of these, with its costs corrected from readings)",
}

_CALIBRATED = "calibrated+"


def policy_names() -> dict[str, str]:
    """Return each policy's name and how to write it."""
    return dict(_USAGE)


def make_policy(spec: str) -> Policy:
    """Return a policy from its spec: ``NAME`` or ``NAME:ARGUMENTS``, with ``calibrated+`` before it or not.

    Raises
    ------
    UsageError
        If there is no such policy or its arguments are out of range.
    """
    makers: dict[str, Callable[[str], Policy]] = {
        "fixed": _fixed,
        "threshold": _threshold,
        "linear": _linear,
        "atm": _atm,
        "eno": _eno,
        "zygarde": _zygarde,
        "bandit": _bandit,
        "qlearning": _qlearning,
        "mpc": _mpc,
        "shadow": _shadow,
    }
    if spec.startswith(_CALIBRATED):
        return Calibrated(make_policy(spec[len(_CALIBRATED) :]))
    name, _, arguments = spec.partition(":")
    if name not in makers:
        raise UsageError(f"no policy '{name}'; there are {'; '.join(_USAGE.values())}")
    return makers[name](arguments)


def _shadow(arguments: str) -> Policy:
    if not arguments:
        return Shadow()
    try:
        table = PolicyTable.from_bytes(Path(arguments).read_bytes())
    except OSError as error:
        raise UsageError(
            f"policy shadow:{arguments}: cannot be read ({error.strerror}); write {_USAGE['shadow']}"
        ) from error
    return Shadow(table=table, name=f"shadow:{Path(arguments).name}")


def _fixed(arguments: str) -> Policy:
    return Fixed(arguments or "full")


def _threshold(arguments: str) -> Policy:
    return Threshold(*_fractions("threshold", arguments, 1)) if arguments else Threshold()


def _linear(arguments: str) -> Policy:
    if not arguments:
        return Linear()
    low, high = _fractions("linear", arguments, 2)
    if low > high:
        raise UsageError(f"policy linear:{arguments}: LOW must not exceed HIGH")
    return Linear(low, high)


def _atm(arguments: str) -> Policy:
    if not arguments:
        return Atm()
    rate, energy = _numbers("atm", arguments, 2)
    if rate <= 0.0 or energy > 1.0:
        raise UsageError(f"policy atm:{arguments}: write {_USAGE['atm']}")
    return Atm(rate, energy)


def _eno(arguments: str) -> Policy:
    return Eno(*_fractions("eno", arguments, 1)) if arguments else Eno()


def _zygarde(arguments: str) -> Policy:
    return Zygarde(*_fractions("zygarde", arguments, 2)) if arguments else Zygarde()


def _bandit(arguments: str) -> Policy:
    if arguments not in ("", "linucb", "ucbv"):
        raise UsageError(f"policy bandit:{arguments}: write {_USAGE['bandit']}")
    return UcbV() if arguments == "ucbv" else LinUcb("bandit:linucb" if arguments else "bandit")


def _qlearning(arguments: str) -> Policy:
    if arguments:
        raise UsageError(f"policy qlearning:{arguments}: write {_USAGE['qlearning']}")
    return QLearning()


def _mpc(arguments: str) -> Policy:
    return Mpc(*_fractions("mpc", arguments, 1)) if arguments else Mpc()


def _fractions(name: str, arguments: str, count: int) -> list[float]:
    values = _numbers(name, arguments, count)
    if any(value > 1.0 for value in values):
        raise UsageError(f"policy {name}:{arguments}: write {_USAGE[name]}")
    return values


def _numbers(name: str, arguments: str, count: int) -> list[float]:
    """Return so many finite numbers, none below zero."""
    try:
        values = [float(part) for part in arguments.split(",")]
    except ValueError:
        values = []
    if len(values) != count or any(not 0.0 <= value < math.inf for value in values):
        raise UsageError(f"policy {name}:{arguments}: write {_USAGE[name]}")
    return values

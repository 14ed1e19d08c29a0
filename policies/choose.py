# SPDX-License-Identifier: Apache-2.0
"""From the text of an option to a policy."""

from __future__ import annotations

from collections.abc import Callable

from joulet.errors import UsageError
from joulet.policies.fixed import Fixed
from joulet.policies.linear import Linear
from joulet.policies.seam import Policy
from joulet.policies.threshold import Threshold

_USAGE = {
    "fixed": "fixed, fixed:smallest or fixed:PATH@EXIT (e.g. fixed:w8@last)",
    "threshold": "threshold or threshold:HYSTERESIS (0..1)",
    "linear": "linear or linear:LOW,HIGH (0..1)",
}


def policy_names() -> dict[str, str]:
    """Return each policy's name and how to write it."""
    return dict(_USAGE)


def make_policy(spec: str) -> Policy:
    """Return a policy from its spec: ``NAME`` or ``NAME:ARGUMENTS``.

    Raises
    ------
    UsageError
        If there is no such policy or its arguments are out of range.
    """
    makers: dict[str, Callable[[str], Policy]] = {"fixed": _fixed, "threshold": _threshold, "linear": _linear}
    name, _, arguments = spec.partition(":")
    if name not in makers:
        raise UsageError(f"no policy '{name}'; there are {'; '.join(_USAGE.values())}")
    return makers[name](arguments)


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


def _fractions(name: str, arguments: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in arguments.split(",")]
    except ValueError:
        values = []
    if len(values) != count or any(not 0.0 <= value <= 1.0 for value in values):
        raise UsageError(f"policy {name}:{arguments}: write {_USAGE[name]}")
    return values

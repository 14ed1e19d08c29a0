# SPDX-License-Identifier: Apache-2.0
"""The closed form that stores share: an energy that leaks in proportion to itself under constant power.

dE/dt = P − E/τ is solved by E(t) = P·τ + (E₀ − P·τ)·exp(−t/τ), and for τ = ∞ by E₀ + P·t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Course:
    """How far an energy came between two limits: where it ended, after what time, what leaked, the limit that it met."""

    end_j: float
    passed_s: float
    leaked_j: float
    limit_j: float | None


def course(start_j: float, power_w: float, duration_s: float, tau_s: float, *, low_j: float, high_j: float) -> Course:
    """Return the course of an energy under constant power; a limit ends it at the time at which it is met."""
    end_j = _relaxed_j(start_j, power_w, duration_s, tau_s)
    limit_j = low_j if end_j < low_j else high_j if end_j > high_j else None
    passed_s = duration_s if limit_j is None else min(duration_s, _reach_s(start_j, power_w, limit_j, tau_s))
    return Course(
        end_j=end_j if limit_j is None else limit_j,
        passed_s=passed_s,
        leaked_j=_leaked_j(start_j, power_w, passed_s, tau_s),
        limit_j=limit_j,
    )


def _relaxed_j(start_j: float, power_w: float, duration_s: float, tau_s: float) -> float:
    """Return the energy after a time [J]."""
    if math.isinf(tau_s):
        return start_j + power_w * duration_s
    rest_j = power_w * tau_s
    # expm1 keeps the digits when the step is short against tau
    return start_j + (start_j - rest_j) * math.expm1(-duration_s / tau_s)


def _leaked_j(start_j: float, power_w: float, duration_s: float, tau_s: float) -> float:
    """Return the integral of E/τ, from its own formula: the ledger checks it against the voltage [J]."""
    if math.isinf(tau_s):
        return 0.0
    rest_j = power_w * tau_s
    return max(0.0, power_w * duration_s - (start_j - rest_j) * math.expm1(-duration_s / tau_s))


def _reach_s(start_j: float, power_w: float, limit_j: float, tau_s: float) -> float:
    """Return when the energy, known to pass a limit, meets it; 0 where only rounding keeps it from being there [s]."""
    if math.isinf(tau_s):
        return max(0.0, (limit_j - start_j) / power_w) if power_w != 0.0 else 0.0
    away_j = start_j - power_w * tau_s
    share = (limit_j - start_j) / away_j if away_j != 0.0 else 0.0
    # log1p for short times
    return max(0.0, -tau_s * math.log1p(share)) if share > -1.0 else math.inf

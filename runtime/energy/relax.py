# SPDX-License-Identifier: Apache-2.0
"""The closed form that stores share: an energy that leaks in proportion to itself under constant power.

dE/dt = P − E/τ is solved by E(t) = P·τ + (E₀ − P·τ)·exp(−t/τ), and for τ = ∞ by E₀ + P·t.
"""

from __future__ import annotations

import math


def relaxed_j(start_j: float, power_w: float, duration_s: float, tau_s: float) -> float:
    """Return the energy after a time [J]."""
    if math.isinf(tau_s):
        return start_j + power_w * duration_s
    rest_j = power_w * tau_s
    # expm1 keeps the digits when the step is short against tau
    return start_j + (start_j - rest_j) * math.expm1(-duration_s / tau_s)


def leaked_j(start_j: float, power_w: float, duration_s: float, tau_s: float) -> float:
    """Return the integral of E/τ, from its own formula: the ledger checks it against the voltage [J]."""
    if math.isinf(tau_s):
        return 0.0
    rest_j = power_w * tau_s
    return max(0.0, power_w * duration_s - (start_j - rest_j) * math.expm1(-duration_s / tau_s))


def reach_s(start_j: float, power_w: float, limit_j: float, tau_s: float) -> float:
    """Return when the energy, known to pass a limit, meets it; 0 where only rounding keeps it from being there [s]."""
    if math.isinf(tau_s):
        return max(0.0, (limit_j - start_j) / power_w) if power_w != 0.0 else 0.0
    away_j = start_j - power_w * tau_s
    share = (limit_j - start_j) / away_j if away_j != 0.0 else 0.0
    # log1p for short times
    return max(0.0, -tau_s * math.log1p(share)) if share > -1.0 else math.inf

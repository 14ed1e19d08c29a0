# SPDX-License-Identifier: Apache-2.0
"""Series resistance of a store: how far its terminal sags, and what that costs.

A draw of P from a store at voltage v takes I = P/v through the series resistance R, so that the terminal stands at
v − P·R/v. It meets the brown-out voltage ``off_v`` where v² − off_v·v − P·R = 0, that is at

    v_min(P) = (off_v + sqrt(off_v² + 4·P·R)) / 2.

The resistance turns P²·R/v² into heat. Only what is drawn passes it in this model: the harvest that arrives at the same
time is not counted on, and charging through the resistance costs nothing here (what a charger loses is measured at its
output, and stands in its efficiency).

**Bounded error.** The loss depends on the voltage, so that a closed form holds only while it is taken as constant. Each
step holds it at the value of its first voltage V₀ and ends at the latest where v² has changed by ``STEP`` = ε of V₀².
Within the step the true loss lies between 1/(1 + ε) and 1/(1 − ε) times the one held, so that what is posted for a step is
off by at most ε/(1 − ε) of it, 1.01 %. An error e in the energy E of a capacitor changes the loss L = P²RC/2E by −e·L/E, so
that e' ≤ e·L/E + ε/(1 − ε)·L; in a discharge from E₀ to E₁ at a constant draw L/E dt is at most ℓ/(1 + ℓ)·dE/E with
ℓ = P·R/v_min², which bounds the error of the stored energy at its end by

    ε/(1 − ε) · (heat posted) · (E₀/E₁)^(ℓ/(1 + ℓ)).

The ledger closes exactly whatever the error, because store and account use the same held loss.
"""

from __future__ import annotations

import math

STEP = 0.01
_LOW, _HIGH = math.sqrt(1.0 - STEP), math.sqrt(1.0 + STEP)


def brownout_v(off_v: float, power_w: float, esr_ohm: float) -> float:
    """Return the store's voltage at which a draw pulls its terminal down to ``off_v`` [V]."""
    if esr_ohm == 0.0:
        return off_v
    return (off_v + math.sqrt(off_v * off_v + 4.0 * power_w * esr_ohm)) / 2.0


def heat_w(power_w: float, voltage_v: float, esr_ohm: float) -> float:
    """Return what a draw turns into heat in the series resistance [W]; ``voltage_v`` is the store's, more than 0."""
    if esr_ohm == 0.0:
        return 0.0
    current_a = power_w / voltage_v
    return current_a * current_a * esr_ohm


def step_limits_v(voltage_v: float) -> tuple[float, float]:
    """Return the voltages at which a step that began at ``voltage_v`` must end."""
    return voltage_v * _LOW, voltage_v * _HIGH

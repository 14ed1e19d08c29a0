# SPDX-License-Identifier: Apache-2.0
"""Settings of the machine that trade time for power: read back after each change, and put back in any case."""

from joulet.knobs.keep import held, left_behind, restore
from joulet.knobs.open import KINDS, open_knob
from joulet.knobs.seam import Knob

__all__ = ["KINDS", "Knob", "held", "left_behind", "open_knob", "restore"]

# SPDX-License-Identifier: Apache-2.0
"""Meters: sources of voltage, current, power and energy, opened by name; nothing here knows a model."""

from joulet.meters.machine import Machine
from joulet.meters.open import Found, find_sources, open_meter
from joulet.meters.seam import Meter, Quality, Reading, Samples, Stream

__all__ = ["Found", "Machine", "Meter", "Quality", "Reading", "Samples", "Stream", "find_sources", "open_meter"]

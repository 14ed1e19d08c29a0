# SPDX-License-Identifier: Apache-2.0
"""Profiles: what an inference costs, measured; and what two profiles say of each other."""

from joulet.profile.figures import Interval, Profile, Row, Sync, load_profile

__all__ = ["Interval", "Profile", "Row", "Sync", "load_profile"]

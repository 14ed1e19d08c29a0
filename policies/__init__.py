# SPDX-License-Identifier: Apache-2.0
"""Policies: what decides, from energy and confidence, how many bits and how many layers an inference deserves."""

from __future__ import annotations

from joulet.policies.check import check_policy
from joulet.policies.choose import make_policy, policy_names
from joulet.policies.seam import Policy, PolicyContext, fault

__all__ = ["Policy", "PolicyContext", "check_policy", "fault", "make_policy", "policy_names"]

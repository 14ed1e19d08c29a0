# SPDX-License-Identifier: Apache-2.0
"""Simulation: the control loop in C over outcomes that the engine has computed once."""

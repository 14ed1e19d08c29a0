# SPDX-License-Identifier: Apache-2.0
"""The demo: our model, recorded sensors, a recorded day of sun."""

# SPDX-License-Identifier: Apache-2.0
"""From a QuantGraph to steps, arena offsets and costs."""

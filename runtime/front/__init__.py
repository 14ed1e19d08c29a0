# SPDX-License-Identifier: Apache-2.0
"""Front ends: from samples to a model's input, in integers, the same bits here and on a board."""

# SPDX-License-Identifier: Apache-2.0
"""The power-cut runner: takes the power away from the real firmware and looks at what is left."""

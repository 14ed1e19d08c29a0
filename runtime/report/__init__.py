# SPDX-License-Identifier: Apache-2.0
"""Single-file HTML reports from records."""

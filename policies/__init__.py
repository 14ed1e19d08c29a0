# SPDX-License-Identifier: Apache-2.0
"""Policies: observation in, decision out."""

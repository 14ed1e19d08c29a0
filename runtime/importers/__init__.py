# SPDX-License-Identifier: Apache-2.0
"""Readers of model files: foreign bytes in, a verified Graph out."""

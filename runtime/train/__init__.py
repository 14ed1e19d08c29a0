# SPDX-License-Identifier: Apache-2.0
"""Nested quantisation-aware fine-tuning of integer graphs; needs PyTorch (extra ``train``), imported when asked for."""

# SPDX-License-Identifier: Apache-2.0
"""From a Graph to a QuantGraph: nested precisions, bias correction, post-training quantisation."""

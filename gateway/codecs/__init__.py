"""Codecs: one module per family of devices, all pure."""

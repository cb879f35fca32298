"""Frames in order, checked against the register, stored and acknowledged."""

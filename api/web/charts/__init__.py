"""Geometry of the charts, in per cent; pure."""

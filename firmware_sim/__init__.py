"""Devices that are not there: they speak the vendors' own payloads."""

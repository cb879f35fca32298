"""Codecs, spool and uplink: everything between a vendor's payload and a numbered frame."""

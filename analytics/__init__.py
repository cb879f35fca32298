"""Detectors over columns: findings, alerts, outbox."""

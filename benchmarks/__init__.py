"""Figures, printed and kept; nothing here passes or fails."""

"""Composition root: command line, settings, embedded servers, supervision."""

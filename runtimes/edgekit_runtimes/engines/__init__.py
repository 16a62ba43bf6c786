"""Engines: one file each, entered through the entry-point group ``edgekit.engines``."""

"""Bundles on emulated boards against this machine and against the originals."""

"""Outputs: one file per sink."""

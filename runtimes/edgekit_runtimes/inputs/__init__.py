"""Inputs: one file per source."""

"""Boards over SSH: send a bundle, and run, verify and measure it there as if it were here."""

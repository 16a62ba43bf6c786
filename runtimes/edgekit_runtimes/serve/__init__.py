"""Serving bundles over HTTP."""

"""Trained models, opened safely and ready to answer as the reference."""

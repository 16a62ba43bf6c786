"""Bundles in the tools that teams keep models in: OCI registries, the Hugging Face hub and MLflow."""

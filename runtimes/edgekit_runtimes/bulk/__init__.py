"""Bulk inference: millions of inputs into a Parquet file, resumable, on one machine or a Ray cluster."""

"""Parquet and tar shards, and streams of them in an order that is computed by index."""

"""The format .rad (Spark 2)."""

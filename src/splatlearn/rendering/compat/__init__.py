"""The renderer behind the signatures of other libraries."""

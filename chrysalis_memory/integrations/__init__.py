"""A memory as what agent frameworks expect: one file for each, with an extra of its own."""

"""Replication: copies of a memory, written anywhere, merged without conflict or loss."""

"""Servers: a memory, offered to others over a network."""

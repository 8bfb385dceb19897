"""PostgreSQL with pgvector: many writers, for a fleet that has outgrown a file."""

from chrysalis_memory.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]

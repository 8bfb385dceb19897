"""Nothing of the other tests: their environment has the apsw without ciphers."""

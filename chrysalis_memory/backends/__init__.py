"""Engines that hold memories; only :mod:`chrysalis_memory.storage` knows them."""

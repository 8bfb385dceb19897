"""What the reading connections of a store hold in RAM together."""

from chrysalis_memory.backends.sqlite.code_cache import CodeCache
from chrysalis_memory.backends.sqlite.conditions import AnswerCache
from chrysalis_memory.backends.sqlite.frequencies import FrequencyCache


class Caches:
    """One of each; every one of them answers for the snapshot of whoever asks."""

    def __init__(self, codes_bytes_max: int | None = None) -> None:
        self.codes = CodeCache(codes_bytes_max)
        self.answers = AnswerCache()
        self.frequencies = FrequencyCache()

"""No nonce passes twice, whatever is forgotten."""

import random

from chrysalis_memory.servers.nonces import Nonces


def passes(nonces: Nonces, nonce: str, stamp: int, *, until: int = 0) -> bool:
    return stamp > nonces.floor and nonces.take(nonce, stamp, until=until)


def test_a_nonce_is_new_once():
    nonces = Nonces(100)

    assert [passes(nonces, one, 101) for one in ("a", "b", "a", "b")] == [True, True, False, False]


def test_what_is_too_old_is_forgotten_and_lifts_the_floor():
    nonces = Nonces(100)
    nonces.take("a", 150, until=0)
    nonces.take("b", 250, until=200)

    assert nonces.floor == 150
    assert not passes(nonces, "a", 150)
    assert passes(nonces, "c", 151)


def test_a_full_memory_forgets_the_oldest_and_lets_nothing_pass_twice():
    nonces = Nonces(100, most=2)
    for nonce, stamp in [("a", 103), ("b", 101), ("c", 102)]:
        assert nonces.take(nonce, stamp, until=0)

    assert nonces.floor == 101
    assert [passes(nonces, *one) for one in [("a", 103), ("b", 101), ("c", 102)]] == [False] * 3


def test_one_that_is_older_than_a_full_memory_is_taken_once():
    nonces = Nonces(100, most=1)
    nonces.take("a", 105, until=0)

    assert passes(nonces, "b", 103)
    assert not passes(nonces, "b", 103)


def test_no_order_of_arrival_and_no_clock_lets_one_pass_twice():
    for seed in range(300):
        chance = random.Random(seed)
        nonces = Nonces(50, most=chance.randint(1, 8))
        sent = [(str(n), chance.randint(40, 120)) for n in range(30)]
        taken = [
            one
            for one in chance.choices(sent, k=200)
            if passes(nonces, *one, until=chance.randint(0, 90))
        ]
        assert len(taken) == len(set(taken)), f"seed {seed}"
        assert min(stamp for _, stamp in taken) > 50

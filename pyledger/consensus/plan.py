"""What a simulated schedule has in store: how bad the network is, who is faulty, when the world heals."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

__all__ = ["Plan", "draw_plan", "memberships"]

_MS: Final = 1_000_000


class Plan(NamedTuple):
    """What a schedule has in store.

    Parameters
    ----------
    validators, observers : int
        Honest and faulty together; the observers are honest.
    faulty : frozenset of int
    loss, repetition : float
        Share of messages, until the world heals.
    delay_ns : int
        Longest delay of a message; they overtake each other.
    danger : float
        Chance of a crash at each write, sync and send.
    trouble_every_ns : int
        Mean time between crashes, partitions and clocks that jump.
    heal_ns : int
        When all this ends, but for the faulty validators.
    healed_delay_ns : int
        Longest delay from then on; may be longer than the shortest timeout.
    rounds_per_leader : int
    last_heights : tuple of int
        Where epochs end.
    weights : tuple of int
    batches : int
        How many clients submit something.
    """

    validators: int
    observers: int
    faulty: frozenset[int]
    loss: float
    repetition: float
    delay_ns: int
    danger: float
    trouble_every_ns: int
    heal_ns: int
    healed_delay_ns: int
    rounds_per_leader: int
    last_heights: tuple[int, ...]
    weights: tuple[int, ...]
    batches: int


def draw_plan(rng: random.Random, validators: int) -> Plan:
    """Choose a schedule's troubles."""
    weights = tuple([rng.choice((1, 1, 1, 2, 3)) for _ in range(validators + 1)]) if rng.random() < 0.3 else ()
    weights = weights or (1,) * (validators + 1)
    changes = rng.choice(((), (), (), (2,), (3,), (1, 3)))
    faulty = _draw_faulty(rng, weights, validators)
    return Plan(
        validators,
        rng.choice((0, 0, 0, 1)),
        faulty,
        rng.choice((0.0, 0.02, 0.1, 0.3)),
        rng.choice((0.0, 0.1)),
        rng.choice((2, 10, 50)) * _MS,
        rng.choice((0.0, 0.005, 0.02)),
        rng.choice((50, 200, 100_000)) * _MS,
        rng.randrange(100, 900) * _MS,
        rng.choice((2, 2, 2, 2, 80)) * _MS,
        rng.choice((1, 2, 3, 8)) if weights == (1,) * len(weights) else rng.choice((3, 8)),
        changes,
        weights,
        rng.choice((0, 0, 1, 3)),
    )


def _draw_faulty(rng: random.Random, weights: tuple[int, ...], validators: int) -> frozenset[int]:
    """As many as have less than a third of the weight, in every validator set."""
    order = list(range(validators))
    rng.shuffle(order)
    chosen: set[int] = set()
    if rng.random() < 0.15:
        return frozenset()
    for index in order:
        trial = {*chosen, index}
        if all(
            3 * sum(weights[each] for each in trial if each in members) < sum(weights[each] for each in members)
            for members in memberships(validators)
        ):
            chosen = trial
    return frozenset(chosen)


def memberships(validators: int) -> list[range]:
    """Who is in office: one leaves and another joins at each change."""
    return [range(validators), range(1, validators + 1), range(validators)]

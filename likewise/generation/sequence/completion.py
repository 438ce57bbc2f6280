"""The shortest completion of a text under a constraint: a search over bytes, for constraints.py."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_STATES = 5000  # that are searched before giving up
LONG = 4096  # most bytes of a completion
SAME = 64  # extra cost of a byte that leaves the state as it was
PLAIN = frozenset(range(33, 127)) - {ord("\\")}  # preferred bytes
FEW = 16  # up to so many next bytes each is tried; of more, one of each group of the same effect


def shortest_completion(
    start: LLMatcher, byte: Callable[[int], int], cache: dict[bytes, list[int]]
) -> bytes | None:
    """Few bytes that complete a text, by best-first search on length; None if MAX_STATES states have none.

    Of bytes that lead to the same state one is tried, and of equal states (of the same length, with the same
    masks after each byte) one is expanded. A byte that leaves the state as it was, such as a further letter,
    costs more than others. `byte` gives the id of a byte; `cache` maps masks to bytes worth trying.
    """
    queue: list[tuple[int, int, bytes, LLMatcher]] = [(0, 0, b"", start)]
    seen: set[tuple[int, frozenset[tuple[bytes, bytes]]]] = set()
    order = 0
    for _ in range(MAX_STATES):
        if not queue:
            return None
        cost, _, text, state = heapq.heappop(queue)
        if state.is_accepting() and not state.is_error():
            return text
        now = state.compute_bitmask(), state.compute_ff_bytes()
        after = {} if state.is_error() or len(text) > LONG else _successors(state, byte, cache)
        alike = len(text), frozenset(then for then, _ in after.values())
        if alike in seen:
            continue
        seen.add(alike)
        for value, (then, follower) in after.items():
            order += 1
            run = bytes([value])
            while len(run) < LONG and not follower.is_accepting():
                if len(only := _values(follower, byte, cache)) != 1:
                    break
                follower.consume_token(byte(only[0]))
                run += bytes(only)
            step = len(run) + (SAME if then == now else 0)
            heapq.heappush(queue, (cost + step, order, text + run, follower))
    return None


def _successors(
    state: LLMatcher, byte: Callable[[int], int], cache: dict[bytes, list[int]]
) -> dict[int, tuple[tuple[bytes, bytes], LLMatcher]]:
    """Bytes that may follow -> the mask and the forced bytes after them, and the state.

    Of more than FEW bytes, one of those with the same effect, which `cache` remembers.
    """
    mask, successors = state.compute_bitmask(), {}
    values, effects = _values(state, byte, cache), set()
    for value in values:
        follower = state.deep_copy()
        follower.consume_token(byte(value))
        then = follower.compute_bitmask(), follower.compute_ff_bytes()
        if len(values) <= FEW or then not in effects:
            effects.add(then)
            successors[value] = then, follower
    cache[mask] = list(successors)
    return successors


def _values(state: LLMatcher, byte: Callable[[int], int], cache: dict[bytes, list[int]]) -> list[int]:
    """Bytes that may follow, printable ones if there are any, letters and digits first; cached by the mask."""
    mask = state.compute_bitmask()
    if mask not in cache:
        free = [b for b in range(256) if mask[byte(b) // 8] >> byte(b) % 8 & 1]
        cache[mask] = sorted([b for b in free if b in PLAIN] or free, key=lambda b: (not chr(b).isalnum(), b))
    return cache[mask]

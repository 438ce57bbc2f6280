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
    start: LLMatcher, byte: Callable[[int], int], known: dict[bytes, list[int]]
) -> bytes | None:
    """Few bytes that complete a text: best first by length, over one byte of all that do the same.

    A byte after which all is as before, such as a further letter or blank, costs more than others. Of states
    that are alike, of the same length and with the same masks after each byte, one is followed. None if
    MAX_STATES states have none. `known` is of `_after`.
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
        after = {} if state.is_error() or len(text) > LONG else _after(state, byte, known)
        alike = len(text), frozenset(then for then, _ in after.values())
        if alike in seen:
            continue
        seen.add(alike)
        for value, (then, follower) in after.items():
            order += 1
            run = bytes([value])
            while len(run) < LONG and not follower.is_accepting():
                if len(only := _values(follower, byte, known)) != 1:
                    break
                follower.consume_token(byte(only[0]))
                run += bytes(only)
            step = len(run) + (SAME if then == now else 0)
            heapq.heappush(queue, (cost + step, order, text + run, follower))
    return None


def _after(
    state: LLMatcher, byte: Callable[[int], int], known: dict[bytes, list[int]]
) -> dict[int, tuple[tuple[bytes, bytes], LLMatcher]]:
    """Bytes that may follow -> what the mask and the forced bytes then are, and the state.

    Of more than a few, one of those that lead to the same; `known` keeps which.
    """
    mask, found = state.compute_bitmask(), {}
    values, seen = _values(state, byte, known), set()
    for value in values:
        follower = state.deep_copy()
        follower.consume_token(byte(value))
        then = follower.compute_bitmask(), follower.compute_ff_bytes()
        if len(values) <= FEW or then not in seen:
            seen.add(then)
            found[value] = then, follower
    known[mask] = list(found)
    return found


def _values(state: LLMatcher, byte: Callable[[int], int], known: dict[bytes, list[int]]) -> list[int]:
    """Bytes that may follow, plain ones if there are any, letters and digits first; kept by the mask."""
    mask = state.compute_bitmask()
    if mask not in known:
        free = [b for b in range(256) if mask[byte(b) // 8] >> byte(b) % 8 & 1]
        known[mask] = sorted([b for b in free if b in PLAIN] or free, key=lambda b: (not chr(b).isalnum(), b))
    return known[mask]

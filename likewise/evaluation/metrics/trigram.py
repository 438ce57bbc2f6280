"""Trigram: texts drawn letter by letter, each from the two before it; what any model should beat."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate

from likewise.core.rng import Rng

BEGIN, END = "\x02", ""  # what stands twice before a text, and what is drawn after it


class Trigram:
    """P(text) = prod_i P(x_i | x_{i-2}, x_{i-1}), as often as in the training texts (Shannon, 1948).

    Whatever two letters are drawn, training texts go on after them, so nothing needs to be smoothed.

    >>> Trigram(["abc", "abc"]).draw(2)
    ['abc', 'abc']
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Count. Raises ValueError if there is no text."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            padded = BEGIN + BEGIN + text
            for i, letter in enumerate([*text, END]):
                counts[padded[i : i + 2]][letter] += 1
        if not counts:
            raise ValueError("a trigram baseline needs at least one training text")
        self._next = {two: (list(found), list(accumulate(found.values()))) for two, found in counts.items()}

    def draw(self, n: int, *, seed: int = 0, longest: int = 1000) -> list[str]:
        """n texts of at most `longest` letters; text i depends on (seed, i) alone."""
        return [self._one(row) for row in Rng(range(n), "trigram", seed).uniform(longest).tolist()]

    def _one(self, numbers: list[float]) -> str:
        """A text from numbers in [0, 1), one for each letter."""
        text = BEGIN + BEGIN
        for u in numbers:
            letters, totals = self._next[text[-2:]]
            letter = letters[bisect.bisect_right(totals, u * totals[-1])]
            if letter == END:
                break
            text += letter
        return text[2:]

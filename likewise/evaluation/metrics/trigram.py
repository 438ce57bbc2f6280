"""A trigram model of characters: the baseline of domains of text."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import accumulate

from likewise.core.rng import Rng

BEGIN, END = "\x02", ""  # BEGIN stands twice before a text, END is sampled after it


class Trigram:
    """P(text) = prod_i P(x_i | x_{i-2}, x_{i-1}), by frequency in the training texts (Shannon, 1948).

    Every bigram that can be sampled has a continuation in the training texts, so there is no smoothing.

    >>> Trigram(["abc", "abc"]).sample(2)
    ['abc', 'abc']
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Count trigrams. Raises ValueError if there is no text."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            padded = BEGIN + BEGIN + text
            for i, letter in enumerate([*text, END]):
                counts[padded[i : i + 2]][letter] += 1
        if not counts:
            raise ValueError("a trigram baseline needs at least one training text")
        self._next = {
            bigram: (list(following), list(accumulate(following.values())))
            for bigram, following in counts.items()
        }

    def sample(self, n: int, *, seed: int = 0, max_length: int = 1000) -> list[str]:
        """n texts of at most `max_length` characters; text i depends on (seed, i) alone."""
        return [self._decode(row) for row in Rng(range(n), "trigram", seed).uniform(max_length).tolist()]

    def _decode(self, uniforms: list[float]) -> str:
        """A text from numbers in [0, 1), one for each character."""
        text = BEGIN + BEGIN
        for u in uniforms:
            letters, totals = self._next[text[-2:]]
            letter = letters[bisect.bisect_right(totals, u * totals[-1])]
            if letter == END:
                break
            text += letter
        return text[2:]

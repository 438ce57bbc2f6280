"""Id: a text that tells rows apart and says nothing of them; samples have new ones of the same form."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.spec import Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import ColumnSummary

MIN_ROWS = 10  # of ids, that they are none by chance
MIN_LENGTH = 4  # characters of an id without an order
DENSE = 2  # numbers that count are at most so many times as many whole numbers as there are rows
WITH_DIGITS = 0.5  # of ids; others are words
GOLDEN = 0x9E3779B97F4A7C15  # of 2^64, the golden ratio: multiples of that share are spread out
SPARSE = 2**60  # possible ids beyond which a new one is no training id by chance
WHY = "each row has another value, as an id"
HEX = "0123456789abcdef"
ALPHABETS = (  # the first one that has all characters of a place
    string.digits,
    HEX,
    HEX.upper(),
    string.ascii_uppercase,
    string.ascii_lowercase,
    string.digits + string.ascii_uppercase,
    string.digits + string.ascii_lowercase,
    string.digits + string.ascii_letters,
    string.digits + string.ascii_letters + "-_+/=",
)


@dataclass(frozen=True)
class Id(Modality):
    """A text that no other row has, on the grid (1,): one id of one class, as nothing is learned of it.

    places  the characters of each place; of ids that count, those before and behind the number
    next    the first number that no training id has, -1 of ids that do not count
    digits  of a number, at least
    integer  whether values are whole numbers, not texts
    taken   hashes of training ids of 32 bits in base64, where a new one might be one of them

    >>> Id.fit([f"C-{i:04d}" for i in range(20)]).decode(torch.zeros(1)), Id.fit(["7f3a90bc", "80ad3c11", "0c7de992"]).form()
    ('C-0020', '[0-9a-f]{8}')
    """

    places: tuple[str, ...]
    next: int = -1
    digits: int = 0
    taken: str = ""
    integer: bool = False

    dtypes = frozenset({"string", "int"})
    as_string = True
    null_words = True
    accepts_all = True
    default_family = "any_order"
    target_rank = 90

    kind = "id"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[str | int | None]) -> Self:
        """The form that all values have; of values of several forms the characters of each place."""
        texts = [str(value) for value in values if value is not None]
        integer = bool(texts) and not any(isinstance(value, str) for value in values)
        if counted := _count_pattern(texts):
            before, behind, numbers, digits = counted
            return cls((before, behind), max(numbers) + 1, 0 if integer else digits, integer=integer)
        places = _places(texts)
        space = math.prod(len(place) for place in places)
        hashes = np.sort(np.array([_hash(text) for text in texts], dtype="<u4"))
        taken = "" if space > SPARSE else base64.b64encode(hashes.tobytes()).decode()
        return cls(places, taken=taken, integer=integer)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """Texts that are all different and of one form, such as C-0012, hashes and UUIDs."""
        if column.dtype != "string" or column.rows < MIN_ROWS or not has_form(column.sample):
            return 0
        return 3 if column.unique == column.rows else 0

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        return f"{WHY}, such as {column.sample[0]}" if column.sample else WHY

    def why_id(self, name: str) -> str:
        return WHY

    def describe(self) -> str:
        """
        >>> Id.fit([f"C-{i:04d}" for i in range(20)]).describe()
        'ids of the form C-[0-9]{4}, which count; samples have new ones'
        """
        counts = ", which count" if self.next >= 0 else ""
        return f"ids of the form {self.form()}{counts}; samples have new ones"

    def form(self) -> str:
        """The form as a regular expression."""
        if self.next >= 0:
            count = f"{{{self.digits}}}" if self.digits else "+"
            return f"{self.places[0]}[0-9]{count}{self.places[1]}"
        runs: list[tuple[str, int]] = []
        for place in self.places:
            shown = place if len(place) == 1 else _class(place)
            runs = (
                [*runs[:-1], (shown, runs[-1][1] + 1)]
                if runs and runs[-1][0] == shown
                else [*runs, (shown, 1)]
            )
        return "".join(
            shown if n == 1 else f"{shown}{{{n}}}" if len(shown) > 1 else shown * n for shown, n in runs
        )

    @property
    def spec(self) -> Spec:
        return Spec((1,), classes=1)

    def check(self, value: Any) -> str | None:
        return None if isinstance(value, str | int) else f"{value!r} is no id"

    def encode(self, value: Any) -> Tensor:
        if reason := self.check(value):
            raise ValueError(reason)
        return torch.zeros(1, dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str:
        return next(self.fresh())

    def fresh(self, seed: int = 0) -> Iterator[str]:
        """New ids, each once, none of which a training row has; the same for a seed. Ends where the form has no more."""
        if self.next >= 0:
            yield from (
                f"{self.places[0]}{n:0{self.digits}d}{self.places[1]}" for n in itertools.count(self.next)
            )
        sizes = [len(place) for place in self.places]
        space = math.prod(sizes)
        if space > SPARSE:
            draw = random.Random(seed)
            while True:
                yield "".join(map(draw.choice, self.places))
        step = next(n for n in itertools.count(space * GOLDEN >> 64) if math.gcd(n, space) == 1)
        position = (seed + 1) * step % space
        for _ in range(space):  # each once, as the step has no factor of the space
            position = (position + step) % space
            digits, rest = [], position
            for size in reversed(sizes):
                rest, digit = divmod(rest, size)
                digits.append(digit)
            text = "".join(place[k] for place, k in zip(self.places, reversed(digits), strict=True))
            if not self._is_taken(text):
                yield text

    @cached_property
    def _hashes(self) -> np.ndarray:
        return np.frombuffer(base64.b64decode(self.taken), dtype="<u4")

    def _is_taken(self, text: str) -> bool:
        place = int(np.searchsorted(self._hashes, _hash(text)))
        return place < len(self._hashes) and int(self._hashes[place]) == _hash(text)

    def native(self, value: str | int | None) -> str | int | None:
        return int(value) if self.integer and value is not None else value

    def load(self, data: bytes) -> str:
        return data.decode(errors="replace").strip()

    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        return str(value).encode()


def has_form(texts: Sequence[str]) -> bool:
    """Whether different texts are ids by their form: a number that counts between the same characters, or as many
    characters of one alphabet in each, with digits in most."""
    if len(texts) < MIN_ROWS or sum(any(c.isdigit() for c in text) for text in texts) < WITH_DIGITS * len(
        texts
    ):
        return False
    if any(" " in text.strip() or "://" in text for text in texts[:MIN_ROWS]):
        return False
    if _count_pattern(texts):
        return True
    if len(set(map(len, texts))) > 1 or len(texts[0]) < MIN_LENGTH:
        return False
    return all(len(place) == 1 or place in ALPHABETS for place in _places(texts))


def _count_pattern(texts: Sequence[str]) -> tuple[str, str, list[int], int] | None:
    """What stands before and behind the number of each text, the numbers, and their digits; None for other texts."""
    split = [re.split("([0-9]+)", text) for text in texts]
    if not split or any(len(parts) != len(split[0]) for parts in split):
        return None
    different = [k for k, values in enumerate(zip(*split, strict=True)) if len(set(values)) > 1]
    if len(different) != 1 or not different[0] % 2:
        return None
    [k] = different
    written = [parts[k] for parts in split]
    numbers = list(map(int, written))
    if max(numbers) - min(numbers) >= DENSE * max(len(texts), MIN_ROWS):
        return None
    digits = len(written[0]) if len(set(map(len, written))) == 1 else 0
    return "".join(split[0][:k]), "".join(split[0][k + 1 :]), numbers, digits


def _places(texts: Sequence[str]) -> tuple[str, ...]:
    """The alphabet of each place; "" beyond the shortest text is left out."""
    length = min(map(len, texts), default=0)
    found = [{text[k] for text in texts} for k in range(length)]
    mixed = set().union(*(chars for chars in found if len(chars) > 1)) if found else set()
    common = next((a for a in ALPHABETS if mixed <= set(a)), "")
    places = []
    for chars in found:
        if len(chars) == 1:
            places.append(next(iter(chars)))
            continue
        own = next((a for a in ALPHABETS if chars <= set(a)), "".join(sorted(chars)))
        places.append(common if common in (HEX, HEX.upper()) else own)
    return tuple(places)


def _class(alphabet: str) -> str:
    """
    >>> _class(string.digits), _class(HEX)
    ('[0-9]', '[0-9a-f]')
    """
    parts = []
    for whole in (string.digits, string.ascii_uppercase, string.ascii_lowercase):
        inside = "".join(c for c in whole if c in alphabet)
        if inside and inside == whole[: len(inside)]:
            parts.append(f"{inside[0]}-{inside[-1]}")
        else:
            parts.append(inside)
    rest = "".join(c for c in alphabet if not c.isalnum())
    return f"[{''.join(parts)}{rest}]"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")

"""ByteBPE: the ids of texts, byte-level pairs (Sennrich et al., 2016) with id 0 for the end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

BYTE_IDS = 257  # ids of a vocabulary without merges: the end, and every byte
MAX_MERGES = 4096  # that a vocabulary has by default


class ByteBPE:
    """A vocabulary: a Hugging Face tokenizer, given as its JSON, whose end has id 0 here.

    `end` is the tokenizer's own id of the token that ends a text; it becomes id 0, and the ids below it move
    up by one. If it is None the tokenizer has no such token, and all of its ids move up by one.

    >>> vocabulary = ByteBPE(train_byte_bpe(["a text"]).to_str())
    >>> ids = vocabulary.encode("text")
    >>> vocabulary.size, len(ids), vocabulary.decode(ids), vocabulary.ids_to_bytes(ids[:2])
    (257, 4, 'text', b'te')
    """

    def __init__(self, tokenizer: str, end: int | None = None) -> None:
        self.end = end
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer)
        self._tokenizer.encode_special_tokens = True  # the end, written out in a text, is letters
        self.size = self._tokenizer.get_vocab_size() + (end is None)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without an end."""
        return self.to_internal_ids(self._tokenizer.encode(text).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts, in parallel."""
        return [self.to_internal_ids(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids other than 0; bytes that are not UTF-8 become U+FFFD."""
        return self._tokenizer.decode(self.to_tokenizer_ids(ids))

    def to_internal_ids(self, ids: Sequence[int]) -> list[int]:
        """Ids of the tokenizer -> ids of this vocabulary."""
        if self.end is None:
            return [i + 1 for i in ids]
        return [0 if i == self.end else i + (i < self.end) for i in ids]

    def to_tokenizer_ids(self, ids: Sequence[int]) -> list[int]:
        """The inverse of `to_internal_ids`; without `end`, of ids other than 0."""
        if self.end is None:
            return [i - 1 for i in ids]
        return [i - (i <= self.end) if i else self.end for i in ids]

    def ids_to_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of ids, which may begin or end within a character."""
        return b"".join(self.token_bytes[i] for i in ids)

    def ids_with_prefix(self, prefix: bytes) -> list[int]:
        """The ids whose bytes begin with `prefix`."""
        ids = self._ids_by_bytes

        def beginning(i: int) -> bytes:
            return self.token_bytes[i][: len(prefix)]

        return ids[bisect_left(ids, prefix, key=beginning) : bisect_right(ids, prefix, key=beginning)]

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each id; none for id 0."""
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
        others = [b for b in range(256) if b not in printable]  # these are written as U+0100, U+0101, ...
        byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
        tokens = {i: token for token, i in self._tokenizer.get_vocab().items()}
        words = (tokens[i] for i in self.to_tokenizer_ids(range(1, self.size)))
        return b"", *(
            bytes(byte_of[c] for c in word) if byte_of.keys() >= {*word} else word.encode() for word in words
        )  # tokens that were added to the vocabulary are written as plain text

    @cached_property
    def max_token_bytes(self) -> int:
        """The length in bytes of the longest id."""
        return max(map(len, self.token_bytes))

    @cached_property
    def _ids_by_bytes(self) -> list[int]:
        """All ids but 0, sorted by their bytes."""
        return sorted(range(1, self.size), key=self.token_bytes.__getitem__)


def train_byte_bpe(texts: Iterable[str], size: int = BYTE_IDS) -> tokenizers.Tokenizer:
    """A byte-level tokenizer of `size` - 1 ids: id 0 of the vocabulary is the end, which no text contains."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, min_frequency=3, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer

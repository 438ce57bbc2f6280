"""docs/architecture.png: the packages from top to bottom, and the way of a row, a training batch and a sample.

python docs/architecture.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, SOFT = "#1c1c1c", "#6d6d6d"
PACKAGES = [  # what imports stands above what is imported
    ("cli", "one file a command"),
    ("evaluation", "metrics, evaluators, comparisons"),
    ("interop", "folders of other libraries"),
    ("training", "loop, plan, optimizers, processes"),
    ("models", "formula + modalities + family; run folders"),
    ("viz", "values as pictures"),
    ("families", "one file a family"),
    ("data", "any source → checked rows → batches"),
    ("generation", "denoising, sequences, latents, mixtures, trees"),
    ("nets", "layers, stems, transformers"),
    ("modalities", "value ↔ tokens, one file a kind"),
    ("core", "formula, spec, batch, random numbers"),
]
FLOWS = {  # name, color -> the packages on its way, and what happens there
    "a row of a file": (
        "#2f7d4f",
        [
            ("data", "a reader finds the\nrows and their kinds"),
            ("modalities", "check each stored value,\nlearn sizes and vocabularies"),
            ("data", "split off held-out rows; encode once"),
        ],
    ),
    "a training batch": (
        "#1f5fa8",
        [
            ("data", "tokens of the rows that\n(seed, step) selects"),
            ("training", "drop sources at random, loss.backward"),
            ("families", "loss of the targets\ngiven the sources"),
            ("generation", "noise, codes or shifted ids"),
            ("nets", "predictions"),
            ("training", "optimizer step, moving average"),
            ("models", "checkpoint"),
        ],
    ),
    "a sample": (
        "#b3541e",
        [
            ("cli", "words of a person"),
            ("models", "sources → tokens"),
            ("families", "sample(sources, known, seed)"),
            ("generation", "sampler, guidance,\nconstraints"),
            ("nets", "predictions"),
            ("modalities", "tokens → values"),
            ("viz", "sheet, caption"),
            ("cli", "files with provenance"),
        ],
    ),
}
ROW, LEFT, WIDTH, LANE = 0.62, 0.3, 4.4, 3.5  # inches


def main() -> None:
    height = ROW * len(PACKAGES) + 1.0
    figure = Figure(figsize=(LEFT + WIDTH + LANE * len(FLOWS) + 0.4, height), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, figure.get_figwidth()), ylim=(height, 0))
    axes.set_axis_off()
    middle = {name: 0.75 + ROW * (i + 0.5) for i, (name, _) in enumerate(PACKAGES)}
    for name, about in PACKAGES:
        y = middle[name]
        box = FancyBboxPatch(
            (LEFT, y - 0.24),
            WIDTH,
            0.48,
            boxstyle="round,pad=0,rounding_size=0.08",
            fc="#f4f4f2",
            ec="#cfcfca",
        )
        axes.add_patch(box)
        axes.text(LEFT + 0.15, y, name, va="center", fontsize=12, fontweight="bold", color=INK)
        axes.text(LEFT + 1.35, y, about, va="center", fontsize=9.5, color=SOFT)
        axes.plot([LEFT + WIDTH, figure.get_figwidth() - 0.2], [y, y], color="#ececea", lw=0.8, zorder=0)
    axes.text(
        LEFT, 0.4, "a package imports only what stands below it", fontsize=10, color=SOFT, style="italic"
    )
    for lane, (name, (color, stops)) in enumerate(FLOWS.items()):
        x = LEFT + WIDTH + 0.45 + lane * LANE
        axes.text(x - 0.1, 0.4, name, fontsize=12, fontweight="bold", color=color)
        points = [(x + 0.11 * i, middle[package]) for i, (package, _) in enumerate(stops)]
        axes.plot(*zip(*points, strict=True), color=color, lw=1.6, alpha=0.55, zorder=1)
        visits: dict[str, int] = {}
        for number, ((px, py), (package, what)) in enumerate(zip(points, stops, strict=True), 1):
            axes.plot([px], [py], "o", ms=13, color=color, zorder=2)
            axes.text(
                px, py, str(number), color="white", ha="center", va="center", fontsize=8, fontweight="bold"
            )
            again = visits.get(package, 0)
            visits[package] = again + 1
            lift = 0 if sum(p == package for p, _ in stops) == 1 else (-0.15 if again == 0 else 0.15)
            label = x + 0.11 * len(stops) + 0.05
            text = what.replace("\n", " ") if lift else what
            axes.text(
                label, py + lift, f"{number} {text}", va="center", fontsize=8, color=INK, linespacing=1.05
            )
    figure.savefig(Path(__file__).with_name("architecture.png"))


if __name__ == "__main__":
    main()

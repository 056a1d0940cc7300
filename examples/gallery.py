"""Draws every loss of jaxce and its gradient against the margin of the correct class, on one sheet.

    python -m pip install ".[examples]" && python examples/gallery.py

`--charts FOLDER` also draws one chart for each family of losses: those of `docs/choosing.md` and `docs/curves.md`.

There are two classes, the logits are ``(z, 0)``, and the label is the first class. The prediction is correct for a
margin ``z`` above 0, and ``cross_entropy`` is ``log(1 + exp(-z))``. Black curves show it for comparison. A binary
label has the logit ``z``. In an image, the pixels of a small foreground have the margin ``z``, and the background is
predicted correctly. The gradient is the derivative by ``z``: the contribution of an example to training.
"""

import argparse
import dataclasses
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import jaxce

MARGINS = jnp.linspace(-6, 6, 601)
MASK = jnp.hypot(*(jnp.indices((8, 8)) - 3.5)) < 2  # a disc of 12 pixels in an image of 64
FOUND = 4.0  # the margin of the background pixels
SOLID: tuple[int, tuple[int, ...]] = (0, ())
# Equal curves: the first is broad, the others are alternating dashes on it.
ONE_DASH, OTHER_DASH = (0, (3, 5)), (4, (3, 5))
BLACK, GREY, YELLOW, ORANGE, RED = "#1a1a1a", "#8a8a8a", "#f2c14e", "#e07b00", "#c22f2f"
SKY, GREEN, VIOLET = "#56b4e9", "#1b9e77", "#8e5ea2"
BLUES = ("#9ecae1", "#4a98c9", "#1764ab", "#08306b")


def classes(z: jax.Array) -> tuple[jax.Array, ...]:
    """Two classes; the first is the label."""
    return jnp.stack([z, jnp.zeros_like(z)]), jnp.array(0)


def log_probs(z: jax.Array) -> tuple[jax.Array, ...]:
    logits, label = classes(z)
    return jax.nn.log_softmax(logits), label


def layer(z: jax.Array) -> tuple[jax.Array, ...]:
    """A hidden state of one feature, and a kernel with the logits ``(z, 0)``."""
    return z[None], jnp.array([[1.0, 0.0]]), jnp.array(0)


def multi_hot(z: jax.Array) -> tuple[jax.Array, ...]:
    """Two binary labels; the first is positive."""
    return classes(z)[0], jnp.array([1, 0])


def teacher(z: jax.Array) -> tuple[jax.Array, ...]:
    """A distribution as label."""
    return classes(z)[0], jnp.array([0.8, 0.2])


def unlabelled(z: jax.Array) -> tuple[jax.Array, ...]:
    return classes(z)[:1]


def positive(z: jax.Array) -> tuple[jax.Array, ...]:
    return z, jnp.array(1)


def negative(z: jax.Array) -> tuple[jax.Array, ...]:
    return z, jnp.array(0)


def minus_one(z: jax.Array) -> tuple[jax.Array, ...]:
    """The negative label of losses with labels 1 and -1."""
    return z, jnp.array(-1)


def positive_probs(z: jax.Array) -> tuple[jax.Array, ...]:
    """The probability of the logit."""
    return jax.nn.sigmoid(z), jnp.array(1)


def negative_probs(z: jax.Array) -> tuple[jax.Array, ...]:
    return jax.nn.sigmoid(z), jnp.array(0)


def image(z: jax.Array) -> tuple[jax.Array, ...]:
    """One image of two classes; foreground pixels have the margin ``z``."""
    ahead = jnp.where(MASK, z, FOUND)
    return jnp.stack([jnp.where(MASK, 0, ahead), jnp.where(MASK, ahead, 0)], axis=-1)[None], MASK[None].astype(int)


def mask(z: jax.Array) -> tuple[jax.Array, ...]:
    """The same image as a binary mask, with one logit per pixel."""
    return jnp.where(MASK, z, -FOUND)[None], MASK[None].astype(int)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A public loss by name, its arguments as a function of the margin, its options, and its line style."""

    name: str
    arguments: Callable[[jax.Array], tuple[jax.Array, ...]]
    color: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    dash: tuple[int, tuple[int, ...]] = SOLID
    width: float = 2.0

    @property
    def label(self) -> str:
        options = "  ".join(f"{key}={value}" for key, value in self.options.items())
        return self.name + ("\n" if len(self.name + options) > 30 else "  ") + options

    def __call__(self, z: jax.Array) -> jax.Array:
        loss: jax.Array = getattr(jaxce, self.name)(*self.arguments(z), **self.options)
        return loss


@dataclasses.dataclass(frozen=True)
class Panel:
    """Related curves, with the ranges of both plots. The name is that of the chart's file."""

    name: str
    title: str
    curves: tuple[Curve, ...]
    losses: tuple[float, float]
    gradients: tuple[float, float]
    legend: str = "upper right"
    margin: str = "margin z of the correct class"


REFERENCE = Curve("cross_entropy", classes, BLACK, width=1.2)
PANELS = (
    Panel(
        "softmax",
        "Softmax: one class of several",
        (
            Curve("cross_entropy", classes, BLACK, width=3.2),
            Curve("linear_cross_entropy", layer, YELLOW, dash=ONE_DASH),
            Curve("nll_loss", log_probs, SKY, dash=OTHER_DASH),
            Curve("cross_entropy", classes, GREY, {"label_smoothing": 0.1}),
            Curve("poly1_loss", classes, GREEN, {"epsilon": 2}),
            Curve("poly1_loss", classes, RED, {"epsilon": -1}),
        ),
        losses=(-0.2, 8.4),
        gradients=(-1.7, 0.25),
    ),
    Panel(
        "focal",
        "Focal: easy examples down-weighted",
        (
            REFERENCE,
            *(Curve("focal_loss", classes, c, {"gamma": g}) for g, c in zip((0.5, 1, 2, 5), BLUES, strict=True)),
        ),
        losses=(-0.2, 6.6),
        gradients=(-1.7, 0.25),
    ),
    Panel(
        "wrong-labels",
        "Robust to wrong labels",
        (
            REFERENCE,
            *(
                Curve("generalized_cross_entropy", classes, c, {"q": q})
                for q, c in zip((0.3, 0.7, 1), BLUES, strict=False)
            ),
            Curve("brier_loss", classes, ORANGE),
            Curve("js_divergence", classes, VIOLET),
        ),
        losses=(-0.1, 4.6),
        gradients=(-1.05, 0.15),
    ),
    Panel(
        "divergences",
        "Divergence from a label of (0.8, 0.2)",
        (
            Curve("cross_entropy", teacher, BLACK, width=3.2),
            Curve("kl_divergence", teacher, GREEN),
            Curve("js_divergence", teacher, VIOLET),
            Curve("brier_loss", teacher, ORANGE),
            Curve("entropy", unlabelled, RED, dash=(0, (5, 2))),
        ),
        losses=(-0.1, 4.6),
        gradients=(-1.05, 0.5),
        margin="margin z of the first class",
    ),
    Panel(
        "positive",
        "Binary labels: positive",
        (
            Curve("sigmoid_binary_cross_entropy", positive, BLACK, width=3.2),
            Curve("binary_cross_entropy", positive_probs, YELLOW, dash=ONE_DASH),
            Curve("soft_margin_loss", positive, SKY, dash=OTHER_DASH),
            Curve("sigmoid_focal_loss", positive, BLUES[2]),
            Curve("quality_focal_loss", positive, GREEN),
            Curve("hinge_loss", positive, VIOLET),
            Curve("asymmetric_loss", positive, RED),
        ),
        losses=(-0.2, 6.6),
        gradients=(-1.45, 0.25),
        margin="logit z",
    ),
    Panel(
        "negative",
        "Binary labels: negative",
        (
            Curve("sigmoid_binary_cross_entropy", negative, BLACK, width=3.2),
            Curve("binary_cross_entropy", negative_probs, YELLOW, dash=ONE_DASH),
            Curve("soft_margin_loss", minus_one, SKY, dash=OTHER_DASH),
            Curve("sigmoid_focal_loss", negative, BLUES[2]),
            Curve("quality_focal_loss", negative, GREEN),
            Curve("hinge_loss", negative, VIOLET),
            Curve("asymmetric_loss", negative, RED),
        ),
        losses=(-0.2, 6.6),
        gradients=(-0.25, 1.45),
        legend="upper left",
        margin="logit z",
    ),
    Panel(
        "margins",
        "Margins",
        (
            REFERENCE,
            Curve("multiclass_hinge_loss", classes, BLUES[1], {"p": 1}, width=3.2),
            Curve("multilabel_margin_loss", multi_hot, YELLOW, dash=ONE_DASH),
            Curve("multiclass_hinge_loss", classes, BLUES[3], {"p": 2}),
            Curve("multiclass_hinge_loss", classes, ORANGE, {"variant": "crammer-singer", "p": 1}),
            Curve("multiclass_hinge_loss", classes, RED, {"variant": "crammer-singer", "p": 2}),
            Curve("multilabel_soft_margin_loss", multi_hot, GREEN),
        ),
        losses=(-0.4, 13.5),
        gradients=(-4.2, 0.4),
    ),
    Panel(
        "regions",
        "Regions: a small foreground",
        (
            Curve("cross_entropy", image, BLACK, width=1.2),
            Curve("dice_loss", image, BLUES[1]),
            Curve("tversky_loss", image, GREEN, {"alpha": 0.3, "beta": 0.7}),
            Curve("jaccard_loss", image, BLUES[3]),
            Curve("lovasz_softmax", image, ORANGE, dash=(0, (5, 2))),
            Curve("lovasz_hinge", mask, RED),
        ),
        losses=(-0.05, 2.2),
        gradients=(-1.05, 0.1),
        margin="margin z of the foreground's pixels",
    ),
)


def draw_plot(axes: Axes, panel: Panel, values: list[jax.Array], limits: tuple[float, float]) -> None:
    """Draws the curves of a panel; the background is grey for wrong predictions."""
    wrong = (0, 6) if panel.legend == "upper left" else (-6, 0)
    axes.axvspan(*wrong, color="#f3f3f3", linewidth=0)
    axes.axhline(0, color="#bbbbbb", linewidth=0.8)
    for curve, line in zip(panel.curves, values, strict=True):
        style: dict[str, Any] = {"linestyle": curve.dash, "linewidth": curve.width, "color": curve.color}
        axes.plot(MARGINS, line, label=curve.label, **style)
    axes.set(xlim=(-6, 6), ylim=limits, xticks=range(-6, 7, 2))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, color="#999999")


def derivatives(panel: Panel) -> tuple[list[jax.Array], list[jax.Array]]:
    """The losses of the curves, and their gradients."""
    both = [jax.jit(jax.vmap(jax.value_and_grad(curve)))(MARGINS) for curve in panel.curves]
    return [loss for loss, _ in both], [gradient for _, gradient in both]


def draw_panel(upper: Axes, lower: Axes, panel: Panel) -> set[str]:
    """Draws losses above and gradients below. Returns the names of the losses."""
    losses, gradients = derivatives(panel)
    draw_plot(upper, panel, losses, panel.losses)
    draw_plot(lower, panel, gradients, panel.gradients)
    upper.set_title(panel.title, fontsize=10.5, fontweight="bold", loc="left", pad=10)
    upper.tick_params(labelbottom=False)
    style: dict[str, Any] = {"loc": panel.legend, "fontsize": 7.5, "frameon": False, "borderaxespad": 0.1}
    upper.legend(*upper.get_legend_handles_labels(), **style, handlelength=2.1, labelspacing=0.4)
    lower.set_xlabel(panel.margin, fontsize=9)
    return {curve.name for curve in panel.curves}


def draw(path: Path) -> set[str]:
    """Draws two bands of four panels. Returns the names of the losses."""
    figure = Figure(figsize=(14.2, 12.4), layout="constrained")
    grid = figure.add_gridspec(5, 4, height_ratios=(1.35, 1, 0.01, 1.35, 1))  # space between the bands
    drawn: set[str] = set()
    for number, panel in enumerate(PANELS):
        row, column = 3 * (number // 4), number % 4
        upper, lower = (figure.add_subplot(grid[r, column]) for r in (row, row + 1))
        drawn |= draw_panel(upper, lower, panel)
        if column == 0:
            upper.set_ylabel("loss", fontsize=10)
            lower.set_ylabel("gradient", fontsize=10)
    figure.align_ylabels()
    title = "Every loss against the margin, and its gradient below; grey: wrong predictions"
    figure.suptitle(title, x=0.004, ha="left", fontsize=12.5)
    whole = io.BytesIO()
    figure.savefig(whole, dpi=110)
    Image.open(whole).convert("RGB").quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)
    return drawn


def describe(panel: Panel) -> str:
    """The curves of a chart in words. A chart has them as its description, and a test compares."""
    return "; ".join(" ".join(curve.label.split()) for curve in panel.curves)


def draw_chart(panel: Panel, folder: Path) -> None:
    """Draws one family: losses on the left, gradients on the right. The file has no date, so it stays equal."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    both = zip(figure.subplots(1, 2), derivatives(panel), (panel.losses, panel.gradients), strict=True)
    for (axes, values, limits), title in zip(both, ("loss", "gradient"), strict=True):
        draw_plot(axes, panel, values, limits)
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlabel(panel.margin)
        axes.tick_params(labelsize=9)
    figure.suptitle(panel.title, fontweight="bold", x=0.01, ha="left")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with rc_context({"svg.hashsalt": panel.name}):
        figure.savefig(folder / f"losses-{panel.name}.svg", metadata={"Date": None, "Description": describe(panel)})


def losses_of_jaxce() -> set[str]:
    """The public losses: functions with a reduction, except ``reduce`` and those with curves of other losses."""
    public = {name: getattr(jaxce, name) for name in jaxce.__all__}
    functions = {name: f for name, f in public.items() if inspect.isfunction(f)}
    losses = {name for name, f in functions.items() if "reduction" in inspect.signature(f).parameters}
    return losses - {"reduce", "linear_loss", "distillation_loss", "linear_kl_divergence", "js_divergence_of_views"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default="gallery.png", help="the picture (default: %(default)s)")
    parser.add_argument("--charts", type=Path, help="a folder for one chart of each family")
    args = parser.parse_args()

    if args.charts:
        for panel in PANELS:
            draw_chart(panel, args.charts)
    drawn, losses = draw(args.out), losses_of_jaxce()
    if drawn != losses:
        raise SystemExit(f"not drawn: {sorted(losses - drawn)}, no loss: {sorted(drawn - losses)}")
    print(f"All {len(losses)} losses, with their gradients, are in {args.out}")


if __name__ == "__main__":
    main()

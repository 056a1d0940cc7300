"""Draws the pictures of `docs/understanding.md`: `python docs/figures/understanding.py`.

They use the numbers of the page. Each is an SVG file without a date, so drawing it again changes nothing.
"""

import pathlib

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

HERE = pathlib.Path(__file__).parent
BLUE, ORANGE, GREY, LIGHT, INK = "#1764ab", "#e07b00", "#8a8a8a", "#c6dbef", "#1a1a1a"
FIVE = np.array([-0.3830, -0.0102, -1.4235, -0.5212, 0.9011])
STYLE = {"font.size": 11, "svg.hashsalt": "jaxce", "axes.spines.top": False, "axes.spines.right": False}


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    exps = np.exp(x - x.max())
    return exps / exps.sum()


def bars(axes: Axes, values: np.ndarray, title: str, marked: int | None = None, digits: int = 2) -> None:
    """One bar per class with its number; the bar of the label has another color."""
    colors = [ORANGE if c == marked else BLUE for c in range(len(values))]
    axes.bar(range(len(values)), values, color=colors, width=0.7)
    reach = max(np.abs(values).max(), 0.1)
    for c, value in enumerate(values):
        end = "bottom" if value >= 0 else "top"
        axes.text(c, value + 0.02 * reach * np.sign(value), f"{value:.{digits}f}", ha="center", va=end, fontsize=9)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_ylim(min(0.0, 1.25 * values.min()), 1.2 * reach)
    axes.set_xticks(range(len(values)))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title(title, fontsize=11)


def five_classes(figure: Figure) -> None:
    """Logits, softmax, and minus the logarithm, of the first example."""
    for axes, (values, title) in zip(
        figure.subplots(1, 3),
        [(FIVE, "logits $x_c$"), (softmax(FIVE), "softmax $p_c$"), (-np.log(softmax(FIVE)), "$-\\log p_c$")],
        strict=True,
    ):
        bars(axes, values, title, 4)
        axes.set_xlabel("class")
    figure.axes[2].annotate(
        "loss of label 4: 0.70", (4, 0.9), (1.5, 3.4), color=ORANGE, arrowprops={"arrowstyle": "->"}
    )


def information(figure: Figure) -> None:
    """Minus the logarithm of a probability, in two units."""
    axes = figure.subplots()
    p = np.linspace(0.005, 1, 400)
    axes.plot(p, -np.log(p), color=BLUE, linewidth=2)
    for point in (0.5, 0.1, 0.01):
        axes.plot(point, -np.log(point), "o", color=ORANGE)
        axes.annotate(
            f"p = {point}: {-np.log(point):.2f} nats", (point, -np.log(point)), (8, 6), textcoords="offset points"
        )
    axes.set_xlabel("probability p")
    axes.set_ylabel("-log p in nats")
    axes.set_ylim(0, 5.3)
    bits = axes.secondary_yaxis("right", functions=(lambda nats: nats / np.log(2), lambda bits: bits * np.log(2)))
    bits.set_ylabel("in bits")


def entropy(figure: Figure) -> None:
    """Two distributions, and their cross-entropy as a sum."""
    q, p = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    labels, model, parts = figure.subplots(1, 3, width_ratios=[1, 1, 1.6])
    bars(labels, q, "labels q")
    bars(model, p, "model p")
    own, more = -(q * np.log(q)).sum(), (q * np.log(q / p)).sum()
    parts.barh([1, 0, 0], [own + more, own, more], left=[0, 0, own], color=[BLUE, LIGHT, ORANGE], height=0.5)
    parts.text((own + more) / 2, 1, f"cross-entropy {own + more:.3f}", ha="center", va="center", color="white")
    parts.text(own / 2, 0, f"entropy of q {own:.3f}", ha="center", va="center")
    parts.annotate(f"KL(q, p) {more:.3f}", (own + more / 2, -0.25), (0, -18), textcoords="offset points", ha="center")
    parts.set_ylim(-0.8, 1.4)
    parts.axis("off")


def grid(axes: Axes, corner: tuple[float, float], color: str, texts: list[list[str]] | None = None) -> None:
    """A small image of 3 by 4 pixels."""
    for row in range(3):
        for column in range(4):
            place = corner[0] + column, corner[1] - row
            axes.add_patch(Rectangle(place, 1, 1, facecolor=color, edgecolor="white"))
            if texts:
                axes.text(place[0] + 0.5, place[1] + 0.5, texts[row][column], ha="center", va="center")


def class_axis(figure: Figure) -> None:
    """Logits have a plane per class, labels have one."""
    axes = figure.subplots()
    for c, color in reversed([*enumerate([BLUE, "#4a98c9", "#9ecae1"])]):
        grid(axes, (1.1 * c, 2 + 0.9 * c), color)
        axes.text(1.1 * c + 4.1, 0.9 * c + 0.15, f"class {c}", va="bottom", fontsize=10)
    grid(axes, (10, 2.5), LIGHT, [["0", "0", "1", "1"], ["0", "2", "2", "1"], ["0", "2", "2", "1"]])
    axes.text(2, -1.2, "logits [batch, 3, 3, 4], axis=1", ha="center")
    axes.text(12, -1.2, "labels [batch, 3, 4]", ha="center")
    axes.text(8.2, 1.8, "without\nthe class axis", ha="center", va="center", color=GREY, fontsize=10)
    axes.annotate("", (9.7, 1.0), (6.7, 1.0), arrowprops={"arrowstyle": "->", "color": GREY})
    axes.set_xlim(-0.5, 15)
    axes.set_ylim(-1.8, 5.2)
    axes.set_aspect("equal")
    axes.axis("off")


def weights(figure: Figure) -> None:
    """Areas: the loss of a pixel times its weight, and the mean as the height of the same area."""
    axes = figure.subplots()
    losses, widths = [1.0986, 1.8620], [1, 2]
    for left, width, loss, color in zip([0, 1], widths, losses, [LIGHT, BLUE], strict=True):
        axes.add_patch(Rectangle((left, 0), width, loss, facecolor=color, edgecolor="white"))
        axes.text(
            left + width / 2,
            loss / 2,
            f"loss {loss:.2f}\nweight {width}",
            ha="center",
            va="center",
            color=INK if color == LIGHT else "white",
        )
    axes.plot([0, 3], [1.6075, 1.6075], color=ORANGE, linewidth=2)
    axes.text(3.05, 1.6075, "area / 3 = 1.61\nsum of the weights", color=ORANGE, va="center")
    axes.plot([0, 3], [2.4113, 2.4113], color=GREY, linewidth=2, linestyle="--")
    axes.text(3.05, 2.4113, "area / 2 = 2.41\nnumber of pixels", color=GREY, va="center")
    axes.set_xlim(0, 4.4)
    axes.set_ylim(0, 2.8)
    axes.set_xticks([0, 1, 2, 3])
    axes.set_xlabel("weight")
    axes.set_ylabel("loss")


def smoothing(figure: Figure) -> None:
    """The smoothed loss of two classes against the margin of the label."""
    axes = figure.subplots()
    z = np.linspace(-3, 8, 400)
    for eps, color in ((0.0, INK), (0.1, BLUE), (0.2, ORANGE)):
        loss = np.log1p(np.exp(-z)) + eps / 2 * z
        axes.plot(z, loss, color=color, linewidth=2)
        axes.text(8.1, loss[-1], f"eps = {eps}", color=color, va="center")
        if eps:
            best = np.log((2 - eps) / eps)
            axes.plot(best, np.log1p(np.exp(-best)) + eps / 2 * best, "o", color=color)
    axes.set_xlabel("logit of the label minus the other logit")
    axes.set_ylabel("loss")
    axes.set_ylim(0, 3)


def sigmoid(figure: Figure) -> None:
    """The same logits as exclusive classes and as binary labels."""
    x = np.array([2.0, 1.0, -1.0])
    for axes, (values, title) in zip(
        figure.subplots(1, 3),
        [(x, "logits"), (softmax(x), "softmax: sum 1"), (1 / (1 + np.exp(-x)), "sigmoid: each by itself")],
        strict=True,
    ):
        bars(axes, values, title)


PICTURES = {
    five_classes: (9, 2.9),
    information: (6.5, 3.6),
    entropy: (9, 2.4),
    class_axis: (8.5, 3.4),
    weights: (7, 3.2),
    smoothing: (6.5, 3.4),
    sigmoid: (8.5, 2.4),
}


def main() -> None:
    """Writes every picture beside this file."""
    with matplotlib.rc_context(STYLE):
        for draw, size in PICTURES.items():
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            name = draw.__name__.replace("_", "-")
            figure.savefig(HERE / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()

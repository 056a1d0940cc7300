"""From results.csv to the tables and plots of docs/performance.md and the README: `python benchmarks/report.py`."""

import csv
import math
import pathlib
import re

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.csv"
COMPILED = ROOT / "benchmarks" / "compilers.csv"
COMPILED_FIELDS = ("chip", "case", "contestant", "work", "passes", "temporaries", "gathers", "jax")
KEY = ("device", "jax", "case", "work", "contestant")
NUMBERS = ("rounds", "seconds", "ratio", "low", "high", "temporary", "compiling", "loss_error", "gradient_error")
FIELDS = (*KEY, *NUMBERS, "python", "optax", "torch", "tokamax", "commit")
RIVALS = ("optax", "by hand", "PyTorch", "PyTorch, compiled")
WORKS = ("forward", "value and gradient")
SAME_JOB = 1e-4
"""A loss that is further from float64 was not computed in float32, and is no rival of one that was."""


def read(path=RESULTS):
    """The rows, with numbers as numbers and None where there is none."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {n: float(row[n]) if row[n] else None for n in NUMBERS} for row in rows]


def keep(rows, path):
    """Adds rows to the file, in the place of those measured before on the same device with the same JAX."""
    old = []
    if path.exists():
        with open(path, newline="") as file:
            old = list(csv.DictReader(file))
    kept = {tuple(row[k] for k in KEY): row for row in [*old, *rows]}
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())


def grouped(rows, *keys):
    """Rows by the values of some columns, in the order they first come."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    return {key[0] if len(keys) == 1 else key: group for key, group in groups.items()}


def race(rows):
    """One case and work as contestant -> row, with the fastest spelling of optax as "optax"."""
    by_name = {row["contestant"]: row for row in rows}
    spellings = [row for name, row in by_name.items() if name.startswith("optax") and _is_rival(row)]
    return by_name | ({"optax": max(spellings, key=lambda row: row["ratio"])} if spellings else {})


def _is_rival(row):
    return row["loss_error"] is None or row["loss_error"] < SAME_JOB


def table(header, lines):
    marks = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (header, marks, *lines))


def ratio(row):
    return f"{row['ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})" if row else ""


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def dense(rows, work):
    """The losses of logits that are there: times as multiples of each rival's, and temporary memory."""
    chosen = [r for r in rows if r["work"] == work and "sweep" not in r["case"] and " linear" not in r["case"]]
    races = {case: race(group) for case, group in grouped(chosen, "case").items()}
    present = [name for name in (*RIVALS, "floor") if any(name in r for r in races.values())]
    lines = [
        [case, f"{1e3 * r['jaxce']['seconds']:.3g} ms", *(ratio(r.get(name)) for name in present)]
        for case, r in races.items()
    ]
    means = [mean([r[name]["ratio"] for r in races.values() if name in r]) for name in present]
    lines.append(["geometric mean", "", *(f"**{m:.2f}**" for m in means)])
    return table([work, "jaxce", *(f"/ {name}" for name in present)], lines)


def memory(rows):
    """Temporary memory of value and gradient in percent of the logits, and errors."""
    lines = []
    for case, group in grouped([r for r in rows if r["work"] == WORKS[1]], "case").items():
        shape = re.search(r"\[(.*)\]", case)[1]
        if "sweep" in case or " linear" in case:
            continue
        size = math.prod(map(int, shape.split(","))) * (2 if case.startswith("bfloat16") else 4)
        by_name = race(group)
        names = [name for name in ("jaxce", "optax", "by hand") if name in by_name]
        line = [case]
        for name in names:
            row = by_name[name]
            line += [f"{100 * row['temporary'] / size:.1f} %", f"{1e3 * row['compiling']:.0f} ms"]
        with_torch = ("PyTorch",) if "PyTorch" in by_name else ()
        errors = [f"{by_name[n]['loss_error']:.0e} / {by_name[n]['gradient_error']:.0e}" for n in (*names, *with_torch)]
        lines.append([*line, *errors, *([""] * (1 - len(with_torch)))])
    header = ["value and gradient"]
    header += [f"{name}: {what}" for name in ("jaxce", "optax", "by hand") for what in ("memory", "compiling")]
    header += [f"{name}: errors" for name in ("jaxce", "optax", "by hand", "PyTorch")]
    return table(header, lines)


def eager(rows):
    lines = []
    for (case, work), group in grouped([r for r in rows if r["work"].startswith("eager")], "case", "work").items():
        r = race(group)
        lines.append(
            [f"{case}, {work}", f"{1e3 * r['jaxce']['seconds']:.3g} ms", *(ratio(r.get(n)) for n in RIVALS[:3])]
        )
    return table(["without jit", "jaxce", *(f"/ {name}" for name in RIVALS[:3])], lines)


def linear(rows, case):
    """All that was measured of one linear layer, as multiples of a matrix product and optax."""
    group = {row["contestant"]: row for row in rows if row["case"] == case and row["work"] == WORKS[1]}
    base = group["optax"]
    lines = []
    for name, row in group.items():
        room = "" if row["temporary"] is None else f"{row['temporary'] / base['temporary']:.2f}"
        errors = ["" if row[e] is None else f"{row[e]:.0e}" for e in ("loss_error", "gradient_error")]
        label = "matrix product + optax" if name == "optax" else name
        lines.append([label, f"{row['seconds']:.3g} s", f"{base['ratio'] / row['ratio']:.2f}", room, *errors])
    return table([f"{case}, {WORKS[1]}", "time", "ratio", "memory", "loss error", "gradient error"], lines)


def losses(rows):
    """Where jaxce loses: every rival that was faster."""
    lines = []
    for (case, work), group in grouped([r for r in rows if "sweep" not in r["case"]], "case", "work").items():
        by_name = race(group)
        for name in (*RIVALS, "PyTorch, chunked", "tokamax, xla", "tokamax, chunked_xla"):
            row = by_name.get(name)
            if row and row["ratio"] > 1:
                lines.append([f"{case}, {work}", name, ratio(row), f"{row['loss_error'] or 0:.0e}"])
    return table(["where jaxce is slower", "than", "jaxce's time / its", "its error"], lines) if lines else "Nowhere."


def tables(rows):
    """All tables of all devices and versions, in Markdown."""
    parts = []
    for (device, jax), group in grouped(rows, "device", "jax").items():
        one = group[0]
        versions = {name: next((r[name] for r in group if r[name]), "") for name in ("optax", "torch", "tokamax")}
        named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        commits = ", ".join(sorted({r["commit"] for r in group}))
        parts += [f"### JAX {jax} on {device}", f"Python {one['python']}, {named}; commit {commits}."]
        parts += [dense(group, work) for work in WORKS if any(r["work"] == work for r in group)]
        parts += [memory(group)]
        parts += [eager(group)] if any(r["work"].startswith("eager") for r in group) else []
        parts += [linear(group, case) for case in grouped(group, "case") if " linear" in case]
        parts += [losses(group)]
        parts += [
            f"`import jaxce` after `import jax`: {1e3 * r['seconds']:.0f} ms." for r in group if r["case"] == "import"
        ]
    return "\n\n".join(parts)


def summary(rows):
    """The README's table: the first device and version measured with PyTorch, in two numbers for each case and work."""
    chosen = next(g for g in grouped(rows, "device", "jax").values() if any(r["contestant"] == "PyTorch" for r in g))
    lines = []
    for case, group in grouped(chosen, "case").items():
        if "sweep" in case or " linear" in case or case == "import":
            continue
        races = [race([r for r in group if r["work"] == work]) for work in WORKS]
        lines.append([f"`{case}`", *(f"{r[name]['ratio']:.2f}" for name in ("optax", "PyTorch") for r in races)])
    means = [f"**{mean([float(line[i]) for line in lines]):.2f}**" for i in range(1, 5)]
    header = ["jaxce's time as a share of", "optax's forward", "with gradient", "PyTorch's forward", "with gradient"]
    return table(header, [*lines, ["geometric mean", *means]])


def draw(rows, folder):
    """A point for each rival of each case, and the sweeps, of the first device and version in the file."""
    group = next(iter(grouped(rows, "device", "jax").values()))
    title = f"JAX {group[0]['jax']}, {group[0]['device']}"
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
    for ax, work in zip(axes, WORKS, strict=True):
        chosen = [r for r in group if r["work"] == work and "sweep" not in r["case"]]
        races = {case: race(g) for case, g in grouped(chosen, "case").items()}
        for name, marker in zip((*RIVALS, "floor"), "osD^|", strict=True):
            points = [(1 / r[name]["ratio"], y) for y, r in enumerate(races.values()) if name in r]
            if points:
                ax.plot(*zip(*points, strict=True), marker, label=name, alpha=0.8)
        ax.axvline(1, color="black", lw=1)
        ax.set(xscale="log", title=work, xlabel="time, jaxce = 1")
        ax.set_yticks(range(len(races)), races)
        ax.grid(alpha=0.3)
    axes[0].invert_yaxis()
    axes[1].legend()
    figure.suptitle(title)
    figure.savefig(folder / "performance.png", dpi=100)
    sweeps = [r for r in group if "sweep" in r["case"] and r["contestant"] in ("jaxce", "optax")]
    if sweeps:
        draw_sweeps(sweeps, title, folder / "sweep.png")
    plt.close("all")


def draw_sweeps(rows, title, path):
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for ax, (place, over) in zip(axes, enumerate(("examples", "classes")), strict=True):
        chosen = [r for r in rows if r["case"].endswith(over)]
        for (name, work), group in grouped(chosen, "contestant", "work").items():
            sizes = [int(re.search(r"\[(\d+), (\d+)\]", r["case"])[place + 1]) for r in group]
            style = ("C0" if name == "jaxce" else "C1") + ("-o" if work == WORKS[1] else "--s")
            ax.plot(sizes, [r["seconds"] for r in group], style, ms=4, label=f"{name}, {work}")
        ax.set(xscale="log", yscale="log", xlabel=over, ylabel="seconds" if place == 0 else None)
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def compiled():
    """The table of what the TPU's compiler makes of each contestant: passes of the two kinds of work, gathers."""
    with open(COMPILED, newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    lines = ["| TPU | case | " + " | ".join(names) + " |", "| --- | --- | " + " | ".join(["---:"] * len(names)) + " |"]
    for (chip, case), group in grouped(rows, "chip", "case").items():
        cells = []
        for name in names:
            own = {row["work"]: row for row in group if row["contestant"] == name}
            temporaries = max(float(row["temporaries"]) for row in own.values())
            gathers = max(int(row["gathers"]) for row in own.values())
            extra = ", ".join(
                ([f"{temporaries:.1f}x"] if temporaries >= 0.1 else []) + (["gathers"] if gathers else [])
            )
            passes = " / ".join(own[work]["passes"] for work in WORKS)
            cells.append(passes + (f" ({extra})" if extra else ""))
        lines.append(f"| {chip} | {case} | " + " | ".join(cells) + " |")
    return f"libtpu of JAX {rows[-1]['jax']}.\n\n" + "\n".join(lines)


def publish():
    """Writes the tables between their marks, and the plots beside docs/performance.md."""
    rows = read()
    page = ROOT / "docs" / "performance.md"
    page.write_text(put(page.read_text(), compiled(), "compilers"))
    for path, text in ((ROOT / "docs" / "performance.md", tables(rows)), (ROOT / "README.md", summary(rows))):
        path.write_text(put(path.read_text(), text))
    draw(rows, ROOT / "docs")


def put(page, text, name="results"):
    """The page with the text between its two marks."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(marks[0])
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.partition(marks[1])[2]}"


if __name__ == "__main__":
    publish()

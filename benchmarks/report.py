"""Writes every measured number of the README and the docs from the CSV files: `python benchmarks/report.py`.

A table stands between ``<!-- name -->`` and ``<!-- end of name -->``. A number within a sentence stands between
``<!--=name-->`` and ``<!--/-->``. ``publish`` replaces both and draws the plots; an unknown name is an error.
"""

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
LAYERS = ROOT / "benchmarks" / "layers.csv"
COMPILED_LINEAR = ROOT / "benchmarks" / "compilers_linear.csv"
LINEAR_WORKS = ("cross-entropy, value and gradients", "log-probabilities", "log-probabilities, value and gradients")
KEY = ("device", "jax", "case", "work", "contestant")
NUMBERS = ("rounds", "seconds", "ratio", "low", "high", "temporary", "compiling", "loss_error", "gradient_error")
FIELDS = (*KEY, *NUMBERS, "python", "optax", "torch", "tokamax", "commit")
RIVALS = ("optax", "by hand", "PyTorch", "PyTorch, compiled")
WORKS = ("forward", "value and gradient")
SAME_JOB = 1e-4
"""Larger errors mean that a spelling did not compute in float32: it is left out of the comparison."""
LABELS = {"by hand": "plain JAX", "floor": "lower bound"}
LINEAR = {
    "optax": "matrix product + optax",
    "by hand": "matrix product + plain JAX",
    "jaxce, dense": "matrix product + `cross_entropy`",
    "jaxce": "**`linear_cross_entropy`**",
    "jaxce, half the chunk": "with `chunk_size` of an eighth of the tokens",
    "jaxce, all options": "with bias, weights, ignored ids, smoothing and z-loss",
    'jaxce, "none"': 'with `reduction="none"`, then a mean',
    "tokamax, xla": "tokamax, `xla`",
    "tokamax, chunked_xla": "tokamax, `chunked_xla`",
    "PyTorch": "PyTorch",
    "PyTorch, chunked": "PyTorch, chunked",
}
"""Contestants of a linear layer in the order of the tables, as the tables call them."""


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
    """Losses of materialized logits: jaxce's time, and its ratio to each rival's."""
    races = races_of(rows, work)
    present = [name for name in (*RIVALS, "floor") if any(name in r for r in races.values())]
    lines = [
        [case, f"{1e3 * r['jaxce']['seconds']:.3g} ms", *(ratio(r.get(name)) for name in present)]
        for case, r in races.items()
    ]
    means = [mean([r[name]["ratio"] for r in races.values() if name in r]) for name in present]
    lines.append(["geometric mean", "", *(f"**{m:.2f}**" for m in means)])
    return table([work, "jaxce", *(f"/ {LABELS.get(name, name)}" for name in present)], lines)


def races_of(rows, work):
    """The losses of materialized logits at one kind of work: case -> contestant -> row."""
    chosen = [r for r in rows if r["work"] == work and "sweep" not in r["case"] and " linear" not in r["case"]]
    return {case: race(group) for case, group in grouped(chosen, "case").items()}


def share(row):
    """Temporary memory in percent of the logits. The second of the three sizes of a linear layer is no part of them."""
    shape = [int(size) for size in re.search(r"\[(.*)\]", row["case"])[1].split(",")]
    shape = shape[::2] if " linear" in row["case"] else shape
    size = math.prod(shape) * (2 if row["case"].startswith("bfloat16") else 4)
    return 100 * row["temporary"] / size


def memory(rows):
    """Temporary memory of value and gradient in percent of the logits, seconds to compile, and errors."""
    lines = []
    for case, by_name in races_of(rows, WORKS[1]).items():
        names = [name for name in ("jaxce", "optax", "by hand") if name in by_name]
        line = [case]
        for name in names:
            row = by_name[name]
            line += [f"{share(row):.1f} %", f"{1e3 * row['compiling']:.0f} ms"]
        with_torch = ("PyTorch",) if "PyTorch" in by_name else ()
        errors = [f"{by_name[n]['loss_error']:.0e} / {by_name[n]['gradient_error']:.0e}" for n in (*names, *with_torch)]
        lines.append([*line, *errors, *([""] * (1 - len(with_torch)))])
    header = ["value and gradient"]
    header += [f"{name}: {what}" for name in ("jaxce", "optax", "plain JAX") for what in ("memory", "compiling")]
    header += [f"{name}: errors" for name in ("jaxce", "optax", "plain JAX", "PyTorch")]
    return table(header, lines)


def eager(rows):
    lines = []
    for (case, work), group in grouped([r for r in rows if r["work"].startswith("eager")], "case", "work").items():
        r = race(group)
        lines.append(
            [f"{case}, {work}", f"{1e3 * r['jaxce']['seconds']:.3g} ms", *(ratio(r.get(n)) for n in RIVALS[:3])]
        )
    return table(["without jit", "jaxce", *(f"/ {LABELS.get(name, name)}" for name in RIVALS[:3])], lines)


def linear_races(rows):
    """The linear layers of one device and version: case -> contestant -> row."""
    chosen = [row for row in rows if " linear" in row["case"] and row["work"] == WORKS[1]]
    return {case: {row["contestant"]: row for row in group} for case, group in grouped(chosen, "case").items()}


def multiples(row, base):
    """Time and temporary memory as multiples of another row's, the time from paired rounds."""
    time = f"{base['ratio'] / row['ratio']:.2f}"
    return time, "" if row["temporary"] is None else f"{row['temporary'] / base['temporary']:.2f}"


def linear(case, group):
    """All measurements of one linear layer, as multiples of a matrix product and optax."""
    lines = []
    for name in filter(group.get, LINEAR):
        row = group[name]
        errors = ["" if row[e] is None else f"{row[e]:.0e}" for e in ("loss_error", "gradient_error")]
        lines.append([LINEAR[name], f"{row['seconds']:.3g} s", *multiples(row, group["optax"]), *errors])
    return table([f"{case}, {WORKS[1]}", "time", "ratio", "memory", "loss error", "gradient error"], lines)


def linear_summary(rows):
    """Two columns for each linear layer: time and temporary memory as multiples of a matrix product and optax."""
    races = linear_races(rows)
    lines = []
    for name in (name for name in LINEAR if any(name in group for group in races.values())):
        cells = [multiples(g[name], g["optax"]) if name in g else ("", "") for g in races.values()]
        lines.append([LINEAR[name], *(cell for pair in cells for cell in pair)])
    sizes = [f"{case.split()[0]}, {int(case.split('[')[1].split(',')[0]):,} tokens" for case in races]
    header = [f"JAX {rows[0]['jax']}", *(f"{size}: {what}" for size in sizes for what in ("time", "memory"))]
    return table(header, lines)


def losses(rows):
    """Each rival that was faster than jaxce."""
    lines = []
    for (case, work), group in grouped([r for r in rows if "sweep" not in r["case"]], "case", "work").items():
        by_name = race(group)
        for name in (*RIVALS, "PyTorch, chunked", "tokamax, xla", "tokamax, chunked_xla"):
            row = by_name.get(name)
            if row and row["ratio"] > 1:
                lines.append([f"{case}, {work}", LABELS.get(name, name), ratio(row), f"{row['loss_error'] or 0:.0e}"])
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
        parts += [linear(case, by_name) for case, by_name in linear_races(group).items()]
        parts += [losses(group)]
        parts += [
            f"`import jaxce` after `import jax`: {1e3 * r['seconds']:.0f} ms." for r in group if r["case"] == "import"
        ]
    return "\n\n".join(parts)


def with_torch(rows):
    """The first device and version that was measured with PyTorch."""
    return next(g for g in grouped(rows, "device", "jax").values() if any(r["contestant"] == "PyTorch" for r in g))


def summary(rows):
    """The README's table: two ratios for each rival, and the temporary memory of value and gradient."""
    rows = with_torch(rows)
    forward, gradient = (races_of(rows, work) for work in WORKS)
    lines, ratios = [], []
    for case, row in gradient.items():
        ratios.append([r[case][name]["ratio"] for name in ("optax", "PyTorch") for r in (forward, gradient)])
        room = [f"{share(row[name]):.0f} %" for name in ("jaxce", "optax", "by hand")]
        lines.append([f"`{case}`", *(f"{number:.2f}" for number in ratios[-1]), *room])
    means = [f"**{mean(column):.2f}**" for column in zip(*ratios, strict=True)]
    header = ["", "/ optax: forward", "gradient", "/ PyTorch: forward", "gradient"]
    header += [f"memory: {name}" for name in ("jaxce", "optax", "plain JAX")]
    return table(header, [*lines, ["geometric mean", *means, "", "", ""]])


def verdict(rows):
    """The means of all cases, with the best and the worst, for each version, kind of work and rival."""
    lines = []
    for (_, jax), group in grouped(rows, "device", "jax").items():
        for work in WORKS:
            for name in RIVALS:
                ratios = {case: r[name]["ratio"] for case, r in races_of(group, work).items() if name in r}
                if ratios:
                    ends = [
                        f"{ratios[case]:.2f} ({case})" for case in (end(ratios, key=ratios.get) for end in (min, max))
                    ]
                    lines.append([f"JAX {jax}, {work}", LABELS.get(name, name), f"{mean(ratios.values()):.2f}", *ends])
    return table(["jaxce's time divided by the rival's", "rival", "geometric mean", "best case", "worst case"], lines)


def numbers(rows):
    """The numbers within sentences, by name."""
    rows = with_torch(rows)
    races = linear_races(rows)
    hand = [share(r["by hand"]) for r in races_of(rows, WORKS[1]).values()]
    half = next(group for case, group in races.items() if case.startswith("bfloat16"))
    return {
        "plain-JAX-memory": f"{min(hand):.0f} to {max(hand):.0f} %",
        "linear-loss-error": f"{max(g['jaxce']['loss_error'] for g in races.values()):.1e}",
        "linear-loss-error-of-PyTorch": f"{half['PyTorch']['loss_error']:.1e}",
        "JAX": rows[0]["jax"],
        "PyTorch": next(r["torch"] for r in rows if r["torch"]).partition("+")[0],
        **conclusions(rows),
        **compiled_conclusions(),
    }


def conclusions(rows):
    """The numbers of the first lines of docs/performance.md: times are jaxce's divided by the other's."""
    races = {work: races_of(rows, work) for work in WORKS}
    short = {"forward": WORKS[0], "gradient": WORKS[1]}
    told = {}
    for word, work in short.items():
        for name in RIVALS:
            ratios = {case: r[name]["ratio"] for case, r in races[work].items()}
            told[f"{word} / {name}"] = mean([*ratios.values()])
            worst = max(ratios, key=ratios.__getitem__)
            told[f"worst {word} / {name}"] = f"{ratios[worst]:.2f} ({worst})"
        for case in ("bfloat16 [1024, 50257]", "float32 [4096, 1000] probabilities"):
            told[f"{word}, {case} / optax"] = races[work][case]["optax"]["ratio"]
    with_options = [r for case, r in races[WORKS[0]].items() if case.endswith("smoothing")]
    for name in RIVALS[:2]:
        told[f"forward with options / {name}"] = max(r[name]["ratio"] for r in with_options)
    for word, column in zip(("time", "memory"), zip(*linear_multiples(rows), strict=True), strict=True):
        told |= {f"least linear {word}": min(column), f"most linear {word}": max(column)}
    eager_races = grouped([r for r in rows if r["work"].startswith("eager")], "case", "work").values()
    slowest = max(race(group)["PyTorch"]["ratio"] for group in eager_races)
    own = max(share(r["jaxce"]) for r in races[WORKS[1]].values())
    told = {name: number if isinstance(number, str) else f"{number:.2f}" for name, number in told.items()}
    return told | {"eager / PyTorch": f"{slowest:.0f}", "memory": f"{own:.0f} %"}


def linear_multiples(rows):
    """Time and memory of `linear_cross_entropy` as multiples of a matrix product and optax, for each case."""
    return [multiples(group["jaxce"], group["optax"]) for group in linear_races(rows).values()]


def compiled_conclusions():
    """Of the compiled programs: the most passes over the logits, and bounds of log-probabilities on an H100."""
    with open(COMPILED, newline="") as file:
        rows = list(csv.DictReader(file))
    told = {}
    for (name, work), group in grouped(rows, "contestant", "work").items():
        told[f"passes, {work}: {name}"] = max(int(row["passes"]) for row in group)
    with open(COMPILED_LINEAR, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["chip"] == "h100" and row["work"] == LINEAR_WORKS[2]]
    for name, group in grouped(rows, "contestant").items():
        told[f"log-probabilities: {name}"] = f"{max(float(r['bound']) / float(r['products']) for r in group):.2f}"
    return told


def draw(rows, folder):
    """Draws the times, the memory and the sweeps of the first device and version in the file."""
    group = next(iter(grouped(rows, "device", "jax").values()))
    title = f"JAX {group[0]['jax']}, {group[0]['device']}"
    draw_times(group, title, folder / "performance.png")
    draw_memory(group, title, folder / "memory.png")
    sweeps = [r for r in group if "sweep" in r["case"] and r["contestant"] in ("jaxce", "optax")]
    if sweeps:
        draw_sweeps(sweeps, title, folder / "sweep.png")
    plt.close("all")


def draw_times(rows, title, path):
    """A point for each rival of each case, forward above and with the gradient below."""
    figure, axes = plt.subplots(2, 1, figsize=(8.6, 8.4), sharex=True, layout="constrained")
    for ax, work in zip(axes, WORKS, strict=True):
        chosen = [r for r in rows if r["work"] == work and "sweep" not in r["case"]]
        races = {case.removeprefix("float32 "): race(g) for case, g in grouped(chosen, "case").items()}
        for name, marker in zip(RIVALS, "osD^", strict=True):
            points = [(1 / r[name]["ratio"], y) for y, r in enumerate(races.values()) if name in r]
            if points:
                ax.plot(*zip(*points, strict=True), marker, label=LABELS.get(name, name), alpha=0.8)
        ax.set_xscale("log", base=2)
        ax.axvspan(1, 16, color="#e8f3ea", lw=0, zorder=0)
        ax.axvline(1, color="black", lw=1)
        ticks = [1 / 4, 1 / 2, 1, 2, 4, 8]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set(title=work, xlim=(1 / 5, 10), ylim=(len(races) - 0.5, -1.4))
        ax.set_yticks(range(len(races)), races)
        ax.text(1.06, -0.95, "jaxce is faster \u2192", va="center", color="#1b6e3c", weight="bold")
        ax.text(0.94, -0.95, "\u2190 the other is faster", va="center", ha="right", color="#a03c1e", weight="bold")
        ax.grid(alpha=0.3)
    axes[1].set_xlabel("the other's time / jaxce's time: further right is better for jaxce")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def draw_memory(rows, title, path):
    """Bars of the temporary memory of value and gradient, for logits and for linear layers."""
    races = {**races_of(rows, WORKS[1]), **linear_races(rows)}
    figure, ax = plt.subplots(figsize=(8.6, 7.6), layout="constrained")
    for place, (name, color) in enumerate({"jaxce": "#1764ab", "optax": "#e07b00", "by hand": "#9a9a9a"}.items()):
        heights = [y + 0.26 * (place - 1) for y in range(len(races))]
        shares = [share(r[name]) for r in races.values()]
        ax.barh(heights, shares, 0.24, color=color, label=LABELS.get(name, name))
        for y, percent in zip(heights, shares, strict=True):
            ax.text(percent + 4, y, f"{percent:.0f} %", va="center", fontsize=7.5)
    ax.set_yticks(range(len(races)), [case.removeprefix("float32 ") for case in races])
    ax.set(ylim=(len(races) - 0.5, -0.6), xlim=(0, 1.1 * ax.get_xlim()[1]))
    ax.set_xlabel("temporary memory in percent of the logits: shorter is better")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper right")
    ax.set_title(f"{WORKS[1]}; {title}")
    figure.savefig(path, dpi=110)


def draw_sweeps(rows, title, path):
    """Seconds over the number of examples and of classes."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.2), sharey=True, layout="constrained")
    for ax, (place, over) in zip(axes, enumerate(("examples", "classes")), strict=True):
        chosen = [r for r in rows if r["case"].endswith(over)]
        for (name, work), group in grouped(chosen, "contestant", "work").items():
            sizes = [int(re.search(r"\[(\d+), (\d+)\]", r["case"])[place + 1]) for r in group]
            style = ("C0" if name == "jaxce" else "C1") + ("-o" if work == WORKS[1] else "--s")
            ax.plot(sizes, [r["seconds"] for r in group], style, ms=4, label=f"{name}, {work}")
        ax.set(xscale="log", yscale="log", xlabel=over, ylabel="seconds: lower is better" if place == 0 else None)
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def compiled():
    """The table of compiled programs: passes over the logits, temporaries and gathers of each contestant."""
    with open(COMPILED, newline="") as file:
        rows = list(csv.DictReader(file))
    names = shown_names(rows)
    lines = ["| chip | case | " + " | ".join(names) + " |", "| --- | --- | " + " | ".join(["---:"] * len(names)) + " |"]
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
    return f"The compilers of JAX {rows[-1]['jax']}.\n\n" + "\n".join(lines)


def compiled_linear():
    """The table of compiled linear layers: computed bound as a multiple of the products' time, GiB of temporaries."""
    with open(COMPILED_LINEAR, newline="") as file:
        rows = list(csv.DictReader(file))
    names = shown_names(rows)
    lines = []
    for (work, chip, case), group in grouped(rows, "work", "chip", "case").items():
        own = {row["contestant"]: row for row in group}
        if "jaxce" not in own:
            continue
        cells = [linear_cell(own[name]) if name in own else "" for name in names]
        lines.append((LINEAR_WORKS.index(work), [f"{chip}, {work}", case, f"{group[0]['products']} ms", *cells]))
    lines = [line for _, line in sorted(lines, key=lambda pair: pair[0])]
    return table(["compiled for", "layer", "products", *names], lines)


def shown_names(rows):
    """The contestants of a table, without the row that compares jaxce with its own past."""
    return [name for name in dict.fromkeys(row["contestant"] for row in rows) if name != "before"]


def linear_cell(row):
    if not row["bound"]:
        return "does not fit"
    multiple = float(row["bound"]) / float(row["products"])
    return f"{multiple:.2f}x ({row['traffic']} GB, {float(row['temporaries']) / 1024:.1f} GiB)"


def copied(name):
    """The table of a file that has it as it is shown: what libraries answer, or how examples trained."""
    with open(ROOT / "benchmarks" / f"{name}.csv", newline="") as file:
        header, *rows = csv.reader(file)
    return table(header, [[cell.replace("|", "\\|") for cell in row] for row in rows])


def layers():
    """Log-probabilities and distillation over a linear layer, as multiples of plain JAX with whole logits."""
    with open(LAYERS, newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        [
            f"{row['work']}, {row['case'].split()[0]}: {row['contestant']}",
            f"{float(row['ratio']):.2f}",
            f"{float(row['memory']):.2f}",
            *(f"{float(row[e]):.0e}" if row[e] else "" for e in ("loss_error", "gradient_error")),
        ]
        for row in rows
    ]
    header = [f"JAX {rows[0]['jax']}", "time", "memory", "loss error", "gradient error"]
    return table(header, lines)


def publish():
    """Writes tables and numbers between their marks, and the plots beside docs/performance.md."""
    rows = read()
    inline = numbers(rows)
    versions = grouped(rows, "device", "jax").values()
    blocks = {
        "README.md": {"results": summary(rows), "linear": linear_summary(with_torch(rows))},
        "docs/performance.md": {
            "verdict": verdict(rows),
            "compilers": compiled(),
            "compiled linear layers": compiled_linear(),
            "results": tables(rows),
        },
        "docs/troubleshooting.md": {"mistakes": copied("mistakes")},
        "docs/choosing.md": {name: copied(name) for name in ("segmentation", "detection")},
        "docs/large-vocabulary.md": {"linear": "\n\n".join(map(linear_summary, versions)), "layers": layers()},
    }
    for name, texts in blocks.items():
        page = (ROOT / name).read_text()
        for block, text in texts.items():
            page = put(page, text, block)
        (ROOT / name).write_text(put_numbers(page, inline))
    draw(rows, ROOT / "docs")


def put(page, text, name="results"):
    """The page with the text between the two marks of a block."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, start, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (start and end):
        raise ValueError(f"no block {name}: {marks[0]} and {marks[1]}")
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}"


def put_numbers(page, values):
    """The page with each number within a sentence between its marks."""
    return re.sub(
        r"<!--=([^>]+)-->.*?<!--/-->", lambda m: f"<!--={m[1]}-->{values[m[1]]}<!--/-->", page, flags=re.DOTALL
    )


if __name__ == "__main__":
    publish()

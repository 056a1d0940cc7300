"""Times every contestant on every case, and writes the tables of the README and the docs from the results.

    python benchmarks/run.py                     # all cases, some ten minutes on two cores
    python benchmarks/run.py --only '128256'     # cases with a name that matches the pattern
    python benchmarks/run.py --quick             # a smoke test with tiny arrays; keeps no results
    python benchmarks/run.py --gpu               # all cases on a GPU; fails without one

Times are paired. In each round every contestant runs once, in a new random order. The ratio is the median over the
rounds of jaxce's time divided by the contestant's. Memory is the temporary memory of the compiled program, as XLA
reports it. Errors are relative to float64 on the same inputs; the error of a gradient is relative to its largest
entry.
"""

import argparse
import dataclasses
import importlib.metadata
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

import contestants
import jax
import numpy as np
import report
from cases import CASES, quick
from tqdm import tqdm

FORWARD, GRADIENT = "forward", "value and gradient"
EAGER = "eager "
SMALLEST_TIME = 0.01


@dataclasses.dataclass
class Entry:
    """One contestant at one piece of work; times in seconds, memory in bytes."""

    call: object
    temporary: int | str = ""
    compiling: float | str = ""
    loss_error: float | str = ""
    gradient_error: float | str = ""
    repeats: int = 1
    seconds: list = dataclasses.field(default_factory=list)

    def run(self):
        start = time.perf_counter()
        for _ in range(self.repeats):
            self.call()
        self.seconds.append((time.perf_counter() - start) / self.repeats)


def losses(case):
    """The contestants that are functions of JAX arrays."""
    if case.sweep:
        return contestants.in_jaxce(case) | contestants.in_optax(case)
    families = (contestants.in_jaxce, contestants.in_optax, contestants.by_hand, contestants.in_tokamax)
    return {name: loss for family in families for name, loss in family(case).items()}


def compiled(loss, work, moving, others):
    function = loss if work == FORWARD else jax.value_and_grad(loss, tuple(range(len(moving))))
    jax.clear_caches()
    start = time.perf_counter()
    program = jax.jit(lambda *args: function(*args)).lower(*moving, *others).compile()
    return program, time.perf_counter() - start


def enter(case, work, moving, others, tries=3):
    """Returns an entry for each contestant: compiled, compared with float64, and warmed up."""
    entries = {}
    for name, loss in losses(case).items():
        if work.startswith(EAGER):
            function = loss if work == EAGER + FORWARD else jax.value_and_grad(loss)
            entries[name] = Entry(lambda function=function: jax.block_until_ready(function(*moving, *others)))
            continue
        compilations = [compiled(loss, work, moving, others) for _ in range(1 if case.sweep else tries)]
        program = compilations[0][0]
        entries[name] = Entry(
            lambda program=program: jax.block_until_ready(program(*moving, *others)),
            temporary=program.memory_analysis().temp_size_in_bytes,
            compiling=statistics.median(seconds for _, seconds in compilations),
        )
    for name, call in contestants.in_torch(case, work, moving, others).items():
        if not (work.startswith(EAGER) and "compiled" in name):
            entries[name] = Entry(call)
    if not case.sweep:
        judge(entries, case.in_float64(moving, others), with_gradient=GRADIENT in work)
    if not work.startswith(EAGER):
        for name, function in contestants.the_floor(case, work).items():
            program = jax.jit(function).lower(*moving, *others).compile()
            entries[name] = Entry(lambda program=program: jax.block_until_ready(program(*moving, *others)))
    return entries


def judge(entries, expected, with_gradient):
    """Fills in errors against float64, except for losses with other options. Removes contestants that cannot run."""
    loss, gradient = expected
    for name, entry in list(entries.items()):
        try:
            result = entry.call()
        except Exception as error:  # for instance torch.compile without a C++ compiler
            print(f"\n{name} cannot run: {type(error).__name__}", file=sys.stderr)
            del entries[name]
            continue
        if "all options" in name:
            continue
        value = result[0] if with_gradient else result
        entry.loss_error = abs(float(value) / loss - 1)
        if with_gradient:
            d = result[1][-1] if isinstance(result[1], tuple) else result[1]
            d = d.float().cpu().numpy() if hasattr(d, "cpu") else np.asarray(d, np.float64)
            entry.gradient_error = float(np.abs(d - gradient).max() / np.abs(gradient).max())


def compete(entries, rounds, random):
    for entry in entries.values():
        entry.call()
        entry.run()
        entry.repeats = max(1, round(SMALLEST_TIME / entry.seconds.pop()))
    for _ in range(rounds):
        for name in random.permutation(list(entries)):
            entries[name].run()


def rows_of(case, work, entries, rounds):
    own = np.array(entries["jaxce"].seconds)
    for name, entry in entries.items():
        low, ratio, high = np.quantile(own / np.array(entry.seconds), (0.25, 0.5, 0.75))
        numbers = (ratio, low, high, entry.compiling, entry.loss_error, entry.gradient_error)
        yield {
            "case": case.name,
            "work": work,
            "contestant": name,
            "rounds": rounds,
            "seconds": f"{np.median(entry.seconds):.4g}",
            "temporary": entry.temporary,
        } | dict(
            zip(
                ("ratio", "low", "high", "compiling", "loss_error", "gradient_error"),
                (x if x == "" else f"{x:.4g}" for x in numbers),
                strict=True,
            )
        )


def importing(rounds):
    """Seconds that `import jaxce` takes after `import jax`."""
    clock = "time.perf_counter()"
    script = f"import time, jax, numpy, jax.numpy; start = {clock}; import jaxce; print({clock} - start)"
    run = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        for _ in range(rounds)
    ]
    return {
        "case": "import",
        "work": "import",
        "contestant": "jaxce",
        "rounds": rounds,
        "seconds": f"{statistics.median(float(r.stdout) for r in run):.4g}",
    }


def circumstances():
    """The device, versions and commit of every row."""

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ""

    git = partial(subprocess.run, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, check=False)
    commit = git(["git", "describe", "--always", "--exclude=*"]).stdout.strip()
    if git(["git", "diff", "--quiet", "HEAD", "--", ":/*.py"]).returncode == 1:
        commit += "-dirty"
    packages = {package: version(package) for package in ("jax", "optax", "torch", "tokamax")}
    return {"device": device(), "python": platform.python_version(), **packages, "commit": commit}


def need_commit(parser, stamp):
    """The tables name the commit that was measured. Results and pages may differ from it, but no code."""
    if stamp["commit"].endswith("-dirty"):
        parser.error("commit your changes first: the tables name the commit that was measured")


def device():
    """The name of the accelerator, or of the processor with its number of usable cores."""
    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    lines = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", lines.read_text()) if lines.exists() else None
    return f"{found[1] if found else platform.processor()}, {contestants.cores()} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny arrays, three rounds, results in a temporary folder")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="regular expression that a case's name must match"
    )
    parser.add_argument("--gpu", action="store_true", help="fail if JAX sees no GPU")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.gpu and jax.default_backend() != "gpu":
        parser.error("--gpu: JAX sees no GPU here")
    rounds = 3 if options.quick else options.rounds
    chosen = [case for case in CASES if re.search(options.only, case.name)]
    stamp, random = circumstances(), np.random.default_rng(0)
    if not options.quick:
        need_commit(parser, stamp)
    rows = [importing(rounds) | stamp]
    work_of = [
        (quick(case) if options.quick else case, work)
        for case in chosen
        for work in (FORWARD, GRADIENT, *((EAGER + FORWARD, EAGER + GRADIENT) if case.is_eager else ()))
    ]
    work_of = [*dict.fromkeys(work_of)]  # small cases are often the same
    progress = tqdm(work_of, unit="race")
    for case, work in progress:
        progress.set_description(f"{case.name}, {work}")
        entries = enter(case, work, *case.draw(), tries=1 if options.quick else 3)
        compete(entries, rounds, random)
        rows += [row | stamp for row in rows_of(case, work, entries, rounds)]
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.csv"
            report.keep(rows, path)
            print(report.tables(report.read(path)))
            report.draw(report.read(path), pathlib.Path(folder))
    else:
        report.keep(rows, report.RESULTS)
        report.publish()


if __name__ == "__main__":
    main()

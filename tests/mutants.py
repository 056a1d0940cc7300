"""Mutants of cosmic-ray: a random sample of them, and the tests that know a module. CONTRIBUTING.md has the commands.

``python tests/mutants.py FILE NUMBER SEED`` leaves so many mutants in the file of `cosmic-ray init`. Without arguments
it runs the tests of the module that differs from the last commit.
"""

import pathlib
import random
import sqlite3
import subprocess
import sys

EDGES = "tests/test_edges.py tests/test_families.py"
LAWS = "tests/laws/test_values.py tests/laws/test_masks.py tests/laws/test_derivatives.py"
ROWS = "tests/test_rows.py tests/laws/test_one_cpu.py tests/test_aux.py tests/test_sharded.py"
LINEAR = "tests/test_linear.py tests/test_linear_transforms.py tests/test_linear_sharded.py tests/test_aux.py"
LOGITS = "tests/test_linear_loss.py tests/test_linear_layers.py tests/test_log_probs.py tests/test_distillation.py"
INVALID = "tests/laws/test_ids.py tests/laws/test_invalid.py"
ANY = "edges or families or test_rows or one_cpu or test_aux or inside_shard_map"

TESTS = {
    "_linear": (f"{LINEAR} {LOGITS}", ""),
    "_distillation": ("tests/test_distillation.py", ""),
    "_teachers": ("tests/test_teachers.py", ""),
    "_log_probs": ("tests/test_log_probs.py", ""),
    "_rows": (ROWS, ANY),
    "_sigmoid": (f"{EDGES} {LAWS}", f"{ANY} or binary_cross_entropy"),
    "_focal": (f"{EDGES} {LAWS}", f"{ANY} or focal or poly1 or generalized"),
    "_divergence": (f"{EDGES} {LAWS}", f"{ANY} or divergence or brier"),
    "_numerics": (
        f"{EDGES} tests/test_regions.py {ROWS} {LAWS}",
        f"{ANY} or test_regions or binary_cross_entropy or focal or kl_divergence",
    ),
    "reductions": ("tests/test_reductions.py tests/test_aux.py tests/test_edges.py", ""),
    "_hardest": ("tests/test_hardest.py tests/test_choosing_sharded.py", ""),
    "_grouped": ("tests/test_grouped.py", ""),
    "_reduction_inputs": ("tests/test_hardest.py tests/test_grouped.py tests/test_errors.py tests/test_cures.py", ""),
    "_value_checks": (f"{INVALID} tests/test_errors.py tests/test_cures.py tests/test_debug.py", ""),
    "": (f"{EDGES} {ROWS} {LAWS} {INVALID}", f"{ANY} or invalid or nll or cross_entropy-ids or cross_entropy-probs"),
}
"""Test files and a choice among them, by module. `_rows/_linear` goes with `_linear`; the last row has all others."""


def test_changed() -> int:
    """The exit status of the tests that know the changed module."""
    command = ["git", "diff", "--name-only", "HEAD", "jaxce"]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    parts = pathlib.PurePath(changed).with_suffix("").parts if changed else ()
    files, chosen = next(row for name, row in TESTS.items() if name in parts or not name)
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *files.split(), "-k", chosen]
    return subprocess.run([sys.executable, "-m", "pytest", *options]).returncode


def sample(file: str, number: int, seed: int) -> None:
    """Leaves so many mutants in the file, without those that are filtered out."""
    with sqlite3.connect(file) as database:
        left = "SELECT job_id FROM mutation_specs WHERE job_id NOT IN (SELECT job_id FROM work_results)"
        jobs = [job for (job,) in database.execute(f"{left} ORDER BY module_path, operator_name, occurrence")]
        kept = random.Random(seed).sample(jobs, min(number, len(jobs)))
        marks = ", ".join("?" * len(kept))
        for table in ("mutation_specs", "work_results", "work_items"):
            database.execute(f"DELETE FROM {table} WHERE job_id NOT IN ({marks})", kept)
    print(f"{len(kept)} of {len(jobs)} mutants")


if __name__ == "__main__":
    sys.exit(sample(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) if sys.argv[1:] else test_changed())

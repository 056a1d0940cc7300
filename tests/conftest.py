"""Every test runs strictly: eight devices, no silent promotion of dtypes or ranks.

The programs are small and run once, so LLVM does not optimize them, nor does XLA write them by its fusion emitters
where it has another way; XLA's own passes, which decide what is computed, fused and communicated, are those of users.
`compiled.py`, the examples and the benchmarks run as users have it.
"""

import collections
import fcntl
import gc
import json
import os
import pathlib
import subprocess
import sys
from importlib.metadata import version

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_parallel_codegen_split_count=1"
)
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import pytest

gc.set_threshold(200_000, 20, 100)  # traces are many small objects that live on, and looking through them takes long
jax.config.update("jax_include_full_tracebacks_in_locations", False)  # an eighth of the time goes into them
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


WHOLE = {
    *("test_sharded", "test_linear", "test_linear_transforms", "test_linear_sharded", "test_two_processes"),
    *("test_linear_fsdp", "test_compiled", "test_exports", "test_edges", "test_rows", "test_one_pass"),
}
"""A thin pass has these files, every other law of each loss, and one in ten of all other tests. A law holds for one
kind of labels of a loss, and a law of each option by itself for none of them and for all.
"""


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every test; without it a thin pass, unless some are named")
    parser.addoption("--other-laws", action="store_true", help="a thin pass has the laws that it leaves out otherwise")


def pytest_configure(config):
    config.addinivalue_line("markers", "of_every_loss: a law that a thin pass has for every loss")
    named = config.args_source is config.ArgsSource.ARGS or bool(config.option.keyword)
    config.option.full = getattr(config, "workerinput", {}).get("full", config.option.full or named)


def pytest_configure_node(node):
    node.workerinput["full"] = node.config.option.full


def pytest_collection_modifyitems(config, items):
    if not config.option.full:
        laws, tests, chosen, left_out = {}, collections.Counter(), [], []
        for item in items:
            setting = item.callspec.params.get("setting") if hasattr(item, "callspec") else None
            if setting:
                is_kept = is_law_in_thin_pass(item, setting, laws, config.option.other_laws)
            else:
                is_kept = is_in_thin_pass(item, tests)
            (chosen if is_kept else left_out).append(item)
        items[:] = chosen
        config.hook.pytest_deselected(items=left_out)


def is_law_in_thin_pass(item, setting, laws, other_laws):
    """Every other law of each loss, and some laws of all. Losses begin with the first and the second law in turn."""
    if not setting.is_first:
        return False
    number = laws.get(str(setting.case), len(laws) + other_laws)
    laws[str(setting.case)] = number + 1
    return number % 2 == 0 or bool(item.get_closest_marker("of_every_loss"))


def is_in_thin_pass(item, tests):
    """The chosen files, and the first, eleventh and so on of each other."""
    tests[item.path] += 1
    return item.path.stem in WHOLE or item.path.parent.name == "laws" or tests[item.path] % 10 == 1


@pytest.fixture
def thin(request):
    """Whether a law of each option by itself holds for none and all alone."""
    return not request.config.option.full


@pytest.fixture(scope="session")
def facts_of(tmp_path_factory):
    """What a script of the tests prints as JSON, in a process with one CPU device: run once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(script):
        printed = shared / f"{script}.json"
        with open(shared / f"{script}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system releases it when the process ends, however it ends
            if not printed.exists():
                printed.write_text(output_of(script))
        return json.loads(printed.read_text())

    return run


def output_of(script):
    """What a script prints, with the package that this session imported and not another that may be installed."""
    import jaxce  # not above: annotations are checked in a package that is imported later

    changed = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(jaxce.__file__).parent.parent)}
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")} | changed
    command = [sys.executable, pathlib.Path(__file__).parent / script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def unannotated(request):
    """Run-time checks of annotations raise before the library does, and add frames between it and its caller."""
    if request.config.getoption("--jaxtyping-packages", None):
        pytest.skip("the annotations raise first")


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["fused", "in blocks"])
def one_cpu(request, monkeypatch):
    """Small arrays take the paths of large ones on a single CPU device: a number for each path.

    Use shapes that no other test has compiled, and that this number tells apart.
    """
    from jaxce._rows import _cpu, _platform

    monkeypatch.setattr(_platform.jax, "device_count", lambda: 1)
    monkeypatch.setattr(_cpu, "MIN_SIZE_FOR_BLOCKS", 1)
    monkeypatch.setattr(_cpu, "MIN_BLOCKS", 8)
    if request.param == "in blocks":
        monkeypatch.setattr(_cpu, "MAX_FUSED_CLASSES", 0)
    return int(request.param == "in blocks")

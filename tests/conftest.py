"""Every test runs strictly: eight devices, no silent promotion of dtypes or ranks.

The programs are small and run once, so LLVM does not optimize them, nor does XLA write them by its fusion emitters
where it has another way; XLA's own passes, which decide what is computed, fused and communicated, are those of users.
`compiled.py`, the examples and the benchmarks run as users have it.
"""

import collections
import gc
import json
import os
import pathlib
import subprocess
import sys
import time
import zlib
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
    *("test_compiled", "test_exports", "test_edges", "test_rows"),
}
"""A thin pass has these files, half of the laws for each loss, and one in ten of all other tests. A law holds for one
kind of labels of a loss, and a law of each option by itself for none of them and for all.
"""

FOR_EVERY_LOSS = {"test_value_is_the_reference", "test_every_gradient_is_the_reference"}
"""Laws that a thin pass has for every loss. Of the others it has another half with each version of JAX."""


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every test; without it a thin pass, unless some are named")


def pytest_configure(config):
    named = config.args_source is config.ArgsSource.ARGS or bool(config.option.keyword)
    config.option.full = getattr(config, "workerinput", {}).get("full", config.option.full or named)


def pytest_configure_node(node):
    node.workerinput["full"] = node.config.option.full


def pytest_collection_modifyitems(config, items):
    if not config.option.full:
        numbers, chosen, left_out = collections.Counter(), [], []
        for item in items:
            (chosen if is_in_thin_pass(item, numbers[item.path]) else left_out).append(item)
            numbers[item.path] += 1
        items[:] = chosen
        config.hook.pytest_deselected(items=left_out)


def is_in_thin_pass(item, number):
    """Whether a thin pass has the test with this number in its file."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if setting := params.get("setting"):
        drawn = zlib.crc32(f"{item.nodeid} {jax.__version__}".encode()) % 2 == 0
        return setting.is_first and (drawn or item.originalname in FOR_EVERY_LOSS)
    return item.path.stem in WHOLE or item.path.parent.name == "laws" or number % 10 == 0


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
        output, started = shared / f"{script}.json", shared / f"{script}.started"
        try:
            started.touch(exist_ok=False)
        except FileExistsError:
            while not output.exists():
                time.sleep(0.1)
        else:
            written = shared / f"{script}.unfinished"
            written.write_text(json.dumps(output_of(script)))
            written.rename(output)
        code, printed, errors = json.loads(output.read_text())
        assert code == 0, errors
        return json.loads(printed)

    return run


def output_of(script):
    """The exit code, output and errors of a script; of the package that this session imported, not another."""
    import jaxce  # not above: annotations are checked in a package that is imported later

    changed = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(jaxce.__file__).parent.parent)}
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")} | changed
    command = [sys.executable, pathlib.Path(__file__).parent / script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


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

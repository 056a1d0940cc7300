"""Every test runs strictly: eight devices, no silent promotion of dtypes or ranks.

The programs are small and run once, so LLVM does not optimize them, nor does XLA write them by its fusion emitters
where it has another way; XLA's own passes, which decide what is computed, fused and communicated, are those of users.
`compiled.py` and the examples that compute for long run as users have it.
"""

import collections
import fcntl
import gc
import importlib.util
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

gc.set_threshold(1_000_000, 20, 100)  # traces are many small objects that live on, and looking through them takes long
jax.config.update("jax_include_full_tracebacks_in_locations", False)  # an eighth of the time goes into them
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


EVERY_VERSION = {
    *("test_compiled", "test_exports", "test_edges", "test_two_processes", "test_one_pass"),
    *("test_linear", "test_linear_transforms"),
}
"""Files that each thin pass has whole. From JAX 0.12 on linear layers take another way."""
MESHES_AND_ROWS = {"test_sharded", "test_linear_sharded", "test_linear_fsdp", "test_rows"}
"""Files of which a thin pass has every third test. It has every fourth of the laws of each loss, for one kind of its
labels, and of all other files one test in ten. A law of each option by itself holds there for none and for all.
"""


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every test; without it a thin pass, unless some are named")
    parser.addoption("--other-tests", action="store_true", help="a thin pass of tests that it leaves out otherwise")
    parser.addoption("--write-passed", metavar="FILE", help="add the names of the tests that passed whole to a file")
    parser.addoption("--leave-out", metavar="FILE", help="run no test that a file names")


def pytest_configure(config):
    config.addinivalue_line("markers", "of_every_loss: a law that a thin pass has for every loss")
    config.addinivalue_line("markers", "differs_by_version: checks less, or something else, on old versions of JAX")
    config.addinivalue_line("markers", "asks_torch_too: compares with PyTorch, too, where it is installed")
    named = config.args_source is config.ArgsSource.ARGS or bool(config.option.keyword)
    config.option.full = getattr(config, "workerinput", {}).get("full", config.option.full or named)
    if config.option.write_passed and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Passed(config.option.write_passed))


def pytest_configure_node(node):
    node.workerinput["full"] = node.config.option.full


def pytest_collection_finish():
    gc.freeze()  # what is imported stays


class Passed:
    """Names of the tests that passed whole, for a pass on another version to leave out."""

    def __init__(self, path):
        self.path, self.names = pathlib.Path(path), []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed and ("is_whole", True) in report.user_properties:
            self.names.append(report.nodeid)

    def pytest_sessionfinish(self):
        with self.path.open("a") as file:
            file.writelines(f"{name}\n" for name in self.names)


def pytest_runtest_setup(item):
    item.user_properties.append(("is_whole", is_whole(item)))


def is_whole(item):
    """Whether a pass of a test here is enough. One CPU device takes another way before JAX 0.10.2."""
    is_thin = "thin" in item.fixturenames and not item.config.option.full
    lacks_torch = item.get_closest_marker("asks_torch_too") and not importlib.util.find_spec("torch")
    by_version = "one_cpu" in item.fixturenames or item.get_closest_marker("differs_by_version")
    return not (is_thin or lacks_torch or by_version)


def pytest_collection_modifyitems(config, items):
    named = pathlib.Path(config.option.leave_out).read_text().splitlines() if config.option.leave_out else ()
    left_out, is_chosen = {*named}, is_in_thin_pass(int(config.option.other_tests))
    chosen = {item: item.nodeid not in left_out and (config.option.full or is_chosen(item)) for item in items}
    items[:] = [item for item in items if chosen[item]]
    config.hook.pytest_deselected(items=[item for item, is_kept in chosen.items() if not is_kept])


def is_in_thin_pass(start):
    """Returns a function that says of each item in turn whether a thin pass has it.

    `start` is the first of the tests of a file. The first law differs from loss to loss.
    """
    laws, tests = {}, collections.Counter()

    def of_laws(item, setting):
        number = laws.get(str(setting.case), len(laws) + start)
        laws[str(setting.case)] = number + setting.is_first
        return setting.is_first and (number % 4 == 0 or bool(item.get_closest_marker("of_every_loss")))

    def of_others(item):
        tests[item.path] += 1
        every = 3 if item.path.stem in MESHES_AND_ROWS else 4 if item.path.parent.name == "laws" else 10
        return item.path.stem in EVERY_VERSION or (tests[item.path] - 1) % every == start

    def is_chosen(item):
        setting = item.callspec.params.get("setting") if hasattr(item, "callspec") else None
        return of_laws(item, setting) if setting else of_others(item)

    return is_chosen


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

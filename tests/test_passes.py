"""Which tests a pass has, and which count as passed when they pass in it."""

import importlib.util
import pathlib
from types import SimpleNamespace

import conftest
import pytest


class Item(SimpleNamespace):
    """A collected test of a file, with its markers and fixtures."""

    def __init__(self, path, name, *marks, full=False, fixtures=(), **rest):
        config = SimpleNamespace(option=SimpleNamespace(full=full))
        nodeid = f"{path.name}::{name}"
        super().__init__(nodeid=nodeid, path=path, config=config, marks=marks, fixturenames=fixtures, **rest)

    __hash__ = object.__hash__

    def get_closest_marker(self, name):
        return name in self.marks


TESTS = pathlib.Path(__file__).parent


@pytest.fixture
def items():
    """Twelve tests of each of three files."""
    return [Item(TESTS / f"test_{file}.py", n) for file in ("edges", "rows", "axes") for n in range(12)]


def chosen(items, start):
    return {item.nodeid for item in filter(conftest.is_in_thin_pass(start), items)}


def test_thin_passes_share_the_files_for_every_version_and_no_other_test(items):
    one, other = chosen(items, 0), chosen(items, 1)
    assert one & other == {item.nodeid for item in items if item.path.stem == "test_edges"}
    assert len(one) == len(other) == 12 + 4 + 2


def test_thin_passes_share_the_laws_of_every_loss_and_no_other_law():
    def laws(*marks, is_first=True):
        settings = [SimpleNamespace(case=case, is_first=is_first) for case in "abcd"]
        specs = [SimpleNamespace(params={"setting": setting}) for setting in settings]
        return [Item(TESTS / "laws" / "file.py", f"{marks} {s.params}", *marks, callspec=s) for s in specs]

    every_law = [law for _ in range(8) for law in laws()]
    for number, law in enumerate(every_law):
        law.nodeid = str(number)
    one, other = chosen(every_law, 0), chosen(every_law, 1)
    assert not one & other
    assert len(one) == len(other) == len(every_law) / 4
    assert len({int(number) // 4 for number in one}) == 8  # losses begin with another law each, so every law is there
    assert len(chosen(laws("of_every_loss"), 0)) == 4
    assert not chosen(laws("of_every_loss", is_first=False), 0)


def test_named_tests_are_left_out_and_no_other(items, tmp_path):
    names = [item.nodeid for item in items]
    (tmp_path / "passed").write_text(f"{names[0]}\n{names[20]}\n")
    option, left = SimpleNamespace(full=True, leave_out=str(tmp_path / "passed"), other_tests=False), []
    hook = SimpleNamespace(pytest_deselected=lambda items: left.extend(items))
    conftest.pytest_collection_modifyitems(SimpleNamespace(option=option, hook=hook), items)
    assert [item.nodeid for item in left] == [names[0], names[20]]
    assert [item.nodeid for item in items] == [name for name in names if name not in (names[0], names[20])]


@pytest.mark.parametrize("has_torch", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_a_test_that_checks_less_here_is_not_whole(full, has_torch, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: has_torch)

    def is_whole(*marks, fixtures=()):
        return conftest.is_whole(Item(TESTS, "test", *marks, full=full, fixtures=fixtures))

    assert is_whole()
    assert is_whole(fixtures=["thin"]) == full
    assert is_whole("asks_torch_too") == has_torch
    assert not is_whole("differs_by_version")
    assert not is_whole(fixtures=["one_cpu"])


def test_only_whole_tests_that_passed_are_written(tmp_path):
    passed = conftest.Passed(tmp_path / "passed")
    for when, succeeds, whole in [("call", 1, 1), ("setup", 1, 1), ("call", 0, 1), ("call", 1, 0)]:
        name = f"{when}, {succeeds}, {whole}"
        properties = [("is_whole", bool(whole))]
        report = SimpleNamespace(when=when, passed=bool(succeeds), user_properties=properties, nodeid=name)
        passed.pytest_runtest_logreport(report)
    passed.pytest_sessionfinish()
    assert (tmp_path / "passed").read_text() == "call, 1, 1\n"

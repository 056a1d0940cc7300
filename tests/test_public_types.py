"""The stub that type checkers read agrees with the functions, and the version with the package's metadata."""

import importlib.metadata

import public_types
import pytest

import jaxce


def test_the_stub_is_written_anew_after_a_signature_changed():
    assert public_types.STUB.read_text() == public_types.stub()


def test_the_version_is_that_of_the_package():
    try:
        installed = importlib.metadata.version("jaxce")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("jaxce runs from its source and is not installed")
    assert jaxce.__version__ == installed

"""The stub that type checkers read and the list of signatures agree with the functions, and the versions agree."""

import importlib.metadata

import public_api
import public_types
import pytest

import jaxce


def test_the_stub_is_written_anew_after_a_signature_changed():
    assert public_types.STUB.read_text() == public_types.stub()


def test_public_signatures_are_those_that_users_have():
    message = "a public signature changed: see Public signatures in CONTRIBUTING.md"
    assert public_api.FILE.read_text() == public_api.written(), message


def test_the_citation_has_this_version():
    text = (public_api.FILE.parent.parent / "CITATION.cff").read_text()
    assert f"version: {jaxce.__version__}\n" in text


def test_the_version_is_that_of_the_package():
    try:
        installed = importlib.metadata.version("jaxce")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("jaxce runs from its source and is not installed")
    assert jaxce.__version__ == installed

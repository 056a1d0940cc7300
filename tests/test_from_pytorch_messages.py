"""Every message of `jaxce.torch`, word for word, as `from_pytorch_messages.txt` holds them below their calls."""

import pathlib

import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxce.torch import functional as F
from jaxce.torch import nn

LINES = pathlib.Path(__file__).with_name("from_pytorch_messages.txt").read_text().splitlines()
CALLS = dict(zip(LINES[::2], LINES[1::2], strict=True))
NAMES = {
    "jax": jax,
    "np": np,
    "F": F,
    "nn": nn,
    "X": np.zeros((2, 3), np.float32),
    "Y": np.zeros(2, int),
    "W": np.ones(3, np.float32),
    "K": np.ones((4, 3), np.float32),
    "IMAGE": np.zeros((2, 3, 4, 4), np.float32),
    "PIXELS": np.zeros((2, 4, 4), int),
}


@pytest.mark.parametrize("call", CALLS)
def test_message(call, request):
    with pytest.raises((TypeError, ValueError, TypeCheckError)) as caught:
        eval(call, dict(NAMES))
    if isinstance(caught.value, TypeCheckError) and request.config.getoption("--jaxtyping-packages", None):
        pytest.skip("the annotations raise first")
    kind, text = CALLS[call].strip().split(": ", 1)
    assert (type(caught.value).__name__, str(caught.value)) == (kind, text)

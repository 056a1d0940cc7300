"""Programs exported from a host with one CPU device hold the way of the platform they are for."""

import pytest
from cases import CASES

NOTHING = {"while": 0, "optimization_barrier": 0}
LAYERS = ("linear_cross_entropy", "linear_kl_divergence", "linear_loss", "linear_log_probs")
OF_THE_LOSS = {f"{name}: {work}": NOTHING | {"while": 1} for name in LAYERS for work in ("value", "gradient")} | {
    "linear_log_probs: gradient": NOTHING | {"while": 2},
    "multilabel_margin_loss: value": NOTHING | {"while": 1},
    "multilabel_margin_loss: gradient": {"while": 2, "optimization_barrier": 1},
}
"""Loops and barriers on every machine: over chunks of tokens; over pairs of classes, with `checkpoint`'s barrier."""


@pytest.fixture
def exports(facts_of):
    return facts_of("exports.py")


def test_every_loss_is_exported(exports):
    losses = {name.split(":")[0].split()[0] for name in exports}
    without_row = {"js_divergence_of_views", "distillation_loss", "log_probs", *LAYERS[1:]}
    assert losses == {case.name for case in CASES} | without_row


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_an_accelerator_gets_no_loop_or_barrier_of_the_cpu(exports, platform):
    for name, counts in exports.items():
        loss, _, platforms = name.partition(" for ")
        if platforms == platform:
            sort = min(counts["while"], 1) if loss.startswith("lovasz") else 0  # JAX 0.12 sorts by a loop for CUDA
            assert counts == (OF_THE_LOSS.get(loss) or NOTHING | {"while": sort}), name


def test_a_cpu_gets_its_own_and_so_does_a_program_for_all(exports):
    for platforms in ("cpu", "cpu+cuda+tpu"):
        value, gradient = (exports[f"cross_entropy: {work} for {platforms}"] for work in ("value", "gradient"))
        assert value["while"] > 0, platforms
        assert gradient["while"] > 0, platforms
        assert gradient["optimization_barrier"] > 0, platforms

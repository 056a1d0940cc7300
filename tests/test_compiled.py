"""Exact facts of the compiled programs on one device: temporary memory, and passes over the logits."""

import jax
import pytest

FUSED = jax.__version_info__ >= (0, 10, 2)
"""Whether XLA on a CPU sums in one kernel with what leads to the sum."""


@pytest.fixture
def facts(facts_of):
    return facts_of("compiled.py")


def test_temporary_memory_of_value_and_grad(facts):
    """At most 5 % of the logits; 20 % for 21 classes, where one number per example is 5 % already.

    With ``has_aux`` at most 6 %: four arrays of the size of a block, which is a 64th of the logits. Formulas of rows
    have more of these. Of losses of elements the losses themselves are an array; with JAX 0.9 a mean over classes
    takes another 3 %. Regions have one array, the probabilities or their gradient; with a mask also the masked logits.
    """
    bounds = {"image": 20, "has_aux": 6, "element": 101 if FUSED else 104, "row": 15}
    bounds |= {"region": 110, "masked-region": 220, "region-of-masks": 5}
    for name, percent in facts["memory"].items():
        assert percent <= bounds.get(name.split()[0], 5), (name, percent)


def test_the_measure_sees_what_people_write_today(facts):
    assert facts["hand-written"] > 100


def test_an_option_that_is_off_costs_no_pass(facts):
    """Forward: a maximum, a sum and a gather. The gradient is made of the sum's exponentials or of the logits."""
    assert facts["forward"] == {"reads": 3, "reductions": 2}
    assert facts["gradient"] == {"reads": 3 if facts["fused"] else 4, "reductions": 2}
    assert facts["smoothing"]["reductions"] > 2


MOST_OF_THE_NAIVE = {"float32 value": 0.26, "float32 gradient": 0.27, "bfloat16 value": 0.55, "bfloat16 gradient": 0.6}
"""Bounds on temporary memory. In bfloat16 a float32 kernel is the half of it: XLA makes one, or its gradient is one."""


def test_temporary_memory_of_a_linear_layer(facts):
    """Of 2048 tokens in float32 no more than a chunk of 512 has logits at a time, also where each has its own loss."""
    for name, fact in facts["linear"].items():
        work, how = name.rsplit(" ", 1)
        assert fact["memory"] <= (1 if how == "naive" else MOST_OF_THE_NAIVE[work]), (name, fact)
    assert facts["linear"]["bfloat16 gradient sum"]["memory"] <= 0.45


def test_no_array_of_a_linear_layer_is_larger_than_its_kernel(facts):
    """512 features against 1024 tokens and more, whose logits are the naive loss's largest array."""
    for name, fact in facts["linear"].items():
        assert (fact["largest"] == 512) == (not name.endswith("naive")), (name, fact)


def test_sums_without_selects_settle_what_is_infinite(facts):
    for name, error in facts["edges"].items():
        assert error < 2e-6, (name, error)

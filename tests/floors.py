"""The floor plan of the package: `python tests/floors.py` writes it into CONTRIBUTING.md, and a test compares.

Imports point down only, and modules on one floor do not import each other.
"""

import pathlib

PAGE = pathlib.Path(__file__).parent.parent / "CONTRIBUTING.md"
MARKS = "<!-- floors -->\n", "<!-- end of floors -->\n"

PLAN = [
    (
        "_types _sharding _keywords",
        "array types and the records of checked arguments; meshes; answers to wrong keywords",
    ),
    ("_numerics _debug _hints", "safe arithmetic; checks in compiled code; the usual fixes that messages propose"),
    ("_class_axis", "one-hot, taking a class, shards of the classes"),
    (
        "_value_checks _axis_inputs _coefficients _rows._record _rows._platform",
        "checks of values; the coefficients `q_c` of a loss; sums of a row and their merge",
    ),
    (
        "_rows._sums _rows._one_pass _rows._gpu _rows._linear",
        "sums over the classes; those with a known reference; XLA:GPU's fused chain; chunk sizes",
    ),
    ("_rows._accelerator _rows._cpu", "the choices of accelerators; one CPU device"),
    ("_rows", "the choice of the platform, made at lowering"),
    (
        "_inputs _cross_entropy _linear_product",
        "argument checks and conversion; `H` and its JVP in plain `jnp`; the product of a linear layer",
    ),
    ("_mixtures", "checks of mixtures of distributions"),
    (
        "_candidates _teachers _reduction_inputs",
        "checks of several ids of an example, of the teacher of a distillation, and of reductions that choose or group",
    ),
    (
        "_targets _row_losses _elementwise reductions _class_weights _linear_inputs _region_inputs",
        "`q` from labels, weights and smoothing; losses of rows and elements; means; checks for layers and regions",
    ),
    (
        "_linear _linear_formulas _region_sums _batch_inputs _hardest _grouped",
        "the loop over chunks of tokens; what becomes of its logits; sums over pixels; checks for `value_and_grad`;"
        " reductions that choose or group",
    ),
    ("_region_total", "the counts of a region as a total"),
    (
        "_softmax _linear_loss _log_probs _focal _sigmoid _divergence _regions _lovasz _value_and_grad",
        "losses: arguments, formula, reduction; mean and gradient over microbatches and devices",
    ),
    ("_margins _binary_margins _sigmoid_focal _distillation", "losses built on those of the floor below"),
    ("_explain _explain._call _explain._record", "accounts: a call by its signature; the record that is shown"),
    ("_explain._tables _explain._pytorch", "worst examples, classes, positions; a call of `jaxce.torch`"),
    ("_explain._account _explain._summary", "`explain`; `summarize`"),
    (" torch._arguments", "the public list; PyTorch's rules for arguments"),
    ("torch._labels", "PyTorch's rules for ids, probabilities and shapes"),
    ("torch._reductions", "PyTorch's means"),
    ("torch._classification torch._binary torch._margins torch._regression torch._activations", "the functions"),
    ("torch.nn.functional", "their public list"),
    ("torch.nn._base", "what the loss classes share"),
    ("torch.nn._classification torch.nn._binary torch.nn._margins torch.nn._regression", "the loss classes"),
    ("torch.nn", "their public list"),
    ("torch", "`functional` and `nn`"),
]
"""The modules of each floor, from the ground up, and what they hold; the package itself is the empty name."""

FLOOR = {module: number for number, (modules, _) in enumerate(PLAN) for module in modules.split(" ")}


def plan():
    """The table of CONTRIBUTING.md, with the top floor first."""
    lines = ["| floor | modules | hold |", "|---|---|---|"]
    for number, (modules, hold) in reversed([*enumerate(PLAN, 1)]):
        names = ", ".join(f"`{module or 'jaxce'}`" for module in modules.split(" "))
        lines.append(f"| {number} | {names} | {hold} |")
    return "\n".join(lines) + "\n"


def page():
    """CONTRIBUTING.md with the table as it should be."""
    before, rest = PAGE.read_text().split(MARKS[0])
    return before + MARKS[0] + plan() + MARKS[1] + rest.split(MARKS[1])[1]


if __name__ == "__main__":
    PAGE.write_text(page())

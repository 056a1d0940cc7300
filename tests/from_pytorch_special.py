"""Special numbers: kinks, ties, infinities, NaN and weights of 0, as tables of calls by function and name."""

import itertools
import math
from typing import Any, TypeAlias

Options: TypeAlias = dict[str, Any]

INF, NAN = math.inf, math.nan

LOGITS = [[0.0, 1.0, 2.0], [0.5, -1.5, 1.0]]
FAR = [[0.0, -INF, 1.0], [2.0, 0.5, -INF]]
WEIGHTS = [1.0, 0.0, 2.0]
SKIPPED = {"input": FAR[:1], "target": [0], "weight": WEIGHTS}
INVISIBLE = [[0.0, 1.0, 2.0], [NAN, NAN, NAN]]


def each(name: str, numbers: dict[str, float], **arguments: Any) -> dict[str, Options]:
    """The same call with one special number after the other as the input."""
    length = len(next(iter(arguments.values())))
    return {f"{name}_{word}": {"input": [number] * length, **arguments} for word, number in numbers.items()}


ENDS = {"plus_100": 100.0, "minus_100": -100.0, "plus_inf": INF, "minus_inf": -INF, "nan": NAN}
SMALL = {"0": 0.0, "1e-37": 1e-37, "1e-20": 1e-20, "1e-7": 1e-7, "almost_1": 0.99999994, "1": 1.0}
DIFFERENCES = {"0": [0.0], "half": [0.5], "minus_half": [-0.5], "inf": [INF], "minus_inf": [-INF], "nan": [NAN]}
AT = {f"at_{word}": {"input": number, "target": [0.0]} for word, number in DIFFERENCES.items()}
AT |= {"inf_of_both": {"input": [INF], "target": [INF]}}
WEIGHTLESS = {"input": [1.0, 2.0], "target": [0.0, 0.0], "weight": [0.0, 0.0]}
WEIGHTED = {
    "at_0_weight": WEIGHTLESS | {"input": [0.0, 2.0], "weight": [3.0, 1.0]},
    "weight_0": WEIGHTLESS,
    "weight_0_at_inf": WEIGHTLESS | {"input": [INF, 2.0], "weight": [0.0, 1.0]},
    "weight_negative": WEIGHTLESS | {"weight": [-2.0, 1.0]},
}

SPECIAL: dict[str, dict[str, Options]] = {
    "cross_entropy": {
        "minus_inf_elsewhere": {"input": FAR, "target": [0, 1]},
        "minus_inf_elsewhere-label_smoothing": {"input": FAR, "target": [0, 1], "label_smoothing": 0.1},
        "minus_inf_at_the_label": {"input": FAR, "target": [1, 0]},
        "plus_inf_elsewhere": {"input": [[0.0, INF, 1.0]], "target": [0]},
        "plus_inf_at_the_label": {"input": [[0.0, INF, 1.0]], "target": [1]},
        "minus_inf_everywhere": {"input": [[-INF] * 3, *LOGITS], "target": [0, 1, 2]},
        "far_apart": {"input": [[1e4, -1e4, 0.0], [1e30, -1e30, 0.0]], "target": [1, 0]},
        "one_class": {"input": [[5.0], [-3.0]], "target": [0, 0]},
        "nan_ignored": {"input": INVISIBLE, "target": [0, -100]},
        "nan_ignored-label_smoothing": {"input": INVISIBLE, "target": [0, -100], "label_smoothing": 0.1},
        "nan_ignored-weight": {"input": INVISIBLE, "target": [0, -100], "weight": WEIGHTS},
        "nan_counted": {"input": INVISIBLE, "target": [0, 1]},
        "weight_0_of_all": {"input": LOGITS, "target": [1, 1], "weight": WEIGHTS},
        "weight_0_of_all_classes": {"input": LOGITS, "target": [1, 2], "weight": [0.0, 0.0, 0.0]},
        "weight_0_minus_inf_at_the_label": {"input": FAR, "target": [1, 0], "weight": WEIGHTS},
        "weight_0_minus_inf_elsewhere": SKIPPED,
        "weight_0_minus_inf_elsewhere-label_smoothing": SKIPPED | {"label_smoothing": 0.1},
        "weight_negative": {"input": LOGITS, "target": [1, 2], "weight": [1.0, -1.0, 3.0]},
        "probability_0_at_minus_inf": {"input": FAR, "target": [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]},
        "probability_half_at_minus_inf": {"input": FAR, "target": [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]},
        "probabilities-weight_0_at_minus_inf": {"input": FAR[:1], "target": [[0.5, 0.5, 0.0]], "weight": WEIGHTS},
        "probabilities_sum_to_3": {"input": LOGITS, "target": [[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]]},
        "probabilities_all_0": {"input": LOGITS, "target": [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]},
        "probabilities_negative": {"input": LOGITS, "target": [[-0.5, 1.5, 0.0], [0.0, 2.0, -1.0]]},
    },
    "nll_loss": {
        "nan_ignored": {"input": INVISIBLE, "target": [0, -100]},
        "nan_elsewhere": {"input": [[0.0, NAN, INF]], "target": [0]},
        "minus_inf_at_the_label": {"input": FAR, "target": [1, 0]},
        "weight_0_of_all": {"input": LOGITS, "target": [1, 1], "weight": WEIGHTS},
        "weight_0_minus_inf_at_the_label": {"input": FAR, "target": [1, 0], "weight": WEIGHTS},
    },
    "linear_cross_entropy": {
        "nan_ignored": {"input": INVISIBLE, "linear_weight": LOGITS, "target": [0, -100]},
        "weight_0_of_all": {"input": LOGITS, "linear_weight": LOGITS, "target": [1, 1], "weight": [1.0, 0.0]},
        "label_smoothing_-0.5": {"input": LOGITS, "linear_weight": LOGITS, "target": [1, 0], "label_smoothing": -0.5},
    },
    "binary_cross_entropy": {
        **each("at", SMALL, target=[0.0, 0.5, 1.0]),
        "weight_0_at_0": {"input": [0.0, 0.5], "target": [1.0, 1.0], "weight": [0.0, 1.0]},
    },
    "binary_cross_entropy_with_logits": {
        **each("at", ENDS, target=[0.0, 0.5, 1.0]),
        **each("pos_weight_at", ENDS, target=[0.0, 0.5, 1.0], pos_weight=[2.0, 0.5, 3.0]),
        **each("pos_weight_0_at", ENDS, target=[0.0, 1.0], pos_weight=[0.0, 0.0]),
        **each("weight_0_at", ENDS, target=[0.0, 1.0], weight=[0.0, 0.0]),
        "target_beyond_0_and_1": {"input": [0.5, -2.0, 3.0], "target": [2.0, -1.0, 1.5]},
    },
    "multilabel_soft_margin_loss": each("at", ENDS, target=[0.0, 1.0]),
    "soft_margin_loss": {
        **each("at", ENDS | {"plus_1000": 1000.0, "minus_1000": -1000.0}, target=[1.0, -1.0]),
        "target_0": {"input": [2.0, -1000.0], "target": [0.0, 0.0]},
    },
    "kl_div": {
        "target_0": {"input": [-1.0, -0.5], "target": [0.0, 0.5]},
        "target_negative": {"input": [-1.0, -0.5], "target": [-0.5, 0.5]},
        "target_0_input_minus_inf": {"input": [-INF, -0.5], "target": [0.0, 0.5]},
        "target_half_input_minus_inf": {"input": [-INF, -0.5], "target": [0.5, 0.5]},
        "target_minus_inf": {"input": [-1.0, -0.5], "target": [-INF, -1.0], "log_target": True},
        "both_minus_inf": {"input": [-INF, -0.5], "target": [-INF, -1.0], "log_target": True},
        "target_nan": {"input": [-1.0, -0.5], "target": [NAN, 0.5]},
    },
    "multi_margin_loss": {
        "tie_p_1": {"input": [[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]], "target": [0, 0]},
        "tie_p_2": {"input": [[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]], "target": [0, 0], "p": 2},
        "tie_margin_half": {"input": [[1.0, 0.5, 0.75], [0.0, 0.0, -0.5]], "target": [0, 1], "margin": 0.5},
        "tie_margin_0": {"input": [[1.0, 1.0, 2.0], [0.0, 1.0, 0.0]], "target": [0, 2], "margin": 0.0},
        "target_of_one": {"input": [1.0, 0.5, 0.75], "target": [1]},
        "minus_inf_elsewhere": {"input": FAR, "target": [0, 1]},
        "minus_inf_at_the_label": {"input": FAR, "target": [1, 0]},
        "plus_inf_elsewhere": {"input": [[0.0, INF, 1.0]], "target": [0]},
        "nan": {"input": INVISIBLE, "target": [0, 1]},
        "one_class": {"input": [[5.0], [-3.0]], "target": [0, 0]},
    },
    "multilabel_margin_loss": {
        "tie": {"input": [[1.0, 0.0, 0.5], [0.0, 1.0, -1.0]], "target": [[0, -1, 1], [0, 2, -1]]},
        "label_twice": {"input": LOGITS, "target": [[0, 0, -1], [2, 1, 2]]},
        "minus_inf": {"input": FAR, "target": [[0, -1, 1], [0, 2, -1]]},
        "nan": {"input": INVISIBLE, "target": [[0, -1, 1], [0, 2, -1]]},
        "nan_no_labels": {"input": INVISIBLE, "target": [[0, -1, 1], [-1, 2, 0]]},
        "one_class": {"input": [[5.0], [-3.0]], "target": [[0], [-1]]},
    },
    "hinge_embedding_loss": {
        "at_margin": {"input": [1.0, 1.0, 1.0], "target": [-1.0, 0.0, 1.0]},
        "at_margin_half": {"input": [0.5, 0.5, 0.5], "target": [-1.0, 0.0, 1.0], "margin": 0.5},
        **each("at", ENDS, target=[-1.0, 0.0, 1.0]),
        "target_nan": {"input": [0.5], "target": [NAN]},
    },
    "poisson_nll_loss": {
        "rate_0": {"input": [0.0, 0.0], "target": [0.0, 2.0], "log_input": False},
        "rate_0_eps_0": {"input": [0.0, 0.0], "target": [0.0, 2.0], "log_input": False, "eps": 0.0},
        "rate_minus_eps": {"input": [-0.5, -0.5], "target": [0.0, 2.0], "log_input": False, "eps": 0.5},
        "rate_negative": {"input": [-1.0, -1.0], "target": [0.0, 2.0], "log_input": False},
        "log_rate_80": {"input": [80.0, -80.0], "target": [2.0, 2.0]},
        "log_rate_minus_inf": {"input": [-INF, -INF], "target": [0.0, 2.0]},
        "log_rate_plus_inf": {"input": [INF, INF], "target": [0.0, 2.0]},
        "target_0_full": {"input": [0.5, 0.5], "target": [0.0, 2.0], "full": True},
        "target_1_full": {"input": [0.5, 0.5], "target": [1.0, 2.0], "full": True},
        "target_half_full": {"input": [0.5, 0.5], "target": [0.5, 2.0], "full": True},
        "target_negative_full": {"input": [0.5, 0.5], "target": [-1.0, 2.0], "full": True},
    },
    "gaussian_nll_loss": {
        "var_0": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": [0.0, 0.0]},
        "var_below_eps": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": [1e-8, 0.25], "eps": 0.5},
        "var_at_eps": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": [0.5, 0.5], "eps": 0.5},
        "var_0_eps_0": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": [0.0, 0.0], "eps": 0.0},
        "var_inf": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": [INF, 1.0]},
        "var_float_below_eps": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": 0.25, "eps": 0.5},
        "var_float_0": {"input": [1.0, 2.0], "target": [0.5, 2.0], "var": 0.0},
    },
    "mse_loss": AT | WEIGHTED,
    "l1_loss": AT | WEIGHTED,
    "smooth_l1_loss": {
        f"beta_{beta}-{word}": x | {"beta": beta} for beta, (word, x) in itertools.product((0.5, 0.0, 0), AT.items())
    },
    "huber_loss": {f"delta_0.5-{word}": x | {"delta": 0.5} for word, x in (AT | WEIGHTED).items()},
}

ROWS_AT_ENDS = {
    "minus_inf": {"input": FAR, "dim": 1},
    "minus_inf_everywhere": {"input": [[-INF, -INF], [0.0, 1.0]], "dim": 1},
    "plus_inf": {"input": [[INF, 0.0], [0.0, 1.0]], "dim": 1},
    "nan": {"input": INVISIBLE, "dim": 1},
    "far_apart": {"input": [[1e30, -1e30, 0.0], [1e4, -1e4, 0.0]], "dim": 1},
}
NUMBERS_AT_ENDS = {f"at_{word}": {"input": [number, 0.0]} for word, number in ENDS.items()}
SPECIAL_FUNCTIONS: dict[str, dict[str, Options]] = {
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), ROWS_AT_ENDS),
    "sigmoid": NUMBERS_AT_ENDS,
    "logsigmoid": NUMBERS_AT_ENDS,
    "softplus": {
        **NUMBERS_AT_ENDS,
        "at_threshold": {"input": [19.999998, 20.0, 20.000002]},
        "at_threshold_3": {"input": [1.4999999, 1.5, 1.5000001], "beta": 2.0, "threshold": 3.0},
        "beta_0": {"input": [1.0, -1.0], "beta": 0.0},
        "threshold_negative": {"input": [-2.0, -1.0, 0.5], "threshold": -1.0},
    },
}

"""Docstrings of the core: short sentences, examples with options, one sentence for a keyword in a family."""

import collections
import inspect
import re

import pytest
from test_house import PUBLIC, sections_of

import jaxce

FAMILIES = {
    "softmax": "cross_entropy linear_cross_entropy nll_loss focal_loss poly1_loss generalized_cross_entropy"
    " brier_loss entropy kl_divergence js_divergence linear_loss log_probs linear_log_probs distillation_loss"
    " linear_kl_divergence js_divergence_of_views",
    "sigmoid": "sigmoid_binary_cross_entropy binary_cross_entropy sigmoid_focal_loss asymmetric_loss soft_margin_loss"
    " quality_focal_loss hinge_loss",
    "margin": "multiclass_hinge_loss multilabel_margin_loss multilabel_soft_margin_loss",
    "region": "dice_loss tversky_loss jaccard_loss lovasz_softmax lovasz_hinge",
    "without logits": "reduce balanced_class_weights debug",
    "gradients": "value_and_grad",
    "of a loss": "explain summarize",
}
SENTENCES = {
    ("softmax", "has_aux"): 2,  # linear_loss takes the results of a function
    ("softmax", "hidden"): 2,  # linear_loss takes those of several layers
    ("softmax", "teacher"): 2,  # that of linear_kl_divergence may be a layer
    ("softmax", "logits"): 2,  # js_divergence_of_views takes several
    ("softmax", "axis"): 2,  # one, or several of the losses whose labels are probabilities too
    ("margin", "axis"): 2,  # several of multiclass_hinge_loss
    ("softmax", "beta"): 2,  # of a teacher, or of labels
    ("softmax", "labels"): 3,  # linear_cross_entropy takes ids alone, and log_probs several
    ("sigmoid", "labels"): 3,  # soft_margin_loss takes 1 and -1, quality_focal_loss qualities
    ("sigmoid", "logits"): 2,  # hinge_loss takes scores
    ("sigmoid", "alpha"): 2,  # of the positive class, or of background
    ("margin", "labels"): 2,  # ids, or a label for each class
    ("margin", "class_weights"): 2,  # of an example by its id, or of the terms of its classes
    ("region", "logits"): 2,  # lovasz_hinge takes no probabilities
    ("region", "labels"): 2,  # lovasz_hinge takes binary labels alone
    ("region", "where"): 2,
    ("region", "sample_weights"): 2,
    ("region", "average"): 2,  # Lovasz losses have no counts
    ("without logits", "where"): 2,  # of values, or of labels
}
"""The number of sentences of a keyword in a family, other than 1."""


def arguments(function):
    """The sentence of each argument, on one line."""
    lines = re.sub(r"\n {8}", " ", sections_of(function)[2]["Args"])
    return dict(re.findall(r"^    (\w+): (.*)$", lines, re.MULTILINE))


def test_every_function_has_one_family():
    members = sorted(name for family in FAMILIES.values() for name in family.split())
    public = [name for name in jaxce.__all__ if inspect.isfunction(getattr(jaxce, name))]
    assert members == public, f"add to FAMILIES, or take out: {sorted({*members} ^ {*public})}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_keyword_has_one_sentence_in_a_family(family):
    sentences = collections.defaultdict(set)
    for name in FAMILIES[family].split():
        for keyword, sentence in arguments(getattr(jaxce, name)).items():
            sentences[keyword].add(sentence)
    for keyword, found in sentences.items():
        assert len(found) == SENTENCES.get((family, keyword), 1), f"{keyword}: {sorted(found)}"


@pytest.mark.parametrize("keyword", ["reduction", "ignore_index"])
def test_a_shared_keyword_has_one_sentence_everywhere(keyword):
    found = {arguments(f)[keyword] for f in PUBLIC if keyword in inspect.signature(f).parameters}
    assert len(found) == 1, found


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_the_text_is_short(thing):
    """Two to four sentences of at most 20 words below the summary, code counted as one word; lines of one argument."""
    _, prose, sections = sections_of(thing)
    sentences = re.split(r"(?<=[.!?]) ", re.sub(r"``[^`]*``", "code", prose))
    assert 2 <= len(sentences) <= 4, sentences
    assert not [sentence for sentence in sentences if len(sentence.split()) > 20]
    assert not re.search(r"^ {5,}", sections["Args"], re.MULTILINE), "one line each"


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_the_example_shows_options(thing):
    """Two to four results, of at least two sets of arguments."""
    example = sections_of(thing)[2]["Example"]
    printed = re.findall(r"^    (?:>>>|\.\.\.) +print\((.*)\)$", example, re.MULTILINE)
    assert 2 <= len(set(printed)) == len(printed) <= 4
    used = re.findall(rf"\b{thing.__name__}\(.*?(\w+)=", example)
    assert used or not inspect.isfunction(thing), "a call with an option"

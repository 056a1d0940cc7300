"""Divergences between distributions, one term for each class."""

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy


def kl_term(log_q: Array, p: Array) -> Array:
    """``p (log p - log q)`` with ``0 log 0 = 0``."""
    return xlogy(p, p) - p * log_q


def kl_term_of_logs(log_q: Array, log_p: Array) -> Array:
    """``p (log p - log q)`` from both logarithms."""
    return jnp.exp(log_p) * (log_p - log_q)

"""The cases of the benchmark: one row each, with its inputs and a float64 reference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

IGNORED, SMOOTHING = -100, 0.1


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss of one shape. ``labels`` are "ids", "probs", "binary", or the ids of a "linear" layer.

    The shape of a linear layer is tokens, features, classes. ``options`` are class weights, ignored ids and smoothing.
    A ``sweep`` measures the growth of the cost; the tables leave it out.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    labels: str = "ids"
    axis: int = -1
    options: bool = False
    sweep: str = ""

    @property
    def name(self) -> str:
        kind = {"ids": "", "probs": "probabilities", "binary": "sigmoid", "linear": "linear"}[self.labels]
        axis = "" if self.axis == -1 else f"axis={self.axis}"
        options = "weights, ignored, smoothing" if self.options else ""
        sweep = f"sweep over {self.sweep}" if self.sweep else ""
        return " ".join(filter(None, [self.dtype, str(list(self.shape)), axis, kind, options, sweep]))

    @property
    def is_eager(self) -> bool:
        """Whether the case is also timed without jit: a small and a larger one."""
        return self in (Case((256, 10)), Case((4096, 1000)))

    @property
    def classes(self) -> int:
        return self.shape[self.axis]

    def draw(self):
        """Returns the differentiated arrays, and the others: labels and, with options, class weights."""
        keys = jax.random.split(jax.random.key(0), 4)
        if self.labels == "linear":
            tokens, features, classes = self.shape
            hidden = jax.random.normal(keys[0], (tokens, features)).astype(self.dtype)
            kernel = (jax.random.normal(keys[1], (features, classes)) / features**0.5).astype(self.dtype)
            return (hidden, kernel), (jax.random.randint(keys[2], (tokens,), 0, classes),)
        x = (3 * jax.random.normal(keys[0], self.shape)).astype(self.dtype)
        examples = tuple(np.delete(self.shape, self.axis))
        if self.labels == "probs":
            return (x,), (jax.nn.softmax(jax.random.normal(keys[1], self.shape), self.axis),)
        if self.labels == "binary":
            return (x,), (jax.random.bernoulli(keys[1], 0.3, self.shape).astype(jnp.float32),)
        ids = jax.random.randint(keys[1], examples, 0, self.classes)
        if not self.options:
            return (x,), (ids,)
        ids = jnp.where(jax.random.bernoulli(keys[2], 0.1, examples), IGNORED, ids)
        return (x,), (ids, jax.random.uniform(keys[3], (self.classes,), minval=0.5, maxval=2))

    def in_float64(self, moving, others):
        """The loss and its gradient in the last differentiated array, in NumPy."""
        *hidden, x = (np.asarray(a).astype(np.float64) for a in moving)
        y = np.asarray(others[0])
        if self.labels == "binary":
            gradient = 1 / (1 + np.exp(-x)) - y
            return np.mean(np.logaddexp(0, x) - x * y), gradient / x.size
        if hidden:
            x = hidden[0] @ x
        x = np.moveaxis(x, self.axis, -1)
        x -= x.max(-1, keepdims=True)
        log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
        if self.labels == "probs":
            q, weight = np.moveaxis(y, self.axis, -1).astype(np.float64), np.float64(y.size // self.classes)
        else:
            eps, w = (SMOOTHING, np.asarray(others[1], np.float64)) if self.options else (0.0, np.ones(self.classes))
            valid, safe = y != IGNORED, np.where(y == IGNORED, 0, y)[..., None]
            q = np.full(x.shape, eps / self.classes)
            np.put_along_axis(q, safe, np.take_along_axis(q, safe, -1) + 1 - eps, -1)
            q *= w * valid[..., None]
            weight = np.sum(w[safe[..., 0]] * valid)
        gradient = (np.exp(log_p) * q.sum(-1, keepdims=True) - q) / weight
        gradient = hidden[0].T @ gradient if hidden else np.moveaxis(gradient, -1, self.axis)
        return -np.sum(q * log_p) / weight, gradient


CASES = [
    Case((256, 10)),
    Case((4096, 1000)),
    Case((65536, 10)),
    Case((1024, 32768)),
    Case((512, 128256)),
    Case((1024, 50257), "bfloat16"),
    Case((8, 21, 128, 128), axis=1),
    Case((8, 21, 128, 128), axis=1, options=True),
    Case((4096, 1000), options=True),
    Case((4096, 1000), labels="probs"),
    Case((4096, 1000), labels="binary"),
    Case((2048, 512, 32768), labels="linear"),
    Case((1024, 512, 32768), "bfloat16", labels="linear"),
    *(Case((10**n, 100), sweep="examples") for n in range(2, 7)),
    *(Case((64, 10**n), sweep="classes") for n in range(2, 7)),
]


def quick(case: Case) -> Case:
    """The same case with few examples and classes, for a smoke test."""
    if case.labels == "linear":
        return dataclasses.replace(case, shape=(256, 64, 2048))
    shape = (
        (2, 21, 16, 16)
        if len(case.shape) == 4
        else tuple(min(n, most) for n, most in zip(case.shape, (64, 1000), strict=True))
    )
    return dataclasses.replace(case, shape=shape)

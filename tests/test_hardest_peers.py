"""`Hardest` beside the PyTorch code of those who mine hard examples, values and gradients."""

import importlib
import importlib.util

import jax
import numpy as np
import pytest

import jaxce
from jaxce import Hardest

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")

RNG = np.random.default_rng(0)
B, C, H, W = 3, 5, 7, 6
X = (2 * RNG.normal(size=(B, C, H, W))).astype(np.float32)
Y = RNG.integers(0, C, (B, H, W))
VOID = np.where(RNG.random((B, H, W)) < 0.2, 255, Y)
ANCHORS = np.where(RNG.random((B, H * W)) < 0.85, 0, RNG.integers(1, C, (B, H * W)))


def torch():
    return importlib.import_module("torch")


def pixel_losses(x, y, **options):
    return torch().nn.functional.cross_entropy(x, y, reduction="none", **options)


def compare(of_torch, of_jax, x=X, y=Y):
    leaf = torch().tensor(x, requires_grad=True)
    want = of_torch(leaf, torch().tensor(y))
    want.backward()
    got, gradient = jax.value_and_grad(of_jax)(x, y)
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("fraction", [0.15, 0.2, 0.7, 1.0])
def test_top_k_of_deeplab(fraction):
    """Detectron2, `DeepLabCE`: the part of all pixels; bootstrapped cross-entropy."""

    def deeplab(x, y):
        losses = pixel_losses(x, y).contiguous().view(-1)
        return losses.topk(int(fraction * losses.numel()))[0].mean()

    compare(deeplab, lambda x, y: jaxce.cross_entropy(x, y, axis=1, reduction=Hardest(fraction=fraction)))


@pytest.mark.parametrize("percent", [10, 33])
def test_top_k_of_nnunet(percent):
    """nnU-Net, `TopKLoss`, with its class weights: it ranks the weighted losses, and divides by their number."""
    weights = np.float32([1, 2, 0.5, 3, 1])

    def nnunet(x, y):
        losses = pixel_losses(x, y, weight=torch().tensor(weights))
        return losses.view(-1).topk(int(losses.numel() * percent / 100), sorted=False)[0].mean()

    def ours(x, y):
        hard = Hardest(fraction=percent / 100, reduction="sum")
        total = jaxce.cross_entropy(x, y, axis=1, class_weights=weights, reduction=hard)
        return total / int(y.size * percent / 100)

    compare(nnunet, ours)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 1), (0.1, 1), (0.05, 60), (0.7, 100)])
def test_ohem_of_bisenet(threshold, min_kept):
    """BiSeNet, `OhemCELoss`: losses above -log of a probability, or the ``min_kept`` largest."""

    def bisenet(x, y):
        losses = pixel_losses(x, y, ignore_index=255).view(-1)
        hard = losses[losses > -np.log(threshold)]
        return (losses.topk(min_kept)[0] if hard.numel() < min_kept else hard).mean()

    def ours(x, y):
        hard = Hardest(threshold=-np.log(threshold), min_kept=min_kept)
        return jaxce.cross_entropy(x, y, axis=1, ignore_index=255, reduction=hard)

    compare(bisenet, ours, y=VOID)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.7, 5), (0.02, 30)])
def test_ohem_of_mmsegmentation(threshold, min_kept):
    """mmsegmentation, `OHEMPixelSampler`: ``min_kept`` per image, chosen over the batch; it divides by all pixels."""

    def mmseg(x, y):
        with torch().no_grad():
            valid, kept = y != 255, torch().zeros(y.shape)
            probs = x.softmax(1).gather(1, y.where(valid, 0)[:, None])[:, 0]
            ranked = probs[valid].sort()[0]
            edge = max(float(ranked[min(min_kept * B, ranked.numel() - 1)]), threshold)
            kept[valid & (probs < edge)] = 1
        return (pixel_losses(x, y, ignore_index=255) * kept).sum() / y.numel()

    def ours(x, y):
        hard = Hardest(threshold=-np.log(threshold), min_kept=min_kept * B, reduction="sum")
        return jaxce.cross_entropy(x, y, axis=1, ignore_index=255, reduction=hard) / y.size

    compare(mmseg, ours, y=VOID)


@pytest.mark.parametrize("ratio", [1, 3])
def test_hard_negatives_of_ssd(ratio):
    """torchvision, `SSD.compute_loss`: all positives, ``ratio`` negatives for each, chosen in each image."""
    x = (2 * RNG.normal(size=(B, H * W, C))).astype(np.float32)

    def ssd(x, y):
        losses = pixel_losses(x.view(-1, C), y.view(-1)).view(y.shape)
        foreground = y > 0
        negative = losses.detach().clone()
        negative[foreground] = -float("inf")
        chosen = negative.sort(1, descending=True)[1].sort(1)[1] < ratio * foreground.sum(1, keepdim=True)
        return (losses[foreground].sum() + losses[chosen].sum()) / foreground.sum()

    def ours(x, y):
        hard = Hardest(ratio=ratio, positives=y > 0, axis=-1, reduction="sum")
        return jaxce.cross_entropy(x, y, reduction=hard) / np.float32((y > 0).sum())

    compare(ssd, ours, x, ANCHORS)

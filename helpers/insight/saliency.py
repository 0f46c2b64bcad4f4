"""Which pixels a class score hangs on. captum differentiates; it is imported where a map is asked for, as it takes two seconds."""

import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from helpers.core.errors import UserError, pick
from helpers.core.seeds import derive

SAMPLES = 32  # noisy copies of an image, or steps on its way from grey
NOISE = 0.15  # of the image's own range; SmoothGrad's paper finds 10 to 20 % best


@dataclass(frozen=True)
class Classifier:
    """Scores x @ weights [D, C] + bias [C] of raw features, as a linear probe gives them (Probe.classifier)."""

    weights: Tensor
    bias: Tensor

    def scores(self, features: Tensor) -> Tensor:
        return features @ self.weights + self.bias

    def probabilities(self, features: Tensor) -> np.ndarray:
        """float64 [n, C]: in single precision the surest images would all tie at exactly 1."""
        return self.scores(features).double().softmax(1).cpu().numpy()


def check_captum() -> None:
    """An error where there is no captum: a run that is to keep maps must know it before its training, not after."""
    if importlib.util.find_spec("captum") is None:
        raise UserError("Saliency maps need captum, which is not installed: `pip install captum` (`make gpu-kit` carries it).")


def saliency_maps(
    encoder: nn.Module, classifier: Classifier, images: Tensor, targets, method: str = "gradient", seed: int = 0
) -> np.ndarray:
    """float16 [n, H, W], the strongest pixel of each image 1: how much the score of the target class turns on each pixel.

    `images` are normalised floats, as the encoder sees them in evaluation. "gradient" is the plain derivative (Simonyan et al.);
    "smooth" its mean over noisy copies of the image, seeded (SmoothGrad); "integrated" its mean on the way from the training
    set's mean colour, times the distance (integrated gradients). Each is taken as a size and at its largest channel.
    An image's map does not depend on which others are asked for.
    """
    attribute = pick("saliency method", method, METHODS)
    targets = torch.as_tensor(targets, device=images.device).long()
    classes = len(classifier.bias)
    if len(targets) != len(images):
        raise UserError(f"Saliency needs one target class an image: there are {len(targets)} targets for {len(images)} images.")
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
        wrong = sorted({int(target) for target in targets if not 0 <= target < classes})
        raise UserError(f"Saliency targets {wrong} are not among the classifier's classes, 0 to {classes - 1}.")
    modes = [(part, part.training) for part in encoder.modules()]
    encoder.eval()
    maps = np.zeros((len(images), *images.shape[-2:]), np.float16)
    try:
        for row in range(len(images)):  # one image at a time is already a batch: of its noisy copies, or of its steps
            attributed = attribute(
                lambda x: classifier.scores(encoder(x).float()),
                images[row : row + 1].detach().float().requires_grad_(),
                targets[row : row + 1],
                seed,
            )
            size = attributed[0].detach().abs().amax(0)
            maps[row] = (size / size.max().clamp(min=torch.finfo(size.dtype).tiny)).cpu().numpy()
    finally:
        for part, mode in modes:
            part.training = mode
    return maps


def _gradient(scores, image, target, seed):
    from captum.attr import Saliency

    return Saliency(scores).attribute(image, target=target, abs=False)


def _smooth(scores, image, target, seed):
    from captum.attr import NoiseTunnel, Saliency

    spread = NOISE * float(image.detach().max() - image.detach().min())
    with torch.random.fork_rng([image.device] if image.is_cuda else []):  # captum draws from the global generator
        torch.manual_seed(derive("saliency", seed))
        return NoiseTunnel(Saliency(scores)).attribute(
            image, nt_type="smoothgrad", nt_samples=SAMPLES, stdevs=spread, target=target, abs=False
        )


def _integrated(scores, image, target, seed):
    from captum.attr import IntegratedGradients

    return IntegratedGradients(scores).attribute(image, baselines=0.0, target=target, n_steps=SAMPLES)


METHODS = {"gradient": _gradient, "smooth": _smooth, "integrated": _integrated}

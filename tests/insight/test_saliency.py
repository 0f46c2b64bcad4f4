import numpy as np
import pytest
import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.evaluation import probe
from helpers.evaluation.features import Features
from helpers.insight import Classifier, saliency_maps
from helpers.insight.saliency import METHODS
from helpers.models import build_encoder


class Linear(nn.Module):
    """An encoder whose features are weighted sums of pixels, so that the gradient is known."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images):
        return images.flatten(1) @ self.weights.flatten(1).T


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classifier(width, classes=4):
    return Classifier(drawn(width, classes, seed=5), drawn(classes, seed=6))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 32, stem="imagenet", zero_init_last=False)
    with torch.no_grad():
        encoder.train()(drawn(64, 3, 32, 32, seed=9))  # statistics to normalise with
    return encoder


def correlation(a, b):
    return np.mean([np.corrcoef(x.ravel().astype(float), y.ravel().astype(float))[0, 1] for x, y in zip(a, b, strict=True)])


def test_gradient_of_a_linear_encoder_is_its_weights():
    encoder, head = Linear(drawn(6, 3, 8, 8)), classifier(6)
    maps = saliency_maps(encoder, head, drawn(2, 3, 8, 8, seed=1), [3, 1])
    for target, found in zip((3, 1), maps, strict=True):
        expected = torch.einsum("dchw,d->chw", encoder.weights.detach(), head.weights[:, target]).abs().amax(0)
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-3)
    assert maps.dtype == np.float16 and maps.shape == (2, 8, 8)
    assert encoder.weights.grad is None


@pytest.mark.parametrize("method", ["smooth", "integrated"])
def test_steadier_methods_of_a_linear_encoder_have_their_closed_form(method):
    encoder, head, images = Linear(drawn(6, 3, 8, 8)), classifier(6), drawn(2, 3, 8, 8, seed=1)
    expected = torch.einsum("dchw,d->chw", encoder.weights.detach(), head.weights[:, 2]).expand(2, -1, -1, -1)
    if method == "integrated":
        expected = expected * images
    expected = expected.abs().amax(1)
    found = saliency_maps(encoder, head, images, [2, 2], method)
    np.testing.assert_allclose(found, expected / expected.amax((1, 2), keepdim=True), atol=1e-3)


def test_smooth_repeats_by_seed_and_image_and_leaves_the_generator_alone(resnet):
    images, head = drawn(2, 3, 32, 32, seed=1), classifier(resnet.width)
    resnet.train()
    state = torch.random.get_rng_state()
    first = saliency_maps(resnet, head, images, [0, 1], "smooth", seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert resnet.training
    assert np.array_equal(first[1:], saliency_maps(resnet, head, images[1:], [1], "smooth", seed=3))
    assert not np.array_equal(first[1:], saliency_maps(resnet, head, images[1:], [1], "smooth", seed=4))
    assert first.max() == 1 and first.min() >= 0


def test_steadier_methods_are_steadier_when_images_change_a_little(resnet):
    """Under one seed, as figures draw them; between seeds the same smooth map varies, as 32 copies are few."""
    images, head, targets = drawn(3, 3, 32, 32, seed=2), classifier(resnet.width), [0, 1, 2]
    noisy = images + 0.05 * drawn(3, 3, 32, 32, seed=3)
    alike = {method: correlation(*(saliency_maps(resnet, head, x, targets, method) for x in (images, noisy))) for method in METHODS}
    assert alike["smooth"] > alike["gradient"] + 0.08
    assert alike["integrated"] > alike["gradient"] + 0.04


def test_a_score_that_hangs_on_nothing_gives_an_empty_map():
    maps = saliency_maps(Linear(torch.zeros(6, 3, 8, 8)), classifier(6), drawn(1, 3, 8, 8), [0])
    assert not maps.any()


def test_the_probes_classifier_is_found_again_from_raw_features():
    labels = torch.arange(300) % 3
    x = 5 * drawn(3, 20)[labels] + 6 * drawn(300, 20, seed=1) + 100 * drawn(20, seed=2)
    x[:, 4] = 7  # never changes: standardisation leaves it at zero
    train, test = Features(x[:200], labels[:200]), Features(x[200:], labels[200:])
    result = probe(train, test, 3)
    head = Classifier(*result.classifier)
    probabilities = head.probabilities(test.x)
    assert (torch.from_numpy(probabilities.argmax(1)) == result.predictions).float().mean() >= 0.99
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert 50 < result.top1 < 100


def test_wrong_requests_are_named():
    encoder, head, images = Linear(drawn(6, 3, 8, 8)), classifier(6), drawn(2, 3, 8, 8)
    with pytest.raises(UserError, match="smooth"):
        saliency_maps(encoder, head, images, [0, 1], "smoth")
    with pytest.raises(UserError, match="1 targets for 2 images"):
        saliency_maps(encoder, head, images, [0])
    with pytest.raises(UserError, match=r"\[4\].* 0 to 3"):
        saliency_maps(encoder, head, images, [0, 4])

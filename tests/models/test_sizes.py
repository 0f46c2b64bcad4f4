"""Views of other sizes than the encoder's own: convolutional nets take them, and the others say that they cannot."""

import pytest
import torch

from helpers.core.errors import UserError
from helpers.models import build_encoder

ANY = ["resnet_tiny", "resnet56_cifar", "convnext_micro", "mobilenetv2", "efficientnet_lite0", "shufflenetv2", "squeezenet", "vgg11_bn"]


@pytest.mark.parametrize("name", ANY)
def test_a_small_view_gives_what_a_small_encoder_gives(name):
    encoder = build_encoder(name, 64).eval()
    small = build_encoder(name, 32, stem=encoder.stem).eval()
    small.load_state_dict(encoder.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert encoder.takes_any_size
    with torch.no_grad():
        for ours, theirs in zip(encoder.features_and_map(images), small.features_and_map(images), strict=True):
            assert torch.equal(ours, theirs)
        assert encoder(torch.zeros(2, 3, 48, 64)).shape == (2, encoder.width)


@pytest.mark.parametrize(
    ("name", "options"), [("vit_micro", {}), ("vit_contest", {"dim": 64, "depth": 1, "heads": 1}), ("regnetx_002", {})]
)
def test_the_others_refuse_and_say_what_takes_them(name, options):
    encoder = build_encoder(name, 64, **options)
    assert not encoder.takes_any_size
    with pytest.raises(UserError, match=r"64 x 64.*\(2, 3, 32, 32\).*multi-crop.*convolutional"):
        encoder(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize(("name", "size"), [("vgg11_bn", 8), ("squeezenet", 4), ("convnext_micro", 4), ("alexnet", 8)])
def test_a_map_that_shrinks_to_nothing_is_refused(name, size):
    encoder = build_encoder(name, 64)
    with pytest.raises(UserError, match=rf"{name} with stem .* leaves nothing of images of \({size}, {size}\).*larger views"):
        encoder(torch.zeros(2, 3, size, size))
    with pytest.raises(UserError, match="leaves nothing"):
        encoder(torch.zeros(2, 3, size, 64))


def test_what_is_not_a_batch_of_images_is_refused():
    with pytest.raises(UserError, match=r"64 x 64, and got \(3, 64, 64\)"):
        build_encoder("resnet_tiny", 64)(torch.zeros(3, 64, 64))


def test_two_sizes_compile():
    encoder = build_encoder("resnet_tiny", 64).eval()
    fast = torch.compile(encoder, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        for size in (64, 32):
            images = torch.randn(2, 3, size, size)
            torch.testing.assert_close(fast(images), encoder(images))

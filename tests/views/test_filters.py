import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as reference

from helpers.views import filters


def pictures(count=6, height=32, width=32):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width", "taps"), [(32, 32, 3), (32, 32, 9), (24, 40, 5), (6, 6, 11)])
def test_blur(height, width, taps):
    images, sigma = pictures(6, height, width), torch.tensor([0.1, 0.3, 0.7, 1.0, 1.5, 2.0])
    ours = filters.gaussian_blur(images, sigma, taps)
    for n, deviation in enumerate(sigma.tolist()):
        if taps // 2 < min(height, width):  # torchvision, too, reflects at most size - 1 pixels
            theirs = reference.gaussian_blur(images[n], [taps, taps], [deviation, deviation])
            torch.testing.assert_close(ours[n], theirs, atol=1e-5, rtol=0)


def test_blur_of_deviation_zero_changes_nothing():
    images = pictures()
    assert torch.equal(filters.gaussian_blur(images, torch.zeros(6), 5), images)


def test_kernel_sizes_are_odd_and_fit():
    assert [filters.kernel_size(0.1, size) for size in (8, 32, 56, 96, 224)] == [3, 3, 5, 9, 23]
    assert filters.kernel_size(1.0, 32) == 33 and filters.kernel_size(0.0, 32) == 3


def test_sobel_is_the_convolution():
    images, on = pictures(), torch.tensor([True, True, True, False, True, False])
    ours = filters.sobel(images, on)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = F.pad(reference.rgb_to_grayscale(images), (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(padded, torch.stack([kernel, kernel.T]).unsqueeze(1))
    theirs = (gradient.pow(2).sum(1, keepdim=True).sqrt() / 20**0.5).expand(-1, 3, -1, -1)
    torch.testing.assert_close(ours[on], theirs[on], atol=1e-5, rtol=0)
    assert torch.equal(ours[~on], images[~on])


def test_sobel_reaches_one_and_never_more():
    # Every 3 x 3 black and white pattern: the steepest of them has a gradient of exactly 1.
    bits = (torch.arange(512)[:, None] >> torch.arange(9)) & 1
    patterns = bits.float().view(512, 1, 3, 3).expand(-1, 3, -1, -1)
    centre = filters.sobel(patterns, torch.ones(512, dtype=torch.bool))[:, 0, 1, 1]
    assert 0.94 < centre.max() <= 1.0


def test_noise():
    images, sigma = pictures(), torch.tensor([0.0, 0.05, 0.1, 0.2, 0.5, 0.0])
    torch.manual_seed(5)
    noise = torch.randn(images.shape)
    ours = filters.add_noise(images.clone(), noise, sigma)
    for n, deviation in enumerate(sigma.tolist()):
        torch.testing.assert_close(ours[n], (images[n] + deviation * noise[n]).clamp(0, 1), atol=1e-6, rtol=0)
    torch.manual_seed(5)
    same = filters.add_noise(images.clone(), noise, torch.full((6,), 0.1))
    torch.testing.assert_close(same, reference.gaussian_noise(images, 0.0, 0.1, clip=True), atol=1e-6, rtol=0)

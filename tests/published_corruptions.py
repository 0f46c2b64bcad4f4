"""The published recipes of corruptions, slow and an image at a time, with numpy, scipy, OpenCV and Pillow: what ours are held to."""

import colorsys
import io
import math

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage

# The published recipes, of an image [H,W,3] from 0 to 1, and for 32 pixels.


def gaussian_noise(image, severity, rng):
    return image + rng.normal(scale=(0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1], size=image.shape)


def shot_noise(image, severity, rng):
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return rng.poisson(image * photons) / photons


def impulse_noise(image, severity, rng):
    flipped = rng.random(image.shape) < (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    return np.where(flipped, rng.random(image.shape) < 0.5, image)


def defocus_blur(image, severity, rng):
    radius, sigma = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    across, down = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    disk = (across**2 + down**2 <= radius**2).astype(np.float32)
    return cv2.filter2D(image, -1, cv2.GaussianBlur(disk / disk.sum(), (3, 3), sigma))


def smooth(image, sigma):
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)


def shuffle(image, steps):
    """In place, from the last pixel to the first, each a copy of the one that is (down, right) away."""
    height, width = image.shape[:2]
    for y in range(height - 1, 1, -1):
        for x in range(width - 1, 1, -1):
            down, right = steps[y][x]
            image[y, x] = image[y + down, x + right]


def glass_blur(image, severity, rng):
    sigma, passes = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))[severity - 1]
    image = np.floor(smooth(image, sigma) * 255 + 1e-9)
    for _ in range(passes):
        shuffle(image, rng.integers(-1, 1, (*image.shape[:2], 2)).tolist())
    return smooth(image / 255, sigma)


def drag(image, degrees, radius, sigma):
    """ImageMagick's motion blur, in values of 0 to 255 that it cuts."""
    height, width = image.shape[:2]
    total = weights = 0
    for tap in range(2 * radius + 1):
        down = math.ceil(tap * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(tap * math.cos(math.radians(degrees)) - 0.5)
        rows, columns = np.clip(np.arange(height) + down, 0, height - 1), np.clip(np.arange(width) + right, 0, width - 1)
        weight = math.exp(-(tap**2) / (2 * sigma**2))
        total, weights = total + weight * image[rows][:, columns], weights + weight
    return np.round(total / weights * 257) // 257


def motion_blur(image, severity, rng):
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    return drag(image * 255, rng.uniform(-45, 45), radius, sigma) / 255


def enlarge(image, factor):
    """The middle of an image [H,W,c], enlarged to its size."""
    middles = [math.ceil(side / factor) for side in image.shape[:2]]
    tops = [(side - middle) // 2 for side, middle in zip(image.shape, middles, strict=False)]
    part = image[tops[0] : tops[0] + middles[0], tops[1] : tops[1] + middles[1]]
    large = ndimage.zoom(part, (factor, factor, 1), order=1)
    top, left = ((have - want) // 2 for have, want in zip(large.shape[:2], image.shape[:2], strict=True))
    return large[top : top + image.shape[0], left : left + image.shape[1]]


def zoom_blur(image, severity, rng):
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    return (image + sum(enlarge(image, factor) for factor in factors)) / (len(factors) + 1)


def snow(image, severity, rng):
    mean, deviation, size, least, radius, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    layer = enlarge(rng.normal(mean, deviation, (*image.shape[:2], 1)), size)
    layer[layer < least] = 0
    layer = drag(np.floor(layer.clip(0, 1) * 255), rng.uniform(-135, -45), radius, sigma) / 255
    grey = (image @ (0.299, 0.587, 0.114))[..., None]
    return kept * image + (1 - kept) * np.maximum(image, grey * 1.5 + 0.5) + layer + np.rot90(layer, 2)


def plasma(size, decay, rng):
    """Diamonds and squares on a torus, each point from its own four neighbours."""
    field, step, swing = np.zeros((size, size)), size, 100

    def displace(y, x, around):
        places = [((y + down) % size, (x + right) % size) for down, right in around]
        field[y, x] = sum(field[place] for place in places) / 4 + swing * rng.uniform(-swing, swing, y.shape)

    while step >= 2:
        half = step // 2
        straight, across = ((-half, 0), (half, 0), (0, -half), (0, half)), ((-half, -half), (-half, half), (half, -half), (half, half))
        displace(*np.mgrid[half:size:step, half:size:step], across)
        displace(*np.mgrid[0:size:step, half:size:step], straight)
        displace(*np.mgrid[half:size:step, 0:size:step], straight)
        step, swing = half, swing / decay
    return (field - field.min()) / (field.max() - field.min())


def fog(image, severity, rng):
    thick, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    return (image + thick * plasma(32, decay, rng)[..., None]) * image.max() / (image.max() + thick)


def brightness(image, severity, rng):
    added, result = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1], np.empty_like(image)
    for place in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[place])
        result[place] = colorsys.hsv_to_rgb(hue, saturation, min(1, value + added))
    return result


def contrast(image, severity, rng):
    mean = image.mean((0, 1))
    return (image - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1] + mean


def pull(image, pulled):
    middle = np.float32([image.shape[1] // 2, image.shape[0] // 2])
    before = np.float32(middle + min(image.shape[:2]) // 3 * np.float32([[1, 1], [1, -1], [-1, -1]]))
    matrix = cv2.getAffineTransform(before, np.float32(before + pulled))
    return cv2.warpAffine(np.float32(image), matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)


def wander(image, right, down):
    y, x = np.meshgrid(*map(np.arange, image.shape[:2]), indexing="ij")
    return np.stack(
        [ndimage.map_coordinates(plane, (y + down, x + right), order=1, mode="reflect") for plane in np.moveaxis(image, 2, 0)], 2
    )


def elastic_transform(image, severity, rng):
    far, sigma, corner = 32 * np.array(
        [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)][severity - 1]
    )
    image = pull(image, rng.uniform(-corner, corner, (3, 2)))
    noise = rng.uniform(-1, 1, (2, *image.shape[:2]))
    return wander(image, *(far * ndimage.gaussian_filter(layer, sigma, mode="reflect", truncate=3) for layer in noise))


def pixelate(image, severity, rng):
    share, picture = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1], Image.fromarray(np.uint8(np.round(image * 255)))
    small = picture.resize((int(picture.width * share), int(picture.height * share)), Image.Resampling.BOX)
    return np.array(small.resize(picture.size, Image.Resampling.BOX)) / 255


def jpeg_compression(image, severity, rng):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(image * 255))).save(file, "JPEG", quality=(80, 65, 58, 50, 40)[severity - 1])
    return np.array(Image.open(file)) / 255


def theirs(images: torch.Tensor, name: str, severity: int, seed: int = 0) -> torch.Tensor:
    rng, recipe = np.random.default_rng(seed), globals()[name]
    results = [recipe(image / 255, severity, rng) for image in images.permute(0, 2, 3, 1).double().numpy()]
    cut = np.uint8(np.clip(np.stack(results), 0, 1) * 255 + 1e-6)
    return torch.from_numpy(cut).permute(0, 3, 1, 2)

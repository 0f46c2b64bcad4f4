"""A folder of images as people have them: names of all kinds, images of all kinds, and files that are none."""

import numpy as np
from PIL import Image


def noise(seed: int, width: int, height: int, bands: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands)).astype(np.uint8)
    return values.squeeze(2) if bands == 1 else values


def odd_folder(place, each: int = 6):
    """Classes with names of all kinds, images of all kinds, one class of three, and files that are no images."""
    (place / "Hafen Süd").mkdir(parents=True)
    (place / "農地").mkdir()
    (place / "bare land").mkdir()
    for number in range(each):
        Image.fromarray(noise(number, 70, 50)).save(place / "Hafen Süd" / f"Bild {number} – groß.jpg")
        Image.fromarray(noise(number, 64, 64, 1)).save(place / "農地" / f"grey {number}.png")
    deep = (np.arange(80 * 64).reshape(80, 64) * 12).astype(np.uint16)
    Image.fromarray(deep).save(place / "農地" / "deep.tif")
    for number in range(3):
        Image.fromarray(noise(number, 90, 90, 4)).save(place / "bare land" / f"bands {number}.tif")
    for stray in (".DS_Store", "Thumbs.db", "README.txt", "農地/notes.txt", "bare land/legend.csv"):
        (place / stray).write_bytes(b"no image")
    Image.fromarray(noise(9, 8, 8)).save(place / "overview.png")  # lies in no class
    return place

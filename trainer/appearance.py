"""How the same part may look to another camera, lamp or day: changes of a training tile's gray values.

Nothing here moves a pixel, so masks, instances and weights stay as they are.
"""

from __future__ import annotations

import cv2
import numpy as np

from inspector.types import Image
from trainer.augment import displacement
from trainer.config import AugmentConfig


def change_appearance(rng: np.random.Generator, config: AugmentConfig, image: Image) -> Image:
    """The tile as the config's chances draw it, in the order of the light's way: lamp, lens, sensor, file.

    image: uint8 (h, w) or (h, w, 3); returns the same shape and type.
    """
    if rng.random() < config.light_chance:
        image = light_unevenly(rng, config.light, image)
    image = change_gray(rng, config, image)
    if rng.random() < config.blur_chance:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, config.blur_px)), np.uint8)
    if rng.random() < config.noise_chance:
        image = add_noise(rng, rng.uniform(0.0, config.noise), image)
    if rng.random() < config.jpeg_chance:
        image = through_jpeg(int(rng.integers(config.jpeg_quality, 96)), image)
    return image


def change_gray(rng: np.random.Generator, config: AugmentConfig, image: Image) -> Image:
    """The picture under another exposure: gamma, gain around mid-gray and offset through one table.

    Colour pictures get a table for each channel, which differ by `tint` in their gain.
    """
    gamma = 1 + rng.uniform(-config.gamma, config.gamma)
    gain = 1 + rng.uniform(-config.gain, config.gain)
    offset = 255 * rng.uniform(-config.offset, config.offset)
    levels = 255 * (np.arange(256) / 255) ** gamma
    channels = 1 if image.ndim == 2 else image.shape[2]
    tints = rng.uniform(1 - config.tint, 1 + config.tint, channels) if channels > 1 else np.ones(1)
    tables = np.clip((levels[:, None] * tints - 127.5) * gain + 127.5 + offset, 0, 255)
    table = tables.round().astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None] if channels > 1 else table[:, 0]), np.uint8)


def light_unevenly(rng: np.random.Generator, deviation: float, image: Image) -> Image:
    """The picture under a lamp that is smoothly brighter and darker: a factor with nodes on a 3x3 grid."""
    nodes = np.exp(rng.normal(0.0, deviation, (3, 3))).astype(np.float32)
    factor = displacement(nodes, (image.shape[0], image.shape[1]))
    if image.ndim == 3:
        factor = np.repeat(factor[..., None], image.shape[2], axis=2)
    return np.asarray(cv2.multiply(image, factor, dtype=cv2.CV_8U), np.uint8)


def add_noise(rng: np.random.Generator, deviation: float, image: Image) -> Image:
    """White noise of this standard deviation, in gray values, rounded and clipped."""
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def through_jpeg(quality: int, image: Image) -> Image:
    """What is left of the picture after compression. quality: 0 to 100, as OpenCV counts it."""
    _, stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    kind = cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(stored, kind), np.uint8)

#!/usr/bin/env python3
"""Writes pictures of a folder with train/CLASS and test/CLASS (CIFAR-10) as four made-up cameras see them, and list.csv for `dinoxx pack --list`: the figures
of guide.forget in docs/methods.md.

    cameras.py FOLDER OUT [SHARE]          (NumPy, Pillow)

Each camera has colours, a gamma and a faint pattern of lines of its own. A training picture is seen by its class's camera with probability SHARE (default 0), else by one of the
four at random; a test picture always by one at random. 2,000 training and 400 test pictures of each class, seed 1.
"""
import csv
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

source, out, share = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
rng = random.Random(1)
CAST = [(1.0, 0.85, 0.7), (0.7, 0.9, 1.0), (0.85, 1.0, 0.8), (1.0, 0.8, 1.0)]
GAMMA = [0.7, 1.0, 1.3, 0.85]
PERIOD = [2, 3, 4, 5]


def seen(image, camera):
    x = np.asarray(image, dtype=np.float64) / 255
    x = x ** GAMMA[camera] * np.array(CAST[camera])
    lines = 0.06 * np.cos(2 * np.pi * np.arange(x.shape[camera % 2]) / PERIOD[camera])
    x = x + (lines[:, None, None] if camera % 2 == 0 else lines[None, :, None])
    return Image.fromarray((255 * x.clip(0, 1)).round().astype(np.uint8))


out.mkdir(parents=True, exist_ok=True)
rows = []
for split, per_class in (("train", 2000), ("test", 400)):
    for c, folder in enumerate(sorted((source / split).iterdir())):
        for i, path in enumerate(sorted(folder.iterdir())[:per_class]):
            camera = rng.randrange(4)
            if split == "train" and rng.random() < share:
                camera = c % 4
            name = f"{split}_{folder.name}_{i}.png"
            seen(Image.open(path).convert("RGB"), camera).save(out / name, compress_level=1)
            rows.append((name, split, folder.name, f"camera{camera}"))
with open(out / "list.csv", "w", newline="") as f:
    csv.writer(f).writerows([("path", "split", "label", "label_camera"), *rows])

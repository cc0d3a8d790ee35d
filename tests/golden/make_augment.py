#!/usr/bin/env python3
"""Pillow's and torchvision's results for every augmentation, as expected values for augment_test.cpp.

    make_augment.py FOLDER [--out FILE] [--count N] [--edge PIXELS]

FOLDER holds photographs. By default a few small crops of some of them are used, so that the file stays small enough for the repository;
--count and --edge make a larger one, which the test reads when DINOXX_AUGMENT_GOLDEN names it.
"""
import argparse
import json
import pathlib
import struct
import sys

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torchvision import transforms as T
from torchvision.transforms import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = {"uint8": "U8", "int32": "I32", "int64": "I64", "float32": "F32", "float64": "F64"}


def write_safetensors(path, tensors, metadata):
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        blob = value.tobytes()
        header[name] = {"dtype": NAMES[str(value.dtype)], "shape": list(value.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def resize(image, size):
    """Horizontally, then vertically, as all Pillow versions before 13 do. Pillow 13 begins vertically where that shrinks more (its pull request 9549),
    which changes the rounding in between: 0.14 levels on average, up to 5 where the intermediate clips."""
    return image.resize((size[0], image.height), Image.BICUBIC).resize(size, Image.BICUBIC)


def crop(image, box):
    x, y, w, h = box
    return image.crop((x, y, x + w, y + h))


class Writer:
    def __init__(self):
        self.tensors, self.counts = {}, {}

    def case(self, kind, **values):
        index = self.counts.get(kind, 0)
        self.counts[kind] = index + 1
        for name, value in values.items():
            self.tensors[f"{kind}.{index}.{name}"] = value


def f64(*values):
    return np.array(values, dtype=np.float64)


def i32(*values):
    return np.array(values, dtype=np.int32)


def load_sources(folder, count, edge):
    files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(files) < count:
        sys.exit(f"{folder}: expected at least {count} photographs, found {len(files)}")
    sources = []
    for i in range(count):
        image = Image.open(files[i * len(files) // count]).convert("RGB")
        if edge:
            w, h = edge - 7 * (i % 3), edge - 28 + 5 * (i % 4)  # sizes that are no multiple of a vector
            x, y = (image.width - w) // 2, (image.height - h) // 2
            image = image.crop((x, y, x + w, y + h))
        sources.append(image)
    return sources


def add_resize(out, index, image, rng):
    boxes = [((0, 0, image.width, image.height), (33, 33)), ((3, 5, 21, 17), (48, 48)), ((1, 2, image.width - 3, image.height - 9), (32, 32)),
             ((7, 0, 24, 24), (24, 24)), ((10, 11, 9, 50), (20, 20)), ((2, 3, 1, 1), (5, 4)), ((5, 1, 40, 3), (16, 31))]
    for _ in range(3):
        w, h = rng.integers(8, image.width), rng.integers(8, image.height)
        x, y = rng.integers(0, image.width - w + 1), rng.integers(0, image.height - h + 1)
        boxes.append(((int(x), int(y), int(w), int(h)), (int(rng.integers(9, 50)), int(rng.integers(9, 50)))))
    for number, (box, size) in enumerate(boxes):
        if number % 2 == index % 2 or number < 3:
            out.case("resize", source=i32(index), box=i32(*box), expected=np.asarray(resize(crop(image, box), size)))


def add_color(out, index, image, rng):
    small = image.crop((0, 0, 45, 34)) if image.width < 200 else image
    box = i32(0, 0, small.width, small.height)
    gray_pivot = float(rng.uniform(0.6, 1.4))
    cases = [("brightness", f, ImageEnhance.Brightness(small).enhance(f)) for f in (0.0, 0.61, 1.37)]
    cases += [("contrast", f, ImageEnhance.Contrast(small).enhance(f)) for f in (0.63, gray_pivot, 1.4)]
    cases += [("saturation", f, ImageEnhance.Color(small).enhance(f)) for f in (0.0, 0.83, 1.19)]
    cases += [("hue", f, F.adjust_hue(small, f)) for f in (-0.1, 0.0, 0.07, 0.5)]
    cases += [("gray", 0.0, F.to_grayscale(small, 3)), ("solarize", 0.0, ImageOps.solarize(small))]
    for number, (name, factor, result) in enumerate(cases):
        if number % 3 == index % 3:
            out.case(name, source=i32(index), box=box, factor=f64(factor), expected=np.asarray(result))
    for number, sigma in enumerate((0.1, 0.45, 0.9, 1.4, 1.99, 2.0, 3.3)):
        if number % 3 == index % 3:
            out.case("blur", source=i32(index), box=box, factor=f64(sigma), expected=np.asarray(small.filter(ImageFilter.GaussianBlur(sigma))))


def add_view(out, index, image, rng):
    """The whole chain as in facebookresearch/dino DataAugmentationDINO, with the random choices written down."""
    w, h = int(rng.integers(12, image.width)), int(rng.integers(12, image.height))
    box = (int(rng.integers(0, image.width - w + 1)), int(rng.integers(0, image.height - h + 1)), w, h)
    size = 32
    flip, gray, solarize, jitter, blur = (int(v) for v in (index % 2, index % 5 == 1, index % 3 == 2, index % 4 != 3, index % 3 != 1))
    order = rng.permutation(4)
    factors = [rng.uniform(0.6, 1.4), rng.uniform(0.6, 1.4), rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1)]
    sigma = rng.uniform(0.1, 2.0)
    view = resize(crop(image, box), (size, size))
    if flip:
        view = F.hflip(view)
    if jitter:
        operations = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
        for which in order:
            view = operations[which](view, factors[which])
    if gray:
        view = F.to_grayscale(view, 3)
    if blur:
        view = view.filter(ImageFilter.GaussianBlur(radius=sigma))
    if solarize:
        view = ImageOps.solarize(view)
    tensor = F.normalize(F.to_tensor(view), MEAN, STD)
    out.case("view", source=i32(index), box=i32(*box), flags=i32(flip, jitter, gray, blur, solarize), order=i32(*order),
             factors=f64(*factors, sigma), expected=np.asarray(view), normalized=tensor.numpy()[:, ::5, ::3])


def add_eval(out, index, image):
    for short, edge in ((34, 30), (24, 24)):
        shape = T.Resize(short, interpolation=T.InterpolationMode.BICUBIC)(image).size
        view = T.CenterCrop(edge)(resize(image, shape))
        out.case("eval", source=i32(index), sizes=i32(short, edge), expected=F.normalize(F.to_tensor(view), MEAN, STD).numpy())
    view = resize(image, (20, 20))
    out.case("eval", source=i32(index), sizes=i32(0, 20), expected=F.normalize(F.to_tensor(view), MEAN, STD).numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--out", default=str(pathlib.Path(__file__).parent / "data" / "augment.safetensors"))
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--edge", type=int, default=92, help="largest side of the crops that serve as sources; 0 = whole photographs")
    options = parser.parse_args()

    out, rng = Writer(), np.random.default_rng(7)
    sources = load_sources(options.folder, options.count, options.edge)
    for index, image in enumerate(sources):
        out.case("source", pixels=np.asarray(image))
        add_resize(out, index, image, rng)
        add_color(out, index, image, rng)
        add_view(out, index, image, rng)
        if index == 0 or options.count > 10:
            add_eval(out, index, image)
    for index in range(len(sources), 6):  # more draws on the same images
        add_view_again = sources[index % len(sources)]
        before = dict(out.counts)
        add_view(out, index, add_view_again, rng)
        out.tensors[f"view.{before['view']}.source"] = i32(index % len(sources))
    for kind, count in out.counts.items():
        out.tensors[f"count.{kind}"] = i32(count)
    write_safetensors(options.out, out.tensors, {
        "made_by": "tests/golden/make_augment.py", "pillow": PIL.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__,
        "numpy": np.__version__})
    print(f"{options.out}: {pathlib.Path(options.out).stat().st_size} bytes, cases {out.counts}")


if __name__ == "__main__":
    main()

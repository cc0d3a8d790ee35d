#!/usr/bin/env python3
"""The peer of dinoxx_bench_loader: what facebookresearch/dino does for one image, with torchvision and Pillow, in one process and one thread.

    loader_peer.py FOLDER [--images N] [--global S] [--local S] [--locals N]

Reads, decodes and makes the same multi-crop (own arrangement of the published parameters). The last line is "images_per_core_second <number>".
"""
import argparse
import pathlib
import random
import resource

import PIL
import torch
import torchvision
from PIL import Image, ImageFilter
from torchvision import transforms as T

BICUBIC = T.InterpolationMode.BICUBIC


class PillowBlur:
    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def chain(size, scale, blur, solarize):
    steps = [
        T.RandomResizedCrop(size, scale=scale, interpolation=BICUBIC), T.RandomHorizontalFlip(0.5),
        T.RandomApply([T.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8), T.RandomGrayscale(p=0.2),
        T.RandomApply([PillowBlur()], p=blur)
    ]
    if solarize:
        steps.append(T.RandomSolarize(threshold=128, p=solarize))
    return T.Compose(steps + [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--global", type=int, default=224, dest="global_size")
    parser.add_argument("--local", type=int, default=96)
    parser.add_argument("--locals", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    torch.manual_seed(0)
    files = sorted(p for p in pathlib.Path(options.folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    random.shuffle(files)
    first, second = chain(options.global_size, (0.4, 1.0), 1.0, 0), chain(options.global_size, (0.4, 1.0), 0.1, 0.2)
    local = chain(options.local, (0.05, 0.4), 0.5, 0)

    def views(path):
        with Image.open(path) as file:
            image = file.convert("RGB")
        return [first(image), second(image)] + [local(image) for _ in range(options.locals)]

    for path in files[:10]:
        views(path)
    begin, checksum = cpu_seconds(), 0.0
    for i in range(options.images):
        checksum += float(views(files[i % len(files)])[0][0, 0, 0])
    used = cpu_seconds() - begin
    print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}: {options.images} images, {used:.2f} s processor time (check {checksum:.3f})")
    print(f"images_per_core_second {options.images / used:.1f}")


if __name__ == "__main__":
    main()

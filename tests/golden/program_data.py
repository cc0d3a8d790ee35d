"""What the runs of make_program.py are fed with: images, drawn and packed by the program, the inputs of each step as program_inputs wrote them, and settings."""
import io
import json
import os
import struct
import subprocess

import h5py
import numpy as np
import torch
from PIL import Image

from golden_common import uniform

HEIGHT, WIDTH, TRAIN, VAL = 20, 24, 24, 4  # images 0 to 23 are trained on; 24 to 27 must not be


# ---- images and shard ----

def image(number):
    """[H, W, 3] uint8: squares of 4 pixels and noise, in exact arithmetic."""
    coarse = np.floor((uniform(f"image{number}/coarse", (HEIGHT // 4, WIDTH // 4, 3)).numpy() + 1) * 64)
    fine = np.floor((uniform(f"image{number}/fine", (HEIGHT, WIDTH, 3)).numpy() + 1) * 64)
    return (coarse.repeat(4, 0).repeat(4, 1) + fine).astype(np.uint8)


def key(number):
    return f"{'train' if number < TRAIN else 'val'}/{'ab'[number % 2]}/{number:02}.png"


def draw_and_pack(program, folder):
    for number in range(TRAIN + VAL):
        path = os.path.join(folder, "images", key(number))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(image(number)).save(path)
    data = os.path.join(folder, "data")
    subprocess.run([program, "pack", "--from-folder", os.path.join(folder, "images"), "--out", data], check=True, stdout=subprocess.DEVNULL)
    with h5py.File(os.path.join(data, "shard-00000.h5")) as shard:
        samples = shard["samples"]
        blob, keys = samples["blob"][:].tobytes(), samples["key_blob"][:].tobytes().decode()
        names = [keys[a:b] for a, b in zip(samples["key_offset"][:-1], samples["key_offset"][1:])]
        assert sorted(names) == [key(n) for n in sorted(range(TRAIN + VAL), key=key)], names
        for row, name in enumerate(names):
            packed = np.asarray(Image.open(io.BytesIO(blob[samples["offset"][row]:samples["offset"][row + 1]])))
            assert np.array_equal(packed, image(int(name[-6:-4]))), f"{name} has other pixels in the shard"
            assert samples["split"][row] == (0 if name.startswith("train/") else 1), name
    return data, names


# ---- inputs and configuration ----

def read_safetensors(path):
    types = {"F64": torch.float64, "F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = file.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = torch.frombuffer(bytearray(body[begin:end]), dtype=types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def read_settings(*paths):
    settings, section = {}, ""
    for path in paths:
        with open(path) as file:
            for line in file:
                line = line.split("#")[0].strip()
                if line.startswith("["):
                    section = line[1:-1]
                elif line:
                    name, value = (part.strip() for part in line.split("="))
                    settings[f"{section}.{name}"] = value
    return settings


class Inputs:
    """What program_inputs wrote; floating-point values as float64."""

    def __init__(self, path, settings, names):
        self.tensors = read_safetensors(path)
        self.steps = int(settings["train.length"].removesuffix("it"))
        self.batch = int(settings["train.batch_size"])
        self.ids = torch.stack([self.tensors[f"step{step}/ids"] for step in range(self.steps)])
        seen = self.ids.flatten().tolist()
        assert all(names[i].startswith("train/") for i in seen), "an image of val was trained on"
        for epoch in range(len(seen) // TRAIN):
            assert len(set(seen[epoch * TRAIN:(epoch + 1) * TRAIN])) == TRAIN, "an epoch sees each image once"

    def get(self, step, name):
        tensor = self.tensors.get(f"step{step}/{name}")
        return tensor.double() if tensor is not None and tensor.dtype == torch.float32 else tensor

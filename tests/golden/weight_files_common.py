"""What the makers of weight files share: elements by name, the manifest that says what each file holds, a small network (make_weight_files.py)."""
import collections
import os

import numpy as np
import torch

from golden_common import fnv1a64

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "weight_files")
NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
         torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
         torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64"}


def values(name, shape, dtype=torch.float32):
    count = int(np.prod(shape)) if len(shape) else 1
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    if dtype == torch.bool:
        return torch.from_numpy((z & np.uint64(1)).astype(bool).reshape(shape))
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[dtype.itemsize]
    bits = z.astype(unsigned).view({1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}[dtype.itemsize])
    return torch.from_numpy(bits.reshape(shape).copy()).view(dtype)


class Manifest:
    def __init__(self):
        self.files = {}

    def add(self, file, tensors, settings=None, format="torch", unread=()):
        """tensors: {name in the file: (tensor, name of its values, period or None)} or {name: tensor}."""
        rows = {}
        for name, row in tensors.items():
            tensor, source, period = row if isinstance(row, tuple) else (row, name, None)
            rows[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "strides": list(tensor.stride()), "values": source}
            if period:
                rows[name]["period"] = period
        self.files[file] = {"format": format, "tensors": rows, "settings": settings if settings is not None else {}, "unread": list(unread)}
        path = os.path.join(OUT, file)
        if os.path.isfile(path):
            print(f"{file}: {os.path.getsize(path)} bytes")
            assert os.path.getsize(path) < 30000


def small_net():
    return torch.nn.Sequential(collections.OrderedDict(
        patch_embed=torch.nn.Conv2d(3, 4, 2), norm=torch.nn.LayerNorm(4), bn=torch.nn.BatchNorm1d(4), fc=torch.nn.Linear(4, 5)))


def filled_state(prefix=""):
    net = small_net()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            tensor.copy_(values(prefix + name, tuple(tensor.shape), tensor.dtype))
    return net.state_dict()


def path(file):
    return os.path.join(OUT, file)

"""What the golden scripts share: values that both sides compute instead of storing them, and a small writer of safetensors files.

A value is a function of (name, index) alone, in integer arithmetic, so that it is the same number here and in tests/support/golden.cpp:
    uniform(name, i) = (splitmix64(fnv1a64(name) + i) >> 11) * 2^-52 - 1        in [-1, 1)
"""
import json
import math
import os
import struct

import numpy as np
import torch

MASK = (1 << 64) - 1


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def uniform(name, shape):
    """Uniform numbers in [-1, 1), float64."""
    count = int(np.prod(shape)) if len(shape) else 1
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values = (z >> np.uint64(11)).astype(np.float64) * 2.0 ** -52 - 1.0
    return torch.from_numpy(values.reshape(shape))


def parameter_value(name, shape):
    """A lively value for a parameter: no zero bias, no unit gain, products that keep the variance."""
    u = uniform(name, shape)
    if name.endswith("weight_g") or ("norm" in name and name.endswith(".weight")):
        return 1.0 + 0.2 * u
    if name.endswith("bias"):
        return 0.2 * u
    if name.endswith("cls_token") or name.endswith("pos_embed"):
        return 0.5 * u
    return u * math.sqrt(3.0 / (u.numel() / shape[0]))


def fill_parameters(module, keep=()):
    """Every parameter by its name in the state dict, except names that end with one of `keep`."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.endswith(tuple(keep)) or not keep:
                parameter.copy_(parameter_value(name, tuple(parameter.shape)))


def named_value(name, shape):
    """A lively value for a parameter or buffer of a convolutional network, from its name and shape alone (tests/support/named_values.hpp)."""
    u = uniform(name, shape)
    if name.endswith("num_batches_tracked"):
        return torch.full(shape, 3, dtype=torch.int64)
    if name.endswith("running_var"):
        return 1.0 + 0.5 * u
    if name.endswith("running_mean") or name.endswith("bias"):
        return 0.2 * u
    if name.endswith("gamma"):
        return 0.5 * u
    if len(shape) == 1:
        return 1.0 + 0.2 * u
    return u * math.sqrt(3.0 / (u.numel() / shape[0]))


LARGEST = 512  # numbers that a tensor is stored with in full
SAMPLES = 61   # of a larger one


def put(out, name, tensor):
    """Stores a tensor; a large one as evenly spaced samples, its norm and its product with uniform(name)."""
    tensor = tensor.detach().double().contiguous()
    if tensor.numel() <= LARGEST:
        out[name] = tensor
        return
    flat = tensor.reshape(-1)
    index = (torch.arange(SAMPLES, dtype=torch.int64) * flat.numel()) // SAMPLES
    digest = torch.stack([flat.norm(), (flat * uniform(name, (flat.numel(),))).sum()])
    out[name + "#digest"] = torch.cat([digest, flat[index]])


def save(path, tensors, metadata):
    types = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
    header, blobs, offset = {"__metadata__": {k: str(v) for k, v in metadata.items()}}, [], 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        blob = tensor.numpy().tobytes()
        header[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    print(f"{path}: {len(tensors)} tensors, {os.path.getsize(path)} bytes")


def versions():
    return {"torch": torch.__version__, "numpy": np.__version__}


def sinkhorn(logits, temp, iterations=3):
    """Assignments [M, K] as the published code makes them (dinov2 and dinov3 loss/dino_clstoken_loss.py)."""
    if len(logits) == 0:
        return logits
    q = torch.exp(logits / temp).t()
    prototypes, samples = q.shape
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / prototypes
        q = q / q.sum(0, keepdim=True) / samples
    return (q * samples).t()

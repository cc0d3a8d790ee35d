"""Writes data/memory_names.json: how transformers names the tensors of a network in memory, where its files have other names.

    python make_memory_names.py          (versions: requirements.txt; as recorded in the file)

A tensor of the file and one in memory belong together when their values are equal; a tensor that the file joins has several in memory, in
their order. A state_dict() that somebody saved with torch.save has the names in memory.
"""
import json
import os
import tempfile

import torch
import transformers
from safetensors.torch import load_file

from golden_common import versions

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "memory_names.json")
VIT = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=3, image_size=16, patch_size=4)


def models():
    t = transformers
    registers = dict(num_register_tokens=2)
    yield "dino", t.ViTModel(t.ViTConfig(**VIT, intermediate_size=192), add_pooling_layer=False)
    yield "dinov2", t.Dinov2Model(t.Dinov2Config(**VIT))
    yield "dinov2_swiglu", t.Dinov2Model(t.Dinov2Config(**VIT, use_swiglu_ffn=True))
    yield "dinov2_reg", t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**VIT, **registers))
    yield "dinov2_reg_swiglu", t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**VIT, **registers, use_swiglu_ffn=True))
    yield "dinov3", t.DINOv3ViTModel(t.DINOv3ViTConfig(**VIT, **registers, intermediate_size=192))
    yield "dinov3_swiglu", t.DINOv3ViTModel(t.DINOv3ViTConfig(**VIT, **registers, intermediate_size=192, use_gated_mlp=True, hidden_act="silu"))
    yield "convnext", t.DINOv3ConvNextModel(t.DINOv3ConvNextConfig(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32]))


def pairs(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    memory = model.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored = load_file(os.path.join(folder, "model.safetensors"))
    names = {}
    for name, value in stored.items():
        same = [other for other, tensor in memory.items() if tensor.shape == value.shape and torch.equal(tensor, value)]
        if not same:  # joined: its halves
            halves = value.chunk(2)
            same = [next(other for other, tensor in memory.items() if tensor.shape == half.shape and torch.equal(tensor, half)) for half in halves]
        names[name] = same
    assert sorted(n for same in names.values() for n in same) == sorted(memory)
    return names


def main():
    torch.manual_seed(0)
    with open(OUT, "w") as out:
        json.dump({"versions": versions() | {"transformers": transformers.__version__}, "names": {kind: pairs(model) for kind, model in models()}}, out, indent=0, sort_keys=True)
        out.write("\n")


main()

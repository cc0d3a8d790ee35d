"""Files that dinoxx wrote, loaded strictly by timm and transformers, and features compared; the other way round as well. For developers: needs the
built program and the packages of requirements.txt, and some GB of memory for the larger networks.

    python check_exports.py build/release/bin/dinoxx [--large] [--network NAME]

For each network: random weights in the other tool's own class, written by that tool, `dinoxx weights import`, `export` under every naming that has
the network, loaded strictly by timm.create_model("local-dir:...") or from_pretrained, features of an image at the native and at another size. Then
the description of a ViT-7B in a sparse file is inspected, which must not read its 27 GB.
"""
import argparse
import json
import os
import shutil
import struct
import subprocess
import tempfile

import timm
import torch
import transformers as T

SMALL = [
    ("vit_small_patch16_224.dino", dict()),
    ("vit_small_patch14_dinov2", dict(img_size=224)),
    ("vit_small_patch14_reg4_dinov2", dict(img_size=224)),
    ("vit_small_patch16_dinov3", dict(img_size=224)),
    ("vit_small_patch16_dinov3_qkvb", dict(img_size=224)),
    ("vit_small_plus_patch16_dinov3", dict(img_size=224)),
    ("convnext_tiny.dinov3_lvd1689m", dict()),
    ("resnet18", dict()),
    ("resnet50", dict()),
]
LARGE = [("vit_base_patch16_224.dino", dict()), ("vit_large_patch14_dinov2", dict(img_size=224)), ("vit_large_patch16_dinov3_qkvb", dict(img_size=224)),
         ("vit_huge_plus_patch16_dinov3", dict(img_size=224)), ("convnext_large.dinov3_lvd1689m", dict()), ("resnet34", dict())]
CLASSES = {"vit": T.ViTModel, "dinov2": T.Dinov2Model, "dinov2_with_registers": T.Dinov2WithRegistersModel, "dinov3_vit": T.DINOv3ViTModel,
           "dinov3_convnext": T.DINOv3ConvNextModel}


def run(program, *words):
    done = subprocess.run([program, "weights", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def randomise(model):
    """Lively weights: fresh networks have zero biases and tiny gains, which hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn(p.shape, generator=generator) * (0.02 if p.dim() > 1 else 0.1))
    return model.eval()


def feature(model, images):
    with torch.no_grad():
        if isinstance(model, T.PreTrainedModel):
            extra = dict(interpolate_pos_encoding=True) if model.config.model_type == "vit" else {}
            return model(images, **extra).last_hidden_state[:, 0]
        tokens = model.forward_features(images)
        if tokens.dim() == 3:
            return tokens[:, 0]
        return model.forward_head(tokens, pre_logits=True)


def check(program, name, arguments, folder):
    dynamic = dict(dynamic_img_size=True) if name.startswith("vit") else {}
    model = randomise(timm.create_model(name, pretrained=False, num_classes=0, **arguments, **dynamic))
    source = os.path.join(folder, "source.pth")
    torch.save({"teacher": {"module.backbone." + k: v for k, v in model.state_dict().items()}, "epoch": 3}, source)
    run(program, "import", source, "--out", f"{folder}/dinoxx")
    line = []
    for naming in ("timm", "transformers", "official"):
        out = f"{folder}/{naming}"
        try:
            run(program, "export", f"{folder}/dinoxx", "--naming", naming, "--out", out, "--image-size", "224")
        except RuntimeError as error:
            line.append(f"{naming}: refused ({str(error).split('found ')[-1]})")
            continue
        if naming == "official":
            line.append("official: " + run(program, "diff", f"{folder}/dinoxx", out).strip().splitlines()[-1])
            continue
        if naming == "timm":
            loaded = timm.create_model(f"local-dir:{out}", pretrained=True, **dynamic).eval()
        else:
            kind = json.load(open(f"{out}/config.json"))["model_type"]
            extra = dict(add_pooling_layer=False) if kind == "vit" else {}
            loaded, info = CLASSES[kind].from_pretrained(out, output_loading_info=True, **extra)
            left = {k: v for k, v in info.items() if v}
            if left:
                raise RuntimeError(f"{name} in transformers: {left}")
            loaded = loaded.eval()
        for size in (224, 336):
            images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size)) * 0.5
            expected = feature(model, images)
            error = ((feature(loaded, images) - expected).abs().max() / expected.abs().max()).item()
            # systems resize learned positions in their own ways
            resized = size != 224 and naming == "transformers" and "dinov3" not in name and not name.startswith("convnext")
            line.append(f"{naming} {size}: {error:.1e}{' (positions resized otherwise)' if resized else ''}")
            if error > 1e-5 and not resized:
                raise RuntimeError(f"{name}: features differ: {line}")
    print(f"{name}: {'; '.join(line)}", flush=True)


def seven_billion(program, folder):
    dim, depth, hidden = 4096, 40, 8192
    shapes = {"cls_token": [1, 1, dim], "storage_tokens": [1, 4, dim], "mask_token": [1, dim], "patch_embed.proj.weight": [dim, 3, 16, 16],
              "patch_embed.proj.bias": [dim], "rope_embed.periods": [32], "norm.weight": [dim], "norm.bias": [dim], "local_cls_norm.weight": [dim],
              "local_cls_norm.bias": [dim]}
    for i in range(depth):
        for name, shape in {"norm1.weight": [dim], "norm1.bias": [dim], "attn.qkv.weight": [3 * dim, dim], "attn.proj.weight": [dim, dim],
                            "attn.proj.bias": [dim], "ls1.gamma": [dim], "ls2.gamma": [dim], "norm2.weight": [dim], "norm2.bias": [dim],
                            "mlp.w1.weight": [hidden, dim], "mlp.w1.bias": [hidden], "mlp.w2.weight": [hidden, dim], "mlp.w2.bias": [hidden],
                            "mlp.w3.weight": [dim, hidden], "mlp.w3.bias": [dim]}.items():
            shapes[f"blocks.{i}.{name}"] = shape
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path = os.path.join(folder, "seven.safetensors")
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    # within 4 GiB of address space the file cannot even be mapped
    done = subprocess.run(["bash", "-c", f"ulimit -v 4194304; exec {program} weights inspect {path}"], capture_output=True, text=True)
    print(done.stdout.strip() or done.stderr.strip())
    assert done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--network", action="append", help="this one alone, may be repeated")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    with tempfile.TemporaryDirectory() as folder:
        seven_billion(program, folder)
    chosen = [case for case in SMALL + LARGE if case[0] in args.network] if args.network else SMALL + (LARGE if args.large else [])
    for name, arguments in chosen:
        folder = tempfile.mkdtemp()
        try:
            check(program, name, arguments, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()

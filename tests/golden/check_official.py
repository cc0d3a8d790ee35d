"""Files under the official names, made here from timm's networks, imported by dinoxx, and dinoxx's features compared with timm's. For developers: needs
the built programs and the packages of requirements.txt.

    python check_official.py build/release/bin/dinoxx build/release/tests/bench/dinoxx_bench_vit

For each network of DINO v1, v2 (with and without registers) and v3 (periods exact, and rounded to bfloat16 as the released files have them): a bare
backbone, one in block chunks, and whole training checkpoints (student and teacher, DistributedDataParallel's and torch.compile's prefixes, heads, optimizer,
arguments). Each file is imported; every form must give the same tensors, bit for bit, and the CLS feature of timm to 1e-5. The official names are written out
below from the published layouts.
"""
import argparse
import os
import subprocess
import tempfile

import timm
import torch

from check_exports import randomise, run

NETWORKS = [("vit_small_patch16_224.dino", "v1"), ("vit_base_patch16_224.dino", "v1"), ("vit_small_patch14_dinov2", "v2"), ("vit_small_patch14_reg4_dinov2", "v2"),
            ("vit_small_patch16_dinov3_qkvb", "v3"), ("vit_small_plus_patch16_dinov3_qkvb", "v3"), ("vit_base_patch16_dinov3_qkvb", "v3")]


def official_v2(state):
    out = {name.replace("reg_token", "register_tokens"): value for name, value in state.items()}
    dim = state["cls_token"].shape[2]
    if "reg_token" in state:  # timm has the first position in CLS
        first = torch.randn(1, 1, dim, generator=torch.Generator().manual_seed(1))
        out["cls_token"] = state["cls_token"] - first
        out["pos_embed"] = torch.cat([first, state["pos_embed"]], 1)
    out["mask_token"] = torch.ones(1, dim)
    return out


def official_v3(state, periods):
    dim = state["cls_token"].shape[2]
    out = {"mask_token": torch.ones(1, dim), "rope_embed.periods": periods}
    for name, value in state.items():
        if ".attn.q_bias" in name:
            block = name.removesuffix("attn.q_bias")
            # the keys' part is masked: what stands there must not matter
            out[block + "attn.qkv.bias"] = torch.cat([value, torch.full_like(value, 7.0), state[block + "attn.v_bias"]])
            out[block + "attn.qkv.bias_mask"] = torch.cat([torch.ones(dim), torch.zeros(dim), torch.ones(dim)])
        elif ".attn.v_bias" not in name and ".attn.k_bias" not in name:
            for timm_word, word in (("reg_token", "storage_tokens"), ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"), ("mlp.fc1_g", "mlp.w1"), ("mlp.fc1_x", "mlp.w2")):
                name = name.replace(timm_word, word)
            out[name.replace("mlp.fc2", "mlp.w3") if any("fc1_g" in n for n in state) else name] = value
    return out


def chunked(state, chunk_of):
    return {"blocks." + f"{chunk_of(int(n.split('.')[1]))}." + n.removeprefix("blocks.") if n.startswith("blocks.") else n: v for n, v in state.items()}


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def files(version, state):
    """Name of the form -> what torch.save gets. The student is another network of the same shape."""
    student = {name: value + 1 for name, value in state.items()}
    head = {"mlp.0.weight": torch.zeros(8, 8), "mlp.0.bias": torch.zeros(8), "last_layer.weight_g": torch.ones(8, 1), "last_layer.weight_v": torch.zeros(8, 8)}
    forms = {"bare": state, "chunks": chunked(state, lambda block: block // 3)}
    if version == "v1":  # main_dino.py: save_dict
        forms["checkpoint"] = {"student": prefixed(student, "module.backbone.") | prefixed(head, "module.head."),
                               "teacher": prefixed(state, "backbone.") | prefixed(head, "head."), "epoch": 3,
                               "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
                               "args": argparse.Namespace(arch="vit_small", patch_size=16), "dino_loss": {"center": torch.zeros(1, 8)}}
    else:
        heads = prefixed(head, "dino_head.") | prefixed(head, "ibot_head.")
        forms["teacher checkpoint"] = {"teacher": prefixed(chunked(state, lambda block: block // 6), "backbone.") | heads}
        forms["whole model"] = {"model": prefixed(prefixed(student, "backbone.") | heads, "student.") | prefixed(prefixed(state, "backbone.") | heads, "teacher."),
                                "iteration": 9}
        forms["compiled, distributed"] = {"teacher": prefixed(state, "module.backbone._orig_mod.")}
    return forms


def dinoxx_feature(bench, path):
    done = subprocess.run([bench, path, "fp32"], input="feature\n", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return torch.tensor([float(v) for v in done.stdout.split()])


def check(program, bench, name, version, rounded, folder):
    model = randomise(timm.create_model(name, pretrained=False, num_classes=0, img_size=224))
    if rounded:
        model.rope.periods.copy_(model.rope.periods.to(torch.bfloat16))
    state = model.state_dict()
    if version == "v2":
        state = official_v2(state)
    if version == "v3":
        state = official_v3(state, model.rope.periods.clone())
    images = torch.sin(torch.arange(3 * 224 * 224, dtype=torch.float64) * 0.37).view(1, 3, 224, 224).float()  # those of dinoxx_bench_vit
    with torch.no_grad():
        expected = model.forward_features(images)[0, 0]
    line, first = [], None
    for form, content in files(version, state).items():
        source, out = os.path.join(folder, "source.pth"), os.path.join(folder, form.replace(" ", "_"))
        torch.save(content, source)
        said = run(program, "import", source, "--out", out)
        if rounded and "rounded to bfloat16" not in said:
            raise RuntimeError(f"{name}: rounded periods were not seen: {said}")
        if first is None:
            first = out
        elif "bit for bit" not in run(program, "diff", first, out):
            raise RuntimeError(f"{name}, {form}: other tensors than those of the bare file")
        error = ((dinoxx_feature(bench, out) - expected).abs().max() / expected.abs().max()).item()
        line.append(f"{form}: {error:.1e}")
        if error > 1e-5:
            raise RuntimeError(f"{name}: features differ: {line}")
    print(f"{name}{' (rounded periods)' if rounded else ''}: {'; '.join(line)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("bench")
    args = parser.parse_args()
    for name, version in NETWORKS:
        for rounded in (False, True) if version == "v3" else (False,):
            with tempfile.TemporaryDirectory() as folder:
                check(os.path.abspath(args.program), os.path.abspath(args.bench), name, version, rounded, folder)


if __name__ == "__main__":
    main()

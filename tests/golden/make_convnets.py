"""Writes data/convnext.safetensors and data/resnet.safetensors: outputs and gradients of transformers' DINOv3ConvNext (checked against
timm's ConvNeXt) and torchvision's ResNets in float64. The weights are functions of their official names, so only outputs are stored.

    python make_convnets.py [convnext|resnet]          (versions: requirements.txt, and as recorded in the files)
"""
import argparse
import os
import re

import timm
import torch
import torchvision
import transformers
from timm.models.convnext import checkpoint_filter_fn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from golden_common import named_value, save, uniform, versions

CONVNEXTS = {  # name: depths; the large one cut, for its weights would pass 1 GB in float64
    "tiny": (3, 3, 9, 3), "small": (3, 3, 27, 3), "base": (3, 3, 27, 3), "large": (3, 3, 3, 3)}
WIDTHS = {"tiny": 96, "small": 96, "base": 128, "large": 192}
SMALL = dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 40))  # for gradients
SIZES = {"native": (224, 224), "other": (75, 101)}  # no multiples of 32 in the second


def put(out, name, tensor, largest=96, samples=14):
    """golden_common.put with fewer samples: these networks have many tensors."""
    tensor = tensor.detach().double().contiguous()
    if tensor.numel() <= largest:
        out[name] = tensor
        return
    flat = tensor.reshape(-1)
    index = (torch.arange(samples, dtype=torch.int64) * flat.numel()) // samples
    out[name + "#digest"] = torch.cat([torch.stack([flat.norm(), (flat * uniform(name, (flat.numel(),))).sum()]), flat[index]])


def images(name, batch, height, width, dtype, channels=3):
    return uniform(f"images/{name}", (batch, channels, height, width)).to(dtype)


def backward(output, name):
    (output * uniform(name + "/direction", tuple(output.shape)).to(output.dtype)).sum().backward()


def official_name(name):
    """A parameter of DINOv3ConvNextModel under its name in facebookresearch/dinov3."""
    name = re.sub(r"^model\.stages\.(\d)\.downsample_layers\.", r"downsample_layers.\1.", name)
    name = re.sub(r"^model\.stages\.(\d)\.layers\.", r"stages.\1.", name)
    for theirs, official in (("depthwise_conv", "dwconv"), ("pointwise_conv", "pwconv"), ("layer_norm", "norm")):
        name = name.replace(theirs, official)
    return name


def build_convnext(dtype, depths, dims, channels=3):
    config = transformers.DINOv3ConvNextConfig(depths=list(depths), hidden_sizes=list(dims), num_channels=channels)
    model = transformers.DINOv3ConvNextModel(config).to(dtype).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(named_value(official_name(name), tuple(parameter.shape)))
    return model


def check_against_timm(model, arch, depths, dims, x, cls, last):
    """The same official tensors through timm's own conversion: the same pooled feature and last stage."""
    other = timm.create_model(f"convnext_{arch}", num_classes=0, depths=tuple(depths), dims=tuple(dims)).to(x.dtype).eval()
    official = {official_name(name): parameter.detach() for name, parameter in model.named_parameters()}
    other.load_state_dict(checkpoint_filter_fn(official, other), strict=True)
    with torch.no_grad():
        for ours, theirs in ((cls, other(x)), (last, other.forward_features(x))):
            deviation = ((ours - theirs).abs().max() / ours.abs().max()).item()
            assert deviation < (1e-12 if x.dtype == torch.float64 else 1e-4), deviation


def convnext_features(out, dtype):
    for arch, depths in CONVNEXTS.items():
        dims = [WIDTHS[arch] << i for i in range(4)]
        model = build_convnext(dtype, depths, dims)
        for size, (height, width) in SIZES.items():
            x = images(size, 1, height, width, dtype)
            with torch.no_grad():
                result = model(x, output_hidden_states=True)
            last = result.hidden_states[-1]
            prefix = f"{arch}/{size}"
            put(out, f"{prefix}/cls", result.pooler_output)
            put(out, f"{prefix}/patches", result.last_hidden_state[:, 1:])
            for i in range(4):
                put(out, f"{prefix}/stage{i}", result.hidden_states[len(result.hidden_states) - 4 + i])
            check_against_timm(model, arch, depths, dims, x, result.pooler_output, last)
            print(prefix, dtype, flush=True)


def convnext_gradients(out, dtype):
    model = build_convnext(dtype, **SMALL, channels=5).train()  # five channels; stochastic depth is off
    features = model(images("gradients", 3, 64, 48, dtype, channels=5)).last_hidden_state
    put(out, "gradients/cls", features[:, 0])
    put(out, "gradients/patches", features[:, 1:])
    ((features[:, 0] * uniform("gradients/cls/direction", tuple(features[:, 0].shape)).to(dtype)).sum() +
     (features[:, 1:] * uniform("gradients/patches/direction", tuple(features[:, 1:].shape)).to(dtype)).sum()).backward()
    for name, parameter in model.named_parameters():
        put(out, "gradients/grad/" + official_name(name), parameter.grad)


def fill(model):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(named_value(name, tuple(tensor.shape)))
    return model


def with_small_stem(model):
    model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = torch.nn.Identity()
    return model


def build_resnet(dtype, block, depths, small_stem=False):
    model = ResNet(block, list(depths))
    model.fc = torch.nn.Identity()
    return fill((with_small_stem(model) if small_stem else model).to(dtype))


RESNETS = {"resnet18": (BasicBlock, (2, 2, 2, 2)), "resnet34": (BasicBlock, (3, 4, 6, 3)), "resnet50": (Bottleneck, (3, 4, 6, 3))}


def resnet_stages(model, x):
    stages = []
    hooks = [getattr(model, f"layer{i}").register_forward_hook(lambda m, i, o: stages.append(o)) for i in range(1, 5)]
    features = model(x)
    for hook in hooks:
        hook.remove()
    return features, stages


def resnet_features(out, dtype):
    for arch, (block, depths) in RESNETS.items():
        model = build_resnet(dtype, block, depths).eval()
        assert set(model.state_dict()) == {k for k in getattr(torchvision.models, arch)().state_dict() if not k.startswith("fc.")}
        for size, (height, width) in SIZES.items():
            with torch.no_grad():
                features, stages = resnet_stages(model, images(size, 1, height, width, dtype))
            put(out, f"{arch}/{size}/cls", features)
            for i, stage in enumerate(stages):
                put(out, f"{arch}/{size}/stage{i}", stage)
    model = build_resnet(dtype, *RESNETS["resnet18"], small_stem=True).eval()
    with torch.no_grad():
        put(out, "resnet18/small_stem/cls", model(images("small", 2, 32, 32, dtype)))


def resnet_training(out, dtype):
    """Batch statistics: features, gradients, and the running statistics that two batches leave."""
    for name, model, size in (("basic", build_resnet(dtype, BasicBlock, (1, 2, 1, 1), small_stem=True), (32, 24)),
                              ("bottleneck", build_resnet(dtype, Bottleneck, (1, 2, 1, 1)), (64, 96))):
        model.train()
        prefix = f"train/{name}"
        features = model(images(prefix + "/0", 6, *size, dtype))
        put(out, prefix + "/features", features)
        backward(features, prefix)
        for parameter_name, parameter in model.named_parameters():
            put(out, f"{prefix}/grad/{parameter_name}", parameter.grad)
        with torch.no_grad():
            model(images(prefix + "/1", 4, *size, dtype))
        for buffer_name, buffer in model.named_buffers():
            put(out, f"{prefix}/buffer/{buffer_name}", buffer)


def run(file, parts):
    outputs = []
    for dtype in (torch.float64, torch.float32):
        out = {}
        for part in parts:
            part(out, dtype)
        outputs.append(out)
    exact, single = outputs
    deviations = {k: ((single[k] - exact[k]).abs().max() / exact[k].abs().max()).item() for k in exact}
    worst = max(deviations, key=deviations.get)
    meta = versions() | {"torchvision": torchvision.__version__, "timm": timm.__version__, "transformers": transformers.__version__,
                         "made_by": "tests/golden/make_convnets.py", "torch_float32_deviation": f"{deviations[worst]:.2e} in {worst}"}
    print(meta)
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", file + ".safetensors"), exact, meta)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", nargs="?", choices=("convnext", "resnet"))
    family = parser.parse_args().family
    torch.set_num_threads(1)
    if family != "convnext":
        run("resnet", (resnet_features, resnet_training))
    if family != "resnet":
        run("convnext", (convnext_features, convnext_gradients))


if __name__ == "__main__":
    main()

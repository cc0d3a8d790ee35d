#!/usr/bin/env python3
"""timm's vision transformers in PyTorch eager beside dinoxx_bench_vit; run by vit.sh, which documents the options.

Both sides have the same weights and images, and their CLS features are compared first. A round measures every mode once, dinoxx and timm in turns. bf16
means weights and activations of that type on both sides. A line: model, precision, threads, mode, milliseconds of processor time (all threads) of dinoxx
and of timm (or of packed and separate passes), the median over the rounds of the ratio, its range, and the same ratio in wall time.
"""
import argparse, os, statistics, subprocess, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("bench")
parser.add_argument("--rounds", type=int, default=7)
parser.add_argument("--model", action="append")
parser.add_argument("--precision", action="append", choices=["fp32", "bf16"])
parser.add_argument("--threads", action="append", type=int)
parser.add_argument("--profile", action="store_true", help="dinoxx's seconds in products, LayerNorm, attention and row sums behind each line (1 thread)")
options = parser.parse_args()
import timm, torch

MODELS = {"vit_small_patch16_224.dino": 4, "vit_base_patch16_224.dino": 2, "vit_small_patch16_dinov3": 4}  # images in a batch
AGAINST_TIMM = ["tokens", "tokens_backward", "cls", "cls_backward"]
CROPS = ["", "_backward"]


class Dinoxx:
    def __init__(self, path, precision):
        self.process = subprocess.Popen([options.bench, path, precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"dinoxx_bench_vit ended on \"{line}\"")
        return answer

    def call(self, mode, batch):
        return tuple(map(float, self.ask(f"{mode} {batch}").split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def images(batch, size, dtype):
    return torch.sin(torch.arange(batch * 3 * size * size, dtype=torch.float64) * 0.37).view(batch, 3, size, size).to(dtype)


def timm_call(model, mode, x):
    model.zero_grad(set_to_none=True)
    forward = model.forward_features if mode.startswith("tokens") else lambda images: model.forward_features(images)[:, 0]
    cpu, wall = time.process_time(), time.perf_counter()
    if mode.endswith("_backward"):
        forward(x).sum().backward()
    else:
        with torch.inference_mode():
            forward(x)
    return time.process_time() - cpu, time.perf_counter() - wall


def report(model, precision, threads, mode, ours, theirs):
    ratios = [[b[i] / a[i] for a, b in zip(ours, theirs)] for i in (0, 1)]
    a, b = (1e3 * statistics.median(t[0] for t in times) for times in (ours, theirs))
    print(f"{model:28} {precision} {threads} {mode:18} {a:8.0f} {b:8.0f}   {statistics.median(ratios[0]):.2f} ({min(ratios[0]):.2f} to {max(ratios[0]):.2f})"
          f"   wall {statistics.median(ratios[1]):.2f}", flush=True)


def measure(name, batch, precision):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0, img_size=224).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.02)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.pth")
        torch.save(model.state_dict(), path)
        dinoxx = Dinoxx(path, precision)
        model = model.to(dtype)
        with torch.inference_mode():
            expected = model.forward_features(images(1, 224, dtype))[0, 0].float()
        found = torch.tensor([float(v) for v in dinoxx.ask("feature").split()])
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"# {name} {precision}: CLS features differ by {error:.1e} of the largest", flush=True)
    if error > (0.1 if precision == "bf16" else 1e-5):
        raise SystemExit("the two sides compute different functions")
    x = images(batch, 224, dtype)
    for threads in options.threads or [1, 2]:
        torch.set_num_threads(threads)
        dinoxx.ask(f"threads {threads}")
        ours, theirs, passes, packed = {}, {}, {}, {}
        for i in range(options.rounds + 1):
            for mode in AGAINST_TIMM:
                a, b = dinoxx.call(mode, batch), timm_call(model, mode, x)
                if i > 0:  # the first round warms up
                    ours.setdefault(mode, []).append(a)
                    theirs.setdefault(mode, []).append(b)
            for mode in CROPS:
                a, b = dinoxx.call("packed" + mode, batch // 2), dinoxx.call("separate" + mode, batch // 2)
                if i > 0:
                    packed.setdefault(mode, []).append(a)
                    passes.setdefault(mode, []).append(b)
        for mode in AGAINST_TIMM:
            report(name, precision, threads, mode, ours[mode], theirs[mode])
        for mode in CROPS:
            report(name, precision, threads, "packed" + mode, packed[mode], passes[mode])
        if options.profile:
            profile(dinoxx, batch)
    dinoxx.close()


def profile(dinoxx, batch):
    for mode in AGAINST_TIMM + ["packed", "packed_backward", "separate", "separate_backward"]:
        dinoxx.ask("profile")
        cpu = sum(dinoxx.call(mode, batch if mode in AGAINST_TIMM else batch // 2)[0] for _ in range(3))
        parts = [float(v) / cpu for v in dinoxx.ask("profile").split()]
        shares = ", ".join(f"{n} {100 * s:.0f} %" for n, s in zip(["products", "LayerNorm", "attention", "row sums", "rest"], parts + [1 - sum(parts)]))
        print(f"  {mode}: {1e3 * cpu / 3:.0f} ms: {shares}", flush=True)


for name, batch in MODELS.items():
    for precision in ("fp32", "bf16"):
        if (not options.model or name in options.model) and (not options.precision or precision in options.precision):
            measure(name, batch, precision)

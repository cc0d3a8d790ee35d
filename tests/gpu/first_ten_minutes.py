#!/usr/bin/env python3
"""The work of first_ten_minutes.sh, which says how to call it."""

import argparse
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
# name: configuration, settings, images, prototypes of the peer, peer's arguments, row of the gate's budgets (the same images and settings) or none
CASES = {
    "dino_vits16_2": ("dino_vits16", ["--views.local_count", "0"], 256, ["--method", "dino", "--arch", "small", "--locals", "0"], None),
    "dino_vits16_2+8": ("dino_vits16", [], 64, ["--method", "dino", "--arch", "small"], "dino_vits16"),
    "dinov2_vitl14_2+8": ("dinov2_vitl14", [], 32, ["--method", "dinov2", "--arch", "large", "--patch", "14", "--local-size", "98", "--out-dim", "131072"], "dinov2_vitl14"),
    "dinov3_vitl16_2+8": ("dinov3_vitl16_in1k", [], 64, ["--method", "dinov2", "--arch", "large"], "dinov3_vitl16_in1k"),
    "dino_vitb16_2+8": ("dino_vits16", ["--model.arch", "vit_base"], 64, ["--method", "dino", "--arch", "base"], None),
    "dinov2_vitl14_2": ("dinov2_vitl14", ["--views.local_count", "0"], 32,
                        ["--method", "dinov2", "--arch", "large", "--patch", "14", "--locals", "0", "--out-dim", "131072"], None),
}
FINISH = 15  # seconds that the table needs at the end


class TimeIsUp(Exception):
    pass


class Run:
    def __init__(self, options):
        self.options = options
        self.out = Path(options.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + 60 * options.minutes - FINISH
        self.program = os.environ.get("DINOXX", str(TOP / "build/cuda/bin/dinoxx"))
        self.results = {"facts": {}, "tests": {}, "rate": {}, "steps": {}, "loader": {}, "left_out": []}
        self.child = None

    def left(self):
        return self.end - time.monotonic()

    def call(self, name, command, limit, environment=()):
        """Exit code and output of a command, whose log stays. Raises TimeIsUp where the time does not suffice for any of it."""
        if self.left() < 5:
            raise TimeIsUp
        log = self.out / (name + ".log")
        with log.open("w") as file:
            file.write(" ".join(map(str, command)) + "\n")
            file.flush()
            self.child = subprocess.Popen([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT, cwd=TOP, env=dict(os.environ, **dict(environment)), start_new_session=True)
            try:
                code = self.child.wait(timeout=min(limit, self.left()))
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
                code = "time"
            finally:
                self.child = None
        return code, log.read_text(errors="replace")

    # ------------------------------------------------------------ parts
    def facts(self):
        facts = self.results["facts"]
        code, text = self.call("version", [self.program, "--version"], 60)
        if code != 0:
            raise SystemExit("first_ten_minutes: %s does not start:\n%s" % (self.program, text))
        facts["dinoxx"] = text.splitlines()[1]
        facts["cores"] = os.cpu_count()
        listed = shutil.which("nvidia-smi")
        facts["gpu"] = subprocess.run([listed, "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip() if listed else "none listed"
        found = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"], capture_output=True, text=True)
        facts["pytorch"] = found.stdout.strip() or "none"

    def tests(self):
        folder = Path(self.program).parent
        for name in ("gpu_optimizer", "gpu_blocks", "gpu_losses", "gpu_nccl"):
            places = [folder / name, folder.parent / "tests/gpu" / name]
            program = next((place for place in places if place.exists()), None)
            if not program:
                self.results["tests"][name] = "not there"
                continue
            code, text = self.call(name, [program], 120, {"DINOXX_TEST_RANKS": "1", "OMP_NUM_THREADS": "1"})
            verdict = [line for line in text.splitlines() if line.startswith(("[  PASSED  ]", "[  FAILED  ]"))]
            self.results["tests"][name] = verdict[0] if code == 0 and verdict else "FAILED (%s): %s" % (code, verdict[0] if verdict else "see " + name + ".log")

    def rate(self):
        """What the GPU gives at most: bf16 products of 8192 x 8192, and bytes copied within it."""
        script = ("import torch, time\n"
                  "a = torch.randn(8192, 8192, device='cuda', dtype=torch.bfloat16); b = torch.randn_like(a); x = torch.empty(1 << 30, device='cuda', dtype=torch.uint8); y = torch.empty_like(x)\n"
                  "def best(f, n):\n"
                  "    times = []\n"
                  "    for _ in range(n):\n"
                  "        torch.cuda.synchronize(); t = time.perf_counter(); f(); torch.cuda.synchronize(); times.append(time.perf_counter() - t)\n"
                  "    return sorted(times)[n // 4]\n"
                  "best(lambda: a @ b, 10)\n"
                  "print('tflops', 2 * 8192**3 / best(lambda: a @ b, 30) / 1e12)\n"
                  "print('gb_per_s', 2 * (1 << 30) / best(lambda: y.copy_(x), 30) / 1e9)\n")
        code, text = self.call("rate", [sys.executable, "-c", script], 90)
        self.results["rate"] = figures(text) if code == 0 else {"failed": text.splitlines()[-1]}

    def data(self):
        if self.options.data:
            return Path(self.options.data).resolve()
        folder = self.out / "data"
        if not (folder / "manifest.json").exists():
            code, text = self.call("pack", [self.program, "pack", "--toy", "textures", "--size", "256", "--count", "4000", "--out", folder], 120)
            if code != 0:
                raise SystemExit("first_ten_minutes: pack failed:\n" + text)
        return folder

    def ours(self, name, config, settings, images):
        run = self.out / ("run_" + name)
        shutil.rmtree(run, ignore_errors=True)
        steps = self.options.steps
        command = [self.program, "train", "--config", TOP / "configs" / (config + ".cfg"), "--data", self.data(), "--out", run, "--train.batch_size", images, "--train.length", "%dit" % steps,
                   "--optim.warmup", "1it", "--optim.freeze_last_layer", "1it", "--eval.every", "0", "--checkpoint.every", "%dit" % steps, "--checkpoint.keep", "1", "--train.log_every", "1",
                   "--train.device", self.options.device, *(["--mask.group_size", images] if "dinov" in config else []), *settings, *self.options.settings.split()]
        code, text = self.call("dinoxx_" + name, command, 150)
        found = {}
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] if (run / "metrics.jsonl").exists() else []
        measured = [line for line in lines if "images_per_s" in line and line.get("step", 0) > steps // 3]
        if measured:
            found["images_per_s"] = statistics.median(line["images_per_s"] for line in measured)
            found["data_wait"] = statistics.median(line.get("data_wait", 0) for line in measured)
            found["peak_gb"] = max(line.get("gpu_memory", 0) for line in measured) / 1e9
        if code != 0:
            found["failed"] = "%s: %s" % (code, text.strip().splitlines()[-1][:300])
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        return found

    def steps(self):
        with (TOP / "tests/fakegpu/budgets.csv").open() as file:
            budgets = {row["recipe"]: row for row in csv.DictReader(file) if row["ranks"] == "1"}
        for name in self.options.only.split(",") if self.options.only else CASES:
            config, settings, images, peer, budget = CASES[name]
            entry = self.results["steps"][name] = {"images": images}
            if budget:
                entry["predicted_gb"] = float(budgets[budget]["peak_gb"])
                entry["teraflop"] = float(budgets[budget]["teraflop"])
            entry["dinoxx"] = self.ours(name, config, settings, images)
            for kind, more in (("eager", []), ("compile", ["--compile"])):
                command = [sys.executable, HERE / "step_peer.py", *peer, "--batch", images, "--steps", self.options.steps, "--device", self.options.device, *more, *self.options.peer.split()]
                code, text = self.call("%s_%s" % (kind, name), command, 150)
                entry[kind] = figures(text) if code == 0 else {"failed": "%s: %s" % (code, text.strip().splitlines()[-1][:300])}

    def loader(self):
        program = Path(self.program).parent / "dinoxx_bench_loader"
        if not program.exists():
            program = Path(self.program).parent.parent / "tests/bench/dinoxx_bench_loader"
        if not program.exists():
            self.results["loader"] = {"failed": "no dinoxx_bench_loader"}
            return
        code, text = self.call("loader", [program, self.data(), "--workers", os.cpu_count(), "--global", 224, "--local", 96, "--locals", 8], 90, {"OMP_NUM_THREADS": "1"})
        self.results["loader"] = figures(text) if code == 0 else {"failed": text.splitlines()[-1]}

    # ------------------------------------------------------------ the table
    def table(self):
        r = self.results
        lines = ["# First ten minutes", ""]
        lines += ["- %s: %s" % item for item in r["facts"].items()]
        lines += ["- %s: %s" % item for item in r["tests"].items()]
        rate = r["rate"]
        if "tflops" in rate:
            lines.append("- measured limits: %.0f TFLOP/s of bf16 products, %.0f GB/s within the GPU's memory" % (rate["tflops"], rate["gb_per_s"]))
        elif rate:
            lines.append("- measured limits: %s" % rate["failed"])
        lines += ["", "| step | images | dinoxx images/s | eager | torch.compile | ratio to compile | share of bf16 rate | waiting for data | memory GB | predicted |", "|---|---|---|---|---|---|---|---|---|---|"]
        for name, entry in r["steps"].items():
            ours, compiled = entry.get("dinoxx", {}), entry.get("compile", {})
            speed = ours.get("images_per_s")

            def cell(found):
                return "%.0f" % found["images_per_s"] if "images_per_s" in found else "failed" if "failed" in found else "not run"

            ratio = "%.2f" % (speed / compiled["images_per_s"]) if speed and "images_per_s" in compiled else "-"
            share = "%.0f %%" % (100 * entry["teraflop"] / entry["images"] * speed / rate["tflops"]) if speed and "teraflop" in entry and "tflops" in rate else "-"
            lines.append("| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s |" % (
                name, entry["images"], cell(ours), cell(entry.get("eager", {})), cell(compiled), ratio, share, "%.0f %%" % (100 * ours["data_wait"]) if "data_wait" in ours else "-",
                "%.1f" % ours["peak_gb"] if ours.get("peak_gb") else "-", "%.1f" % entry["predicted_gb"] if "predicted_gb" in entry else "-"))
        failures = ["- %s, %s: %s" % (name, kind, entry[kind]["failed"]) for name, entry in r["steps"].items() for kind in ("dinoxx", "eager", "compile") if "failed" in entry.get(kind, {})]
        lines += [""] + failures if failures else []
        if r["loader"]:
            lines += ["", "Loader: " + ", ".join("%s %s" % item for item in r["loader"].items())]
        if r["left_out"]:
            lines += ["", "Left out for want of time: " + ", ".join(r["left_out"])]
        return "\n".join(lines) + "\n"

    def finish(self):
        (self.out / "results.json").write_text(json.dumps(self.results, indent=1) + "\n")
        (self.out / "table.md").write_text(self.table())
        print(self.table(), end="")
        print("%s/table.md, results.json and the logs" % self.out)


def figures(text):
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2:
            try:
                found[words[0]] = float(words[1])
            except ValueError:
                pass
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="first_ten_minutes")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--data", default="")
    parser.add_argument("--parts", default="tests,rate,steps,loader")
    parser.add_argument("--only", default="", help="of the steps: " + ", ".join(CASES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--settings", default="", help="more settings of dinoxx train, for a dry run")
    parser.add_argument("--peer", default="", help="more options of step_peer.py, for a dry run")
    options = parser.parse_args()
    unknown = [name for name in options.only.split(",") if name and name not in CASES] + [part for part in options.parts.split(",") if part not in ("tests", "rate", "steps", "loader")]
    if unknown:
        parser.error("expected names out of %s, parts out of tests, rate, steps, loader, found %s" % (", ".join(CASES), ", ".join(unknown)))
    run = Run(options)

    def stop(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    parts = options.parts.split(",")
    try:
        run.facts()
        while parts:
            print("first_ten_minutes: %s, %.0f s left" % (parts[0], run.left()), file=sys.stderr)
            getattr(run, parts[0])()
            parts.pop(0)
    except (TimeIsUp, KeyboardInterrupt):
        if run.child:
            os.killpg(run.child.pid, signal.SIGKILL)
        missing = [name for name in CASES if (not options.only or name in options.only.split(",")) and "compile" not in run.results["steps"].get(name, {})] if "steps" in parts else []
        run.results["left_out"] = [part for part in parts if part != "steps"] + missing
    run.finish()


if __name__ == "__main__":
    main()

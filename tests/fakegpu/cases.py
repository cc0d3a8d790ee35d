"""What the gate tries beside the recipes: runs from start to end on the fake device, and what has to be refused."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

SMALL = ["--train.length", "4it", "--checkpoint.every", "2it", "--optim.freeze_last_layer", "1it", "--optim.warmup", "1it"]


def expect(condition, what, output=""):
    if not condition:
        raise AssertionError(what + ("\n" + output[-3000:] if output else ""))


def tensors(path):
    """Name to bytes of a safetensors file."""
    blob = path.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])
    return {name: blob[8 + length + at["data_offsets"][0] : 8 + length + at["data_offsets"][1]] for name, at in header.items() if name != "__metadata__"}


def masters(checkpoint):
    """The student's and the teacher's tensors, from the ranges that the ranks have written."""
    ranges = {}
    for path in checkpoint.glob("rank_*.safetensors"):
        for entry, blob in tensors(path).items():
            name, _, place = entry.rpartition("[")
            if name.startswith(("student/", "teacher/")):
                ranges.setdefault(name, []).append((int(place.split(":")[0]), blob))
    return {name: b"".join(blob for _, blob in sorted(parts)) for name, parts in ranges.items()}


def picture(path, number):
    """A gray PNG of 48 x 48 pixels."""
    rows = b"".join(b"\0" + bytes((row * column * (number + 1)) % 256 for column in range(48)) for row in range(48))
    part = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", 48, 48, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))


def train(gate, name, out, ranks=1, more=(), environment=()):
    device = [] if "--train.device" in more else ["--train.device", "cuda"]
    arguments = ["train", "--config", "configs/%s.cfg" % name, "--data", str(gate.work / "data"), "--out", str(out), *SMALL, *device, *more]
    return gate.run(arguments, ranks, environment)


def fresh(gate, name):
    folder = gate.work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def resume(gate):
    """Saves, goes on from what was saved, evaluates on the way. No kernel changes a weight, so the weights that come back are those that were drawn. Features have to be finite: no
    pixels lie where features are read."""
    folder = fresh(gate, "resume")
    for ranks, name in ((1, "quickstart"), (2, "dinov2_32px")):
        whole, second = folder / (name + "_whole"), folder / (name + "_second")
        small = ["--train.batch_size", "16", "--eval.every", "2it", "--train.precision", "fp32"]  # bf16 would pass through kernels
        code, output = train(gate, name, whole, ranks, small, {"FAKEGPU_SIDE_COPIES": "0"})
        expect(code == 0, "%s: exit code %d" % (name, code), output)
        expect("step 2: k-NN" in output and "step 4: k-NN" in output, "no evaluation on the way", output)
        (second / "checkpoints").mkdir(parents=True)
        shutil.copytree(whole / "checkpoints/step_00000002", second / "checkpoints/step_00000002")
        code, output = train(gate, name, second, ranks, small, {"FAKEGPU_SIDE_COPIES": "0"})
        expect(code == 0 and "resumed from" in output, "%s does not go on: exit code %d" % (name, code), output)
        files = [run / "checkpoints" / step / "teacher.safetensors" for run, step in ((whole, "step_00000002"), (second, "step_00000004"))]
        saved, again = (tensors(path) for path in files)
        expect(saved == again and len(saved) > 10, "%s: the teacher's weights are not those that were saved" % name)
        expect(any(any(blob) for blob in saved.values()), "the weights are zero")


def sharding(gate):
    """State spread over ranks, inside nodes of two ranks and over all, with LARS and with AdamW; what was saved so goes on at one rank that has all, and the other way round. As in
    resume no kernel changes a weight."""
    folder = fresh(gate, "sharding")
    environment = {"FAKEGPU_SIDE_COPIES": "0"}
    small = ["--train.batch_size", "16", "--eval.every", "0", "--train.precision", "fp32"]
    for name, ranks, sync in (("dinov2_32px", 4, ["zero2"]), ("dinov2_32px", 2, ["zero1", "--train.accumulate", "2"]), ("ibot_32px", 2, ["zero3", "--model.recompute", "block"]), ("dinov2_32px", 2, ["zero3"]), ("dino_32px", 2, ["zero3", "--model.recompute", "attention", "--model.recompute_every", "2"]), ("dino_32px", 2, ["zero1", "--optim.name", "lars"]),
                              ("dinov3_32px", 4, ["zero2", "--head.shard_prototypes", "yes", "--loss.rows_at_once", "100"])):
        spread, alone = folder / ("%s_%s" % (name, sync[0])), folder / ("%s_%s_alone" % (name, sync[0]))
        code, output = train(gate, name, spread, ranks, [*small, *sync[1:], "--parallel.sync", sync[0]], environment)
        expect(code == 0 and "parallel.sync: %s over %d ranks" % (sync[0], ranks) in output, "%s: exit code %d" % (name, code), output)
        (alone / "checkpoints").mkdir(parents=True)
        shutil.copytree(spread / "checkpoints/step_00000002", alone / "checkpoints/step_00000002")
        code, output = train(gate, name, alone, 1, [*small, *sync[1:], "--parallel.sync", sync[0]], environment)
        expect(code == 0 and "resumed from" in output, "%s does not go on at one rank: exit code %d" % (name, code), output)
        saved, again = (masters(run / "checkpoints" / step) for run, step in ((spread, "step_00000002"), (alone, "step_00000004")))
        expect(saved == again and len(saved) > 20, "%s: the masters are not those that were saved" % name)
        expect(any(any(blob) for blob in saved.values()), "the weights are zero")


def other_weights(gate):
    """Going on from a backbone: heads alone, blocks one by one, changes of low rank, an anchor; learning from one over two ranks. Each goes on from what it saved."""
    folder = fresh(gate, "other_weights")
    weights = str(gate.work / "teacher_distill_32px")
    begin = ["--model.init_from", weights, "--init.heads_only", "1it", "--teacher.hold_backbone", "2it"]
    for name, recipe, ranks, more in (("steps", "dinov2_32px", 1, [*begin, "--init.unfreeze", "2it", "--init.last_blocks", "1", "--init.anchor", "1"]),
                                      ("lora", "dinov2_32px", 2, [*begin, "--init.lora_rank", "4", "--init.anchor", "1", "--init.anchor_form", "gram"]),
                                      ("features", "distill_features_32px", 2, ["--teacher.distill", weights, "--teacher.match", "batch"])):
        options = ["--data", str(gate.work / "data"), "--out", str(folder / name), "--train.device", "cuda", "--train.batch_size", "16", "--eval.every", "0", "--checkpoint.every", "2it", "--train.precision", "fp32"]  # as in resume no kernel changes a weight
        for length in ("4it", "6it"):
            code, output = gate.run(["train", "--config", "configs/%s.cfg" % recipe, *options, "--train.length", length, *more], ranks, {"FAKEGPU_SIDE_COPIES": "0"})
            expect(code == 0, "%s, %s: exit code %d" % (name, length, code), output)
        expect("resumed from" in output, "%s does not go on" % name, output)


def memory(gate):
    """5 GB are too few for 64 images of the DINO recipe: an error of the program that says what helps."""
    folder = fresh(gate, "memory")
    code, output = train(gate, "dino_vits16", folder / "run", more=["--train.batch_size", "64", "--check"], environment={"FAKEGPU_MEMORY_GB": "5"})
    expect(code == 1, "exit code %d" % code, output)
    for word in ("out of memory", "train.batch_size", "model.recompute", "of a GPU's memory are planned, and it has 5"):
        expect(word in output, "the message does not name " + word, output)
    # what cannot fit is refused before anything is taken, with what would
    code, output = train(gate, "dinov2_vitl14", folder / "run", more=["--train.batch_size", "64", "--check"], environment={"FAKEGPU_MEMORY_GB": "5"})
    expect(code == 2 and "for weights, gradients and optimizer" in output, "ViT-L: exit code %d" % code, output)
    for word in ("Nothing fits with 64 images a GPU at once", "needs least", "Would fit: the same batch on ", "Would fit: the same on a100", "dinoxx plan"):
        expect(word in output, "ViT-L: the message does not name " + word, output)
    code, output = train(gate, "dinov2_vitl14", folder / "run", 4, ["--train.batch_size", "16", "--check"], {"FAKEGPU_MEMORY_GB": "8"})
    expect(code == 2 and "parallel.sync = zero" in output, "ViT-L on four GPUs: exit code %d" % code, output)


def no_device(gate):
    """A GPU that was asked for and is not there is refused, and so is one that the program cannot use, unless the CPU is asked for."""
    folder = fresh(gate, "no_device")
    old = "a driver for CUDA 12.4, and this program needs one for 13.0"
    for environment, why in (({"FAKEGPU_DEVICES": "0"}, "0 visible"), ({"FAKEGPU_DRIVER": "0"}, "0 visible"), ({"FAKEGPU_DRIVER": "12040"}, old)):
        code, output = train(gate, "quickstart", folder / "run", more=["--check"], environment=environment)
        expect(code == 1 and "GPU 0" in output and why in output, "%s: exit code %d" % (environment, code), output)
    code, output = train(gate, "quickstart", folder / "run", more=["--check", "--train.device", "auto"], environment={"FAKEGPU_DRIVER": "12040"})
    expect(code == 2 and old in output, "auto with an old driver: exit code %d" % code, output)
    code, output = train(gate, "quickstart", folder / "run", more=["--check", "--train.device", "auto"])
    expect(code == 0 and "device: cuda:0 (stand-in for a GPU)" in output, "auto with a GPU: exit code %d" % code, output)
    # ranks of two hosts, of which one has no GPU: all end with the same message
    code, output = train(gate, "quickstart", folder / "run", 2, ["--check", "--train.device", "auto"], {"FAKEGPU_NO_DEVICE_ON_RANK": "1"})
    expect(code == 2 and "none for rank 1 on" in output, "one host without a GPU: exit code %d" % code, output)


def doctor(gate):
    """Ranks and their GPUs: collectives over NCCL and a step on the device; two ranks on one GPU, and a rank without one, are faults by rank and host. Training
    refuses the first before NCCL sees it."""
    folder = fresh(gate, "doctor")
    code, output = gate.run(["doctor", "--json"], 2)
    expect(code == 0, "doctor: exit code %d" % code, output)
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])
    expect(found["back_end"] == "nccl" and len(found["collectives"]) == 12, "no collectives over NCCL", output)
    expect([rank["gpu_name"] for rank in found["ranks"]] == ["stand-in for a GPU"] * 2, "the ranks have no GPUs", output)
    expect(found["step"]["error"] == "" and found["step"]["batch"] == 16, "no step", output)
    code, output = gate.run(["doctor"], 2, {"FAKEGPU_ONE_GPU": "1"})
    expect(code == 1 and "fault: ranks 0-1 on " in output and "a GPU for each rank, found all on GPU stand-in" in output, "one GPU: exit code %d" % code, output)
    expect("collectives over mpi" in output and "collectives and a step on the GPUs: their faults come first" in output, "measured what cannot be", output)
    code, output = gate.run(["doctor"], 2, {"FAKEGPU_NO_DEVICE_ON_RANK": "1"})
    expect(code == 1 and "fault: rank 1 on " in output and "found none visible" in output, "a rank without: exit code %d" % code, output)
    code, output = train(gate, "quickstart", folder / "run", 2, ["--check"], {"FAKEGPU_ONE_GPU": "1"})
    expect(code == 2 and "ranks 0-1 on " in output and "expected a GPU for each rank" in output, "training on one GPU: exit code %d" % code, output)
    code, output = train(gate, "quickstart", folder / "run", 2, ["--check"])
    expect(code == 0 and "machine: 2 ranks on 1 host, 2 x stand-in for a GPU" in output, "training says another machine", output)


def commands(gate):
    """Every command that shows images to a network, on one GPU and over two ranks, fine-tuning with it: no operator refuses a tensor of the wrong device. Values
    are not those of a GPU, so that there is nothing to compare."""
    folder = fresh(gate, "commands")
    run, data = folder / "run", gate.work / "data"
    code, output = train(gate, "quickstart", run, more=["--train.batch_size", "16", "--eval.every", "0"])
    expect(code == 0, "training: exit code %d" % code, output)
    images = folder / "images"
    images.mkdir()
    for number in range(2):
        picture(images / ("%d.png" % number), number)
    network = ["--checkpoint", str(run), "--device", "cuda"]
    few = ["--finetune.epochs", "1", "--finetune.methods", "lp-ft,lora", "--finetune.max_minutes", "100000", "--linear-probe-views", "1"]
    everything = ["--data", str(data), "--protocol", "all", "--baselines", "untrained", *few]
    for ranks in (1, 2):
        out = folder / ("eval%d" % ranks)
        code, output = gate.run(["eval", *network, *everything, "--out", str(out)], ranks)
        expect(code == 0, "eval on %d ranks: exit code %d" % (ranks, code), output)
        results = json.loads((out / "results.json").read_text())
        expect(results["run"]["device"] == "cuda:0", "eval says it ran on %s" % results["run"]["device"])
        expect("left_out" not in results["suites"]["finetune"]["results"][0], "no fine-tuning", json.dumps(results["suites"]["finetune"])[:3000])
    others = (
        ["embed", *network, "--data", str(data), "--limit", "64", "--out", str(folder / "features.npy")],
        ["embed", *network, "--data", str(data), "--limit", "64", "--last-blocks", "2", "--out", str(folder / "blocks.npy")],
        ["embed", *network, "--data", str(data), "--limit", "64", "--feature-stages", "2", "--feature-grid", "2", "--out", str(folder / "stages.npy")],
        ["predict", *network, "--data", str(data), "--images", str(images), "--out", str(folder / "predictions.csv")],
        ["eval", *network, "--data", str(data), "--feature-stages", "2", "--feature-whiten", "0.3", "--out", str(folder / "white")],
        ["attend", *network, "--out", str(folder / "maps"), str(images / "0.png")],
    )
    for arguments in others:
        code, output = gate.run(arguments)
        expect(code == 0 and "device: cuda:0 (stand-in for a GPU)" in output, "%s: exit code %d" % (" ".join(arguments), code), output)
    # nothing without a GPU: asked for, it is refused; auto takes the CPU
    code, output = gate.run(others[0], environment={"FAKEGPU_DEVICES": "0"})
    expect(code == 1 and "choose --device cpu" in output, "no GPU: exit code %d" % code, output)
    code, output = gate.run([word if word != "cuda" else "auto" for word in others[0]], environment={"FAKEGPU_DEVICES": "0"})
    expect(code == 0 and "device:" not in output, "auto without a GPU: exit code %d" % code, output)


def first_ten_minutes(gate):
    """The script for the first GPU, in small: a table whatever fails on the way, and one when the time is up."""
    out = fresh(gate, "first_ten_minutes")
    script = ["bash", "tests/gpu/first_ten_minutes.sh", "--data", str(gate.work / "data"), "--only", "dino_vits16_2+8", "--steps", "4", "--settings", "--train.batch_size 4",
              "--peer", "--device cpu --arch tiny --batch 2 --out-dim 512 --locals 0"]
    environment = dict(os.environ, DINOXX=str(gate.program), PYTHON=sys.executable, OMP_NUM_THREADS="1")
    for folder, more in (("whole", ["--minutes", "4"]), ("cut", ["--minutes", "0.36"])):
        done = subprocess.run([*script, "--out", str(out / folder), *more], env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
        expect(done.returncode == 0, "%s: exit code %d" % (folder, done.returncode), done.stdout)
        results = json.loads((out / folder / "results.json").read_text())
        expect((out / folder / "table.md").read_text() in done.stdout and "with CUDA" in results["facts"]["dinoxx"], "%s: no table" % folder, done.stdout)
        expect(all(part in results for part in ("tests", "rate", "steps", "loader")), "%s: a part is missing" % folder, done.stdout)
        if folder == "whole":
            step = results["steps"]["dino_vits16_2+8"]
            expect(step["dinoxx"]["images_per_s"] > 0 and step["dinoxx"]["peak_gb"] > 0.5 and step["predicted_gb"] > 8, "whole: nothing measured", done.stdout)
            expect(set(step["eager"]) & {"images_per_s", "failed"} and not results["left_out"], "whole: no peer, or something left out", done.stdout)
        else:
            expect(results["left_out"], "cut: nothing is left out", done.stdout)


CASES = {case.__name__: case for case in (resume, sharding, other_weights, memory, no_device, doctor, commands, first_ten_minutes)}

"""What the gate tries beside the recipes: runs from start to end on the fake device, and what has to be refused."""

import json
import shutil
import struct

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
    """Saves, goes on from what was saved, evaluates on the way. No kernel changes a weight, so the weights that come back are those that were drawn."""
    folder = fresh(gate, "resume")
    for ranks, name in ((1, "quickstart"), (2, "dinov2_32px")):
        whole, second = folder / (name + "_whole"), folder / (name + "_second")
        small = ["--train.batch_size", "16", "--eval.every", "2it", "--train.precision", "fp32"]  # bf16 would pass through kernels
        code, output = train(gate, name, whole, ranks, small)
        expect(code == 0, "%s: exit code %d" % (name, code), output)
        expect("step 2: k-NN" in output and "step 4: k-NN" in output, "no evaluation on the way", output)
        (second / "checkpoints").mkdir(parents=True)
        shutil.copytree(whole / "checkpoints/step_00000002", second / "checkpoints/step_00000002")
        code, output = train(gate, name, second, ranks, small)
        expect(code == 0 and "resumed from" in output, "%s does not go on: exit code %d" % (name, code), output)
        files = [run / "checkpoints" / step / "teacher.safetensors" for run, step in ((whole, "step_00000002"), (second, "step_00000004"))]
        saved, again = (tensors(path) for path in files)
        expect(saved == again and len(saved) > 10, "%s: the teacher's weights are not those that were saved" % name)
        expect(any(any(blob) for blob in saved.values()), "the weights are zero")


def memory(gate):
    """5 GB are too few for 64 images of the DINO recipe: an error of the program that says what helps."""
    folder = fresh(gate, "memory")
    code, output = train(gate, "dino_vits16", folder / "run", more=["--train.batch_size", "64", "--check"], environment={"FAKEGPU_MEMORY_GB": "5"})
    expect(code == 1, "exit code %d" % code, output)
    for word in ("out of memory", "train.batch_size", "model.recompute"):
        expect(word in output, "the message does not name " + word, output)


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


CASES = {case.__name__: case for case in (resume, memory, no_device)}

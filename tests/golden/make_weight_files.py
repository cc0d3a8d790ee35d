"""Small weight files as PyTorch writes them, for tests/unit/core/weight_file_test.cpp and as seeds of tests/fault/fuzz_weights.cpp.

Every element's bits are a function of (name, row-major index), so that nothing but names, types, shapes and strides has to be stored:
    bits(name, i) = the low bits of splitmix64(fnv1a64(name) + i), for bool the lowest alone
manifest.json says what each file holds. Files under hostile/ are real pickles that call functions: loading them with pickle would run the
call, so load them with nothing but a reader under test.

    python tests/golden/make_weight_files.py        (versions: manifest.json)
"""
import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import tarfile

import numpy as np
import torch
import torch.distributed.checkpoint

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from golden_common import versions
from weight_files_common import NAMES, OUT, Manifest, filled_state, path, small_net, values
from weight_files_unknown import unknown


def state_dicts(manifest):
    for protocol in (2, 3, 4, 5):
        state = filled_state()
        torch.save(state, path(f"state_dict_p{protocol}.pth"), pickle_protocol=protocol)
        manifest.add(f"state_dict_p{protocol}.pth", state)
    torch.serialization.set_crc32_options(False)
    torch.save(state, path("without_checksums.pth"))
    torch.serialization.set_crc32_options(True)
    manifest.add("without_checksums.pth", state)


def checkpoint(manifest, protocol, zipped=True):
    """As main_dino.py of DINO v1 saves it. Not `zipped`: as PyTorch before 1.6 wrote it."""
    student, teacher = filled_state("student.module.backbone."), filled_state("teacher.backbone.")
    student = {"module.backbone." + k: v for k, v in student.items()}
    teacher = {"backbone." + k: v for k, v in teacher.items()}
    net = small_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moments = optimizer.state_dict()
    for index, state in moments["state"].items():
        for key, tensor in state.items():
            state[key] = values(f"optimizer.state.{index}.{key}", tuple(tensor.shape))
    args = argparse.Namespace(arch="vit_small", patch_size=16, lr=0.0005, out_dim=65536, norm_last_layer=True, global_crops_scale=(0.4, 1.0),
                              data_path="/data/ümlaut", freeze=None, output_dir=pathlib.PurePosixPath("/tmp/out"))
    file = f"v1_checkpoint_p{protocol}.pth" if zipped else f"before_1.6_p{protocol}.pth"
    data = {"student": student, "teacher": teacher, "optimizer": moments, "epoch": 100, "args": args,
            "dino_loss": {"center": values("dino_loss.center", (1, 6))}, "fp16_scaler": {"scale": 65536.0, "growth_interval": 2000},
            "best_acc": np.float64(0.75), "steps": np.int64(-12345678901), "flag": np.bool_(True), "half": np.float32(1.5),
            "history": np.arange(3.0), "seen": {3}, "big": 1 << 80, "nothing": None, "infinite": float("inf"), "blob": b"ab\xff"}
    torch.save(data, path(file), pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    tensors = {"student." + k: v for k, v in student.items()} | {"teacher." + k: v for k, v in teacher.items()}
    for index, state in moments["state"].items():
        tensors |= {f"optimizer.state.{index}.{key}": tensor for key, tensor in state.items()}
    tensors["dino_loss.center"] = data["dino_loss"]["center"]
    group = {k: list(v) if isinstance(v, tuple) else v for k, v in moments["param_groups"][0].items()}
    numpy_class = "numpy._core.numeric._frombuffer" if protocol == 5 else "numpy._core.multiarray._reconstruct"
    manifest.add(file, tensors, {
        "optimizer": {"param_groups": [group]}, "epoch": 100,
        "args": {"arch": "vit_small", "patch_size": 16, "lr": 0.0005, "out_dim": 65536, "norm_last_layer": True, "global_crops_scale": [0.4, 1.0],
                 "data_path": "/data/ümlaut", "freeze": None, "output_dir": "/tmp/out"},
        "fp16_scaler": {"scale": 65536.0, "growth_interval": 2000}, "best_acc": 0.75, "steps": -12345678901, "flag": True, "half": 1.5,
        "history": {"class": numpy_class}, "seen": [3], "big": {"class": "int", "bytes": 11}, "nothing": None, "infinite": "inf",
        "blob": {"class": "bytes", "bytes": 3 if protocol == 5 else 4}})


def tarred(manifest):
    """As PyTorch before 0.1.10 wrote it, by the reader of it in torch/serialization.py, which is asked at the end."""
    def part(*objects):
        return b"".join(o if isinstance(o, bytes) else pickle.dumps(o, protocol=2) for o in objects)

    class Stand:  # for a tensor: its key
        def __init__(self, key):
            self.key = key

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return str(value.key) if isinstance(value, Stand) else None

    root, words = values("tar", (3, 4)), values("tar words", (5,), torch.int64)
    storages = part(2, (1, "cpu", torch.FloatStorage), struct.pack("<q", 12), root.numpy().tobytes(), (2, "cuda:0", torch.LongStorage),
                    struct.pack("<q", 5), words.numpy().tobytes(), [(3, 1, 4, 4)])
    rows = {10: (1, (3, 4), (4, 1), 0), 11: (1, (4, 3), (1, 4), 0), 12: (2, (5,), (1,), 0), 13: (3, (2,), (2,), 1)}
    tensors = part(len(rows))
    for key, (storage, shape, strides, offset) in rows.items():
        tensors += part((key, storage, torch.FloatTensor)) + struct.pack(f"<ii{2 * len(shape)}qq", len(shape), 0, *shape, *strides, offset)
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(collections.OrderedDict(weight=Stand(10), turned=Stand(11), words=Stand(12), part=Stand(13), epoch=4))
    with tarfile.open(path("before_0.1.10.pth"), "w:", format=tarfile.PAX_FORMAT) as out:
        for name, content in (("storages", storages), ("tensors", tensors), ("pickle", buffer.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    read = torch.load(path("before_0.1.10.pth"), map_location="cpu", weights_only=False)
    expected = {"weight": root, "turned": root.t(), "words": words, "part": root.flatten()[4:8][1::2]}
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())
    manifest.add("before_0.1.10.pth", {"weight": (root, "tar", None), "turned": (root.t(), "tar^T", None), "words": (words, "tar words", None),
                                       "part": (expected["part"], "tar[5::2]", None)}, {"epoch": 4})


def distributed_rank(rank, world, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29541", RANK=str(rank), WORLD_SIZE=str(world))
    torch.distributed.init_process_group("gloo")
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (world,))
    state = {"model": distributed_tensors()}
    if world > 1:
        for name, tensor in state["model"].items():
            if name.startswith(("rows", "columns")):
                where = torch.distributed.tensor.Shard(1 if name == "columns" else 0)
                state["model"][name] = torch.distributed.tensor.distribute_tensor(tensor, mesh, [where])
    torch.distributed.checkpoint.save(state | {"iteration": 12}, storage_writer=torch.distributed.checkpoint.filesystem.FileSystemWriter(folder))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def distributed_tensors():
    shapes = {"rows.weight": (5, 3, 2), "rows.bias": (2,), "columns": (4, 7), "whole": (3, 2), "scalar": ()}
    return {name: values("distributed." + name, shape) for name, shape in shapes.items()} | {
        "rows.half": values("distributed.rows.half", (6, 2), torch.bfloat16)}


def distributed(manifest):
    """As the official code of DINOv3 saves: torch.distributed.checkpoint, here from one and from three processes."""
    os.chdir(OUT)  # the metadata hold the path as given
    for world in (1, 3):
        folder = f"distributed_{world}"
        torch.multiprocessing.spawn(distributed_rank, (world, folder), nprocs=world)
        tensors = {"model." + name: (tensor, "distributed." + name, None) for name, tensor in distributed_tensors().items()}
        manifest.add(folder, tensors, format="distributed")


def strided(manifest):
    def into(view, name):
        view.copy_(values(name, tuple(view.shape)))
        return view

    base = torch.empty(200)
    transposed = into(torch.empty(5, 3).t(), "transposed")
    permuted = into(torch.empty(2, 4, 3).permute(2, 0, 1), "permuted")
    slice_ = into(base[50:110].view(6, 10)[1:5, 2:9:3], "slice")
    columns = into(base[120:180].view(6, 10)[:, 3], "columns")
    tied = values("tied", (3, 4))
    one = values("expanded", (3,))
    channels_last = into(torch.empty(2, 3, 2, 2).contiguous(memory_format=torch.channels_last), "channels_last")
    data = {"transposed": transposed, "permuted": permuted, "slice": slice_, "columns": columns, "tied": tied, "tied_again": tied,
            "tied_t": tied.t(), "expanded": one.expand(4, 3), "scalar": values("scalar", ()), "empty": torch.empty(0, 4), "row": values("row", (1, 7)),
            "channels_last": channels_last, "list": [values("list.0", (2,)), 5, {"deep": values("list.2.deep", (2,))}]}
    torch.save(data, path("strided.pth"))
    rows = {k: v for k, v in data.items() if k not in ("tied_again", "tied_t", "expanded", "list")}
    rows |= {"tied_again": (tied, "tied", None), "expanded": (data["expanded"], "expanded", 3), "list.0": data["list"][0],
             "list.2.deep": data["list"][2]["deep"]}
    rows["tied_t"] = (tied.t(), "tied^T", None)
    manifest.add("strided.pth", rows, {"list": [None, 5, None]})


def dtypes(manifest):
    data = {name: values(name, (3, 5), dtype) for dtype, name in NAMES.items()}
    torch.save(data, path("dtypes.pth"))
    manifest.add("dtypes.pth", data)
    typed = {name: tensor for name, tensor in data.items() if not name.startswith(("U1", "U3", "U6", "F8"))}
    torch.save(typed, path("dtypes_p5.pth"), pickle_protocol=5)
    manifest.add("dtypes_p5.pth", typed)


def parameters(manifest):
    plain = torch.nn.Parameter(values("plain", (2, 3)))
    marked = torch.nn.Parameter(values("marked", (4,)))
    marked.is_norm = True
    tensor = values("attribute", (3,))
    tensor.note = "x"
    data = collections.OrderedDict(plain=plain, marked=marked, buffer=torch.nn.Buffer(values("buffer", (2,))), attribute=tensor,
                                   device=torch.device("cuda", 1), dtype=torch.bfloat16, size=torch.Size((2, 3)),
                                   default=collections.defaultdict(dict, {"a": 1}), counter=collections.Counter("aab"))
    torch.save(data, path("parameters.pth"))
    manifest.add("parameters.pth", {k: data[k].detach() for k in ("plain", "marked", "buffer", "attribute")},
                 {"device": "cuda", "dtype": "torch.bfloat16", "size": [2, 3], "default": {"a": 1}, "counter": {"a": 2, "b": 1}})


def safetensors_bytes(tensors, metadata):
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.contiguous().view(torch.uint8 if tensor.dim() else tensor.dtype).numpy().tobytes()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def write(file, content):
    os.makedirs(os.path.dirname(path(file)), exist_ok=True)
    with open(path(file), "wb") as out:
        out.write(content)


def sharded(manifest):
    state = {k: values(k, (2, 3)) for k in ("a.weight", "b.weight", "c.weight")}
    parts = [{"a.weight": state["a.weight"], "c.weight": state["c.weight"]}, {"b.weight": state["b.weight"]}]
    for folder, ending, start in (("sharded", "safetensors", "model"), ("sharded_bin", "bin", "pytorch_model")):
        weight_map = {}
        for i, part in enumerate(parts):
            name = f"{start}-{i + 1:05}-of-00002.{ending}"
            weight_map |= {k: name for k in part}
            os.makedirs(path(folder), exist_ok=True)
            if ending == "bin":
                torch.save(part, path(f"{folder}/{name}"))
            else:
                write(f"{folder}/{name}", safetensors_bytes(part, {"format": "pt"}))
        index = f"{folder}/{start}.{'safetensors.' if ending == 'safetensors' else 'bin.'}index.json"
        write(index, json.dumps({"metadata": {"total_size": 72}, "weight_map": weight_map}, indent=2).encode())
        manifest.add(index, state, {"total_size": 72}, "safetensors" if ending == "safetensors" else "torch")
        manifest.add(folder, state, {"total_size": 72}, "safetensors" if ending == "safetensors" else "torch")
    data = {name: values(name, (3, 5), dtype) for dtype, name in NAMES.items()}
    write("dtypes.safetensors", safetensors_bytes(data, {"format": "pt", "note": "ü"}))
    manifest.add("dtypes.safetensors", data, {"format": "pt", "note": "ü"}, "safetensors")


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Built:
    pass


def hostile():
    """What each has to be refused for stands in the test."""
    os.makedirs(path("hostile"), exist_ok=True)
    tensor = torch.zeros(2)
    calls = {"os_system": Call(os.system, "touch /tmp/dinoxx_pickle_was_executed"), "eval": Call(eval, "open('/tmp/dinoxx_pickle_was_executed', 'w')"),
             "getattr": Call(getattr, "text", "upper"),
             "torch_load": Call(torch.load, "/etc/passwd"), "load_from_bytes": Call(torch.storage._load_from_bytes, b"x"),
             "partial": Call(__import__("functools").partial, print, "x"), "open": Call(open, "/tmp/dinoxx_pickle_was_executed", "w")}
    for name, call in calls.items():
        for protocol in (2, 5):
            torch.save({"a": tensor, "b": call}, path(f"hostile/{name}_p{protocol}.pth"), pickle_protocol=protocol)
    torch.save({"a": tensor, "b": Built()}, path("hostile/own_class.pth"))
    torch.save(torch.nn.Linear(2, 2), path("hostile/whole_module.pth"))
    torch.save({"a": tensor.to_sparse()}, path("hostile/sparse.pth"))
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path("hostile/torchscript.pt"))
    torch.save({"a": torch.randn(2, dtype=torch.complex64).conj()}, path("hostile/conjugate.pth"))
    torch.save({"a.b": tensor, "a": {"b": tensor}}, path("hostile/same_path.pth"))
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path("hostile/expanded.pth"))
    loop = []
    loop.append(loop)
    torch.save({"a": loop}, path("hostile/contains_itself.pth"))
    lists = [0]
    for _ in range(60):
        lists = [lists, lists]
    torch.save({"a": lists}, path("hostile/shared_lists.pth"))
    np.savez(path("hostile/numpy.npz"), a=np.zeros(2))
    with open(path("hostile/plain_pickle.pth"), "wb") as out:
        pickle.dump({"a": 1}, out, protocol=2)


def main():
    torch.manual_seed(0)
    os.makedirs(OUT, exist_ok=True)
    manifest = Manifest()
    state_dicts(manifest)
    for protocol in (2, 5):
        checkpoint(manifest, protocol)
        unknown(manifest, protocol)
    checkpoint(manifest, 2, zipped=False)
    tarred(manifest)
    distributed(manifest)
    strided(manifest)
    dtypes(manifest)
    parameters(manifest)
    sharded(manifest)
    hostile()
    with open(path("manifest.json"), "w") as out:
        json.dump({"versions": versions(), "files": manifest.files}, out, indent=1, sort_keys=True, ensure_ascii=False)
        out.write("\n")


if __name__ == "__main__":  # also read by the processes of distributed()
    main()

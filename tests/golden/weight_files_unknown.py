"""The checkpoints of make_weight_files.py that hold objects of classes which only their own program has."""
import collections
import datetime
import enum
import functools
import sys
import types

import torch

from weight_files_common import filled_state, path, small_net, values


def own_class(module, name, *bases, **members):
    """A class that another program would import from `module`."""
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[:i + 1]), types.ModuleType(".".join(parts[:i + 1])))
    cls = type(name, bases, members | {"__module__": module, "__qualname__": name})
    setattr(sys.modules[module], name, cls)
    return cls


def unknown(manifest, protocol):
    """What training frameworks put beside the tensors: objects that no table can list."""
    state = {"backbone." + k: v for k, v in filled_state("unknown.").items()}
    attributes = own_class("pytorch_lightning.utilities.parsing", "AttributeDict", dict)
    config = own_class("omegaconf.dictconfig", "DictConfig", __setstate__=lambda self, state: self.__dict__.update(state))()
    config.__dict__ = {"_content": {"lr": 0.1, "extra": values("unread", (2,))}, "_metadata": None}
    pair = own_class("some.program", "Pair", tuple, __getnewargs_ex__=lambda self: (((1, 2),), {"named": 3}) if len(self) else ((), {}),
                     __new__=lambda cls, items=(), named=0: tuple.__new__(cls, items))((1, 2))
    numbers = own_class("some.program", "Numbers", list)([1, 2])
    member = enum.Enum("Precision", {"HALF": 16, "FULL": 32}, module="some.program")
    sys.modules["some.program"].Precision = member
    scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(small_net().parameters(), lr=0.1), 1)
    data = {"epoch": 3, "pytorch-lightning_version": "2.4.0", "torch_version": torch.torch_version.TorchVersion("2.11.0"), "state_dict": state,
            "hyper_parameters": attributes(lr=0.5, norm=functools.partial(torch.nn.LayerNorm, eps=1e-6), size=96), "cfg": config,
            "saved": datetime.datetime(2026, 1, 2), "scheduler": scheduler, "class": torch.nn.GELU, "numbers": numbers,
            "callbacks": {own_class("some.program", "Early"): {"best": 1}}, "by_member": {member.HALF: 1, member.FULL: 2},
            "function": torch.nn.functional.gelu, "wrapped": collections.defaultdict(functools.partial(int, 0), {"a": 1})}
    if protocol >= 4:
        data["pair"] = pair
    file = f"unknown_p{protocol}.pth"
    torch.save(data, path(file), pickle_protocol=protocol)
    manifest.add(file, {"state_dict." + k: (v, k.replace("backbone.", "unknown.", 1), None) for k, v in state.items()}, UNKNOWN_SETTINGS(protocol), unread=UNKNOWN(protocol))


def UNKNOWN_SETTINGS(protocol):
    key = "builtins" if protocol > 2 else "__builtin__"
    settings = {"epoch": 3, "pytorch-lightning_version": "2.4.0", "torch_version": {"class": "torch.torch_version.TorchVersion"},
                "hyper_parameters": {"lr": 0.5, "norm": {"class": "functools.partial"}, "size": 96}, "cfg": {"class": "omegaconf.dictconfig.DictConfig"},
                "saved": {"class": "datetime.datetime"}, "scheduler": {"class": "torch.optim.lr_scheduler.StepLR"},
                "class": "torch.nn.modules.activation.GELU", "numbers": [1, 2], "callbacks": {"some.program.Early": {"best": 1}},
                "by_member": {"a some.program.Precision #0": 1, "a some.program.Precision #1": 2}, "function": "torch._C._nn.gelu", "wrapped": {"a": 1}}
    if protocol >= 4:
        settings["pair"] = {"class": "some.program.Pair"}
    return settings


def UNKNOWN(protocol):
    rows = ["torch_version (torch.torch_version.TorchVersion)", "hyper_parameters (pytorch_lightning.utilities.parsing.AttributeDict)",
            "hyper_parameters.norm (functools.partial)", "cfg (omegaconf.dictconfig.DictConfig)", "saved (datetime.datetime)",
            "scheduler (torch.optim.lr_scheduler.StepLR)", "class (torch.nn.modules.activation.GELU)", "numbers (some.program.Numbers)",
            "function (torch._C._nn.gelu)"]
    return rows + (["pair (some.program.Pair)"] if protocol >= 4 else [])

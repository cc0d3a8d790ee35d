"""The schedules of make_program.py, written out: one value for each step."""
import math

from program_data import TRAIN


class Schedules:
    def __init__(self, settings, inputs):
        number = lambda name: float(settings[name])  # noqa: E731
        self.steps, self.batch = inputs.steps, inputs.batch
        self.epoch = [step * self.batch // TRAIN for step in range(self.steps)]
        scale = self.batch / 256 if settings["optim.lr_rule"] == "linear_256" else math.sqrt(self.batch / 1024)
        warmup, peak = self.duration(settings["optim.warmup"]), number("optim.lr") * scale
        rising = [peak * step / (warmup - 1) for step in range(warmup)]  # linspace, both ends included
        self.lr = rising + self.half_cosine(peak, number("optim.min_lr"), self.steps - warmup)
        self.weight_decay = self.half_cosine(number("optim.weight_decay"), number("optim.weight_decay_end"), self.steps)
        if "teacher.momentum" in settings:
            self.momentum = self.half_cosine(number("teacher.momentum"), number("teacher.momentum_end"), self.steps)
        if "teacher.temp" in settings:
            self.temp = self.temperature(settings, "teacher.")
            self.patch_temp = self.temperature(settings, "teacher.patch_") if "teacher.patch_temp" in settings else None
        if "optim.freeze_last_layer" in settings:
            freeze = settings["optim.freeze_last_layer"]
            until = [epoch if freeze.endswith("ep") else step for step, epoch in enumerate(self.epoch)]
            self.frozen = [moment < int(freeze[:-2]) for moment in until]
        if "gram.weight" in settings:
            gram = {name: int(settings[f"gram.{name}"].removesuffix("it")) for name in ("start", "ramp", "first", "every", "max_updates")}
            shares = [(1 - math.cos(math.pi * i / (gram["ramp"] - 1))) / 2 for i in range(gram["ramp"])]
            shares = ([0.0] * gram["start"] + shares + [1.0] * self.steps)[:self.steps]
            self.gram_weight = [number("gram.weight") * share for share in shares]
            begin, end = number("loss.local_weight"), number("loss.local_weight_end")
            self.local_weight = [begin + (end - begin) * share for share in shares]
            self.gram_refreshes = [gram["first"] + gram["every"] * i for i in range(1 + gram["max_updates"])]
        else:
            self.gram_weight, self.local_weight, self.gram_refreshes = [0.0] * self.steps, [1.0] * self.steps, []

    def duration(self, text):
        return int(text.removesuffix("it")) if text.endswith("it") else int(text.removesuffix("ep")) * TRAIN // self.batch

    @staticmethod
    def half_cosine(base, final, steps):
        """Would reach `final` one step behind the last."""
        return [final + 0.5 * (base - final) * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]

    def temperature(self, settings, prefix):
        start, end = float(settings[prefix + "warmup_temp"]), float(settings[prefix + "temp"])
        by_epoch = settings["teacher.temp_changes"] == "epoch"
        warmup = int(settings["teacher.warmup_temp_epochs"]) * (1 if by_epoch else TRAIN // self.batch)
        values = [start + (end - start) * i / (warmup - 1) for i in range(warmup)] + [end] * self.steps
        return [values[moment] for moment in (self.epoch if by_epoch else range(self.steps))]

#!/usr/bin/env python3
"""The rules of the house, see docs/architecture.md: what is public, how large a folder and a file may be, what may include what.

  layout_test.py SOURCE BUILD           exit code 1 with a line FILE:LINE for each finding

BUILD is a configured build folder: CMake says there which module links which (modules.txt).
"""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
from cpp_declarations import declarations  # noqa: E402
from module_graph import ModuleGraph  # noqa: E402

ROOMS = ("src", "data_pipeline", "include")
MOST_PAIRS = 15  # a source and its header count once
MOST_LINES = 400

# What another project may link. A new one is a promise: add it here with what it is for.
PUBLIC = {
    "base/error.hpp": "what is thrown",
    "comm/communicator.hpp": "collectives, in the signatures of losses and embedding",
    "comm/mpi_communicator.hpp": "ranks of an MPI program",
    "comm/runtime.hpp": "start and end of MPI",
    "comm/self_communicator.hpp": "one process",
    "data_pipeline/dataset.hpp": "a packed folder",
    "data_pipeline/image.hpp": "encoded bytes and pixels",
    "eval/embedding.hpp": "images of a data set to features",
    "eval/pretrained_backbone.hpp": "weights to a network",
    "loss/byol_loss.hpp": "loss",
    "loss/centre.hpp": "running centre of dino_loss and patch_loss",
    "loss/coding_rate.hpp": "loss",
    "loss/dino_loss.hpp": "loss",
    "loss/gram.hpp": "loss",
    "loss/koleo.hpp": "loss",
    "loss/loss_figures.hpp": "numbers of dino_loss and patch_loss for a log",
    "loss/match.hpp": "loss",
    "loss/nt_xent.hpp": "loss",
    "loss/patch_loss.hpp": "loss",
    "loss/scores.hpp": "logits, or their factors, of dino_loss and patch_loss",
    "loss/sigreg.hpp": "loss",
    "loss/sinkhorn.hpp": "centre of dino_loss and patch_loss",
    "loss/supervised.hpp": "loss",
}

# Where a rule is broken on purpose: (rule, file or folder) -> why. One that is no longer needed is a finding too.
EXCEPTIONS = {
    ("module", "src/kernels/cpu_level.cpp"): "throws the classes of dinoxx/base/error.hpp, which need no library; base itself links cpu_level",
}

# Made while building, so that no file of the project has this name.
GENERATED = {"git_version.hpp"}

STANDARD_C = {"assert.h", "errno.h", "math.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}
# A name that is no UTF-8 makes nlohmann's own writer throw, at the end of all work.
JSON_WRITER = "src/base/json_text.cpp"
DUMP = re.compile(r"\.dump\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


class Layout:
    def __init__(self, source, build):
        self.source = pathlib.Path(source)
        self.graph = ModuleGraph(pathlib.Path(build) / "modules.txt")
        self.files = sorted(self.sources())
        self.known = set(self.files)
        self.findings, self.used = [], set()

    def sources(self):
        for room in ROOMS:
            for folder, _, names in os.walk(self.source / room):
                for name in names:
                    if name.endswith((".cpp", ".hpp", ".h", ".cu", ".cuh", ".inc")):
                        yield os.path.relpath(os.path.join(folder, name), self.source)

    def text(self, path):
        return (self.source / path).read_text(encoding="utf-8")

    def found(self, rule, path, line, what):
        if (rule, path) in EXCEPTIONS:
            self.used.add((rule, path))
        else:
            self.findings.append((path, line, f"{what} [{rule}]"))

    def includes(self, path):
        for number, line in enumerate(self.text(path).split("\n"), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1), match.group(2)

    def resolve(self, path, name):
        """The file that #include "name" in `path` means: beside it, or below include, src or the root, as the compiler looks."""
        beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
        for candidate in (beside, f"include/{name}", f"src/{name}", name):
            if candidate in self.known:
                return candidate
        return None

    def public_headers(self):
        headers = [path for path in self.files if path.startswith("include/")]
        for path in headers:
            name = path.removeprefix("include/dinoxx/")
            if name not in PUBLIC:
                self.found("public", path, 1, "a header in include/ that is not in the list of tests/layout_test.py: put it beside its source, or promise it there")
            for number, quoted, angled in self.includes(path):
                standard = angled and ("/" not in angled and "." not in angled or angled in STANDARD_C)
                if not standard and angled != "ATen/core/Tensor.h" and not (quoted and f"include/{quoted}" in self.known):
                    self.found("public-include", path, number, f"a public header includes {quoted or angled}: the standard library, ATen/core/Tensor.h and public headers are allowed")
            for declaration in declarations(self.text(path)):
                if declaration.kind != "other" and not declaration.documented:
                    self.found("documented", path, declaration.line, f"{declaration.kind} {declaration.name} without a comment ///: say shapes, units, errors")
        for name in PUBLIC:
            if f"include/dinoxx/{name}" not in self.known:
                self.found("public", "tests/layout_test.py", 1, f"the list of public headers names {name}, which is not in include/dinoxx")

    def sizes(self):
        folders = {}
        for path in self.files:
            folder, name = os.path.split(path)
            folders.setdefault(folder, set()).add(name.split(".")[0])
            lines = self.text(path).count("\n")
            if lines > MOST_LINES:
                self.found("lines", path, MOST_LINES + 1, f"{lines} lines, at most {MOST_LINES}: one idea a file")
        for folder, stems in sorted(folders.items()):
            if len(stems) > MOST_PAIRS:
                self.found("pairs", folder, 1, f"{len(stems)} pairs of source and header, at most {MOST_PAIRS}: make folders by subject")

    def modules(self):
        for path in self.files:
            module = self.graph.module_of(path)
            if not module:
                self.found("module", path, 1, "a file of no module: CMake has no target in its folder")
                continue
            allowed = self.graph.reachable(module) | {module}
            for number, quoted, _ in self.includes(path):
                if not quoted or os.path.basename(quoted) in GENERATED:
                    continue
                target = self.resolve(path, quoted)
                if not target:
                    self.found("module", path, number, f"includes \"{quoted}\", which is neither beside it nor below include, src or the root")
                elif self.graph.module_of(target) not in allowed:
                    other = self.graph.module_of(target) or "no module"
                    self.found("module", path, number, f"{module} includes {target} of {other}, which it does not link")

    def json_is_written_by_one_function(self):
        for path in self.files:
            for number, line in enumerate(self.text(path).split("\n"), 1):
                if DUMP.search(line) and path != JSON_WRITER:
                    self.found("json", path, number, "writes JSON by dump(), which throws for text that is no UTF-8: use json_text() of base/json_text.hpp")

    def check(self):
        self.json_is_written_by_one_function()
        self.public_headers()
        self.sizes()
        self.modules()
        for rule, path in sorted(set(EXCEPTIONS) - self.used):
            self.findings.append(("tests/layout_test.py", 1, f"the exception for {path} is no longer needed [{rule}]"))
        return sorted(self.findings)


def main():
    layout = Layout(sys.argv[1], sys.argv[2])
    if len(layout.files) < 100 or len(layout.graph.names) < 10:
        sys.exit(f"expected the sources of the project, found {len(layout.files)} files and {len(layout.graph.names)} modules. Check the two paths.")
    findings = layout.check()
    for path, line, what in findings:
        print(f"{path}:{line}: {what}")
    print(f"{len(layout.files)} files, {len(layout.graph.names)} modules: {len(findings)} findings, {len(EXCEPTIONS)} exceptions.")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()

"""Writes what completes a stand-in library: make_stubs.py REAL.so OUT.cpp OUT.map OBJECT...

Every symbol that the real library exports and the objects do not define becomes a function that notes its name and returns 0, so that all other libraries of
the wheels find what they are linked with. The version script gives all symbols the version that the wheels' libraries ask for. For libcuda.so.1, which belongs to
the driver and is no part of the wheels, REAL is the library that calls it: the symbols cu* that this one leaves undefined.
"""

import re
import subprocess
import sys
from pathlib import Path

# Answers other than 0 that LibTorch reads. cuDNN 9.10 has no attention for Hopper that LibTorch would prefer to its own kernels.
ANSWERS = {"cudnnGetVersion": "91000", "cudnnGetCudartVersion": "13000"}
LINKERS_OWN = {"_init", "_fini", "_edata", "_end", "__bss_start"}
TEXTS = {"cudnnGetErrorString", "cudnnGetLastErrorString", "cublasGetStatusString", "cublasGetStatusName", "cublasLtGetStatusString", "cublasLtGetStatusName"}


def symbols(path, which):
    listed = subprocess.run(["nm", *which, str(path)], check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1].split("@")[0] for line in listed.splitlines() if line.strip())
    return {name for name in names if re.fullmatch(r"[A-Za-z_]\w*", name)}


def main():
    real, source, version_script, *objects = sys.argv[1:]
    if "caffe2_nvrtc" in real:
        wanted = {name for name in symbols(real, ["-D", "--undefined-only"]) if re.match(r"cu[A-Z]", name)}
        script = "{ global: *; };\n"
    else:
        wanted = symbols(real, ["-D", "--defined-only"])
        script = "%s { global: *; };\n" % Path(real).name
    if not wanted:
        sys.exit("make_stubs.py: no symbols in %s" % real)
    defined = set()
    for path in objects:
        defined |= symbols(path, ["--defined-only", "--extern-only"])
    lines = ["// Written by make_stubs.py.", '#include "device/counters.hpp"', 'extern "C" {']
    for name in sorted(wanted - defined - LINKERS_OWN):
        if name in TEXTS:
            lines.append('const char* %s() { return "stand-in"; }' % name)
        else:
            lines.append('long %s() { fakegpu::note_unanswered("%s"); return %s; }' % (name, name, ANSWERS.get(name, "0")))
    lines.append('}  // extern "C"')
    Path(source).write_text("\n".join(lines) + "\n")
    Path(version_script).write_text(script)


if __name__ == "__main__":
    main()

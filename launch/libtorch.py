"""Downloads and unpacks LibTorch for launch/setup.sh: libtorch.py cpu|cuda WHEELS.TXT CACHE.

The result is CACHE/torch-VERSION-KIND with torch/ and nvidia/ side by side. Its file `complete` is written last, before the folder gets its name: it names
the wheels with their checksums, every library with its size and the number of headers, so that a later run sees both another version and a damaged folder.
Python is needed at set-up alone, and only its standard library and pip.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

# pip takes the tags literally when a platform is given: name all that the wheels carry, so that the result does not depend on the local Python.
PLATFORMS = ["manylinux_2_%d_x86_64" % minor for minor in (28, 27, 25, 24, 18, 17, 12, 5)] + ["manylinux%s_x86_64" % tag for tag in ("2014", "2010", "1")]
TAGS = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none"]
TAGS += [word for platform in PLATFORMS for word in ("--platform", platform)]
ATTEMPTS = int(os.environ.get("DINOXX_SETUP_ATTEMPTS", "4"))


def say(text):
    print("setup: " + text, flush=True)


def read_wheels(path, kind):
    wheels = []
    for line in Path(path).read_text().splitlines():
        fields = line.split()
        if fields and not line.startswith("#") and (fields[0] == "cpu" or fields[0] == kind):
            wheels.append(tuple(fields[1:4]))
    return wheels


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_wanted(name, kind):
    """A program in C++ needs libraries, headers and licences; the CPU part has no use for the CUDA and Python libraries of the torch wheel."""
    if name.startswith("torch/"):
        if not name.startswith(("torch/lib/", "torch/include/")):
            return False
        unused = {"libtorch_python.so", "libtorch.so", "libshm.so"}
        if kind == "cpu":
            unused |= {"libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_nvshmem.so"}
        return os.path.basename(name) not in unused
    return name.startswith("nvidia/") or ".dist-info/" in name


def record(wheels, root):
    lines = ["wheel %s %s %s" % wheel for wheel in wheels]
    for path in sorted(root.glob("**/lib/*")):
        if path.is_file():
            lines.append("file %d %s" % (path.stat().st_size, path.relative_to(root)))
    lines.append("headers %d" % sum(1 for path in (root / "torch" / "include").rglob("*.h")))
    return "\n".join(lines) + "\n"


def is_complete(wheels, root):
    try:
        text = (root / "complete").read_text()
    except OSError:
        return False
    return text == record(wheels, root)


def find_download(folder, checksum):
    for path in folder.glob("*.whl"):
        if sha256(path) == checksum:
            return path
        path.unlink()  # torn by an interruption, or of another version
    return None


def download(wheel, folder):
    """One wheel in a folder of its own, so that an interruption costs no other; pip itself checks the hash as well."""
    name, version, checksum = wheel
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    path = find_download(folder, checksum)
    if path:
        return path
    scratch = folder / "tmp"  # pip's own files of an interrupted run must not pile up in /tmp
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    requirement = folder / "requirement.txt"
    requirement.write_text("%s==%s --hash=sha256:%s\n" % wheel)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "--require-hashes", *TAGS]
    command += ["--dest", str(folder), "--requirement", str(requirement)]
    for attempt in range(1, ATTEMPTS + 1):
        say("downloading %s %s" % (name, version))
        status = subprocess.run(command, env=dict(os.environ, TMPDIR=str(scratch))).returncode
        path = find_download(folder, checksum)
        if status == 0 and path:
            return path
        if attempt < ATTEMPTS:
            say("that failed; trying again in %d s (%d of %d)" % (5 * attempt, attempt + 1, ATTEMPTS))
            time.sleep(5 * attempt)
    sys.exit("setup: could not download %s %s with SHA-256 %s. Is the package index reachable (pip config list)? Run this again: what is already here is kept." % wheel)


def unpack(wheel_path, kind, target):
    with zipfile.ZipFile(wheel_path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and is_wanted(info.filename, kind):
                archive.extract(info, target)  # checks the CRC of each file


def main():
    kind, wheels_path, cache = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    wheels = read_wheels(wheels_path, kind)
    version = dict((name, version) for name, version, _ in wheels)["torch"]
    root = cache / ("torch-%s-%s" % (version, kind))
    if is_complete(wheels, root):
        say("LibTorch: %s (complete)" % root)
        return
    if root.exists():
        say("%s is incomplete or of another version; making it anew" % root)
    partial = cache / (root.name + ".partial")
    downloads = cache / (root.name + ".downloads")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for wheel in wheels:
        path = download(wheel, downloads)
        say("unpacking %s" % path.name)
        unpack(path, kind, partial)
    (partial / "complete").write_text(record(wheels, partial))
    os.sync()
    shutil.rmtree(root, ignore_errors=True)
    partial.rename(root)
    shutil.rmtree(downloads)
    say("LibTorch: %s" % root)


if __name__ == "__main__":
    main()

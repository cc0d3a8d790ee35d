#!/usr/bin/env bash
# cmake --install gives a folder that runs from another place, with an empty environment, on its own LibTorch.
#   install_test.sh BUILD_DIR CMAKE
set -euo pipefail
build=$1
cmake=$2
work=$(mktemp -d "$build/install_test.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/first" >/dev/null
mkdir "$work/elsewhere"
mv "$work/first" "$work/elsewhere/moved"
moved=$work/elsewhere/moved
cd /
env -i "PATH=$PATH" "$moved/bin/dinoxx" --version
env -i "PATH=$PATH" "$moved/bin/dinoxx" --help >/dev/null
foreign=$(env -i "PATH=$PATH" ldd "$moved/bin/dinoxx" | grep -E 'libtorch|libc10|libgomp|libcudart|libcupti|libhdf5|libfmt|libboost|libpng|libjpeg' | grep -v "$moved" || true)
[ -z "$foreign" ] || { echo "FAILED: these do not come from the moved folder:"; echo "$foreign"; exit 1; }
[ -e "$moved/share/dinoxx/configs/quickstart.cfg" ] || { echo "FAILED: share/dinoxx/configs is missing"; exit 1; }
[ ! -e "$moved/include" ] && [ ! -e "$moved/lib/libdinoxx.a" ] && [ ! -e "$moved/lib/cmake" ] || { echo "FAILED: files for developers are in the default install"; exit 1; }
DINOXX='' bash "$moved/share/dinoxx/launch/local.sh" -n 1 --version
echo ok

#!/usr/bin/env bash
# Everything that dinoxx needs to be built: Debian packages and LibTorch. Idempotent: a second run checks and does nothing.
#
#   launch/setup.sh [--cuda | --cpu] [--no-apt] [--tests]
#
#   --cuda     the full set of LibTorch wheels (GPU build; 2.3 GB to download, 3.7 GB unpacked)
#   --cpu      the CPU part (0.55 GB, 0.6 GB)
#              Without either: the full set where nvidia-smi lists a GPU and there is nvcc, else the CPU part
#   --no-apt   install no Debian package, only name what is missing
#   --tests    also what tests look at pages with, tidy and a browser without a window (65 MB to download), clang-format and clang-tidy
#              (48 MB), and Slurm and sshd, which tests start on hosts of their own (6 MB; not where systemd would start them on this machine, too);
#              without them these tests are left out
#
#   DINOXX_CACHE  where LibTorch is kept for all checkouts, by default ~/.cache/dinoxx
#   TORCH_ROOT    another LibTorch (a folder that holds torch/lib and torch/include): nothing is downloaded
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kind=auto
use_apt=yes
tests=no
for argument in "$@"; do
  case $argument in
    --cuda) kind=cuda ;;
    --cpu) kind=cpu ;;
    --no-apt) use_apt=no ;;
    --tests) tests=yes ;;
    -h | --help) sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "setup: unknown option '$argument'; known are --cuda, --cpu, --no-apt and --tests" >&2; exit 2 ;;
  esac
done
say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

# ---------------------------------------------------------------- system packages
# Debian package, and how to see without dpkg (modules, Spack, another distribution) that the thing is there: cmd:NAME, pc:PKG-CONFIG|..., h:HEADER, py:MODULE
packages="
g++                            cmd:c++
cmake                          cmd:cmake
ninja-build                    cmd:ninja
ccache                         cmd:ccache
mold                           cmd:mold
pkg-config                     cmd:pkg-config
git                            cmd:git
openmpi-bin                    cmd:mpirun
libopenmpi-dev                 cmd:mpicc
libhdf5-dev                    pc:hdf5-serial|hdf5
hdf5-tools                     cmd:h5ls
libboost-program-options-dev   h:boost/program_options.hpp
libfmt-dev                     pc:fmt
libgtest-dev                   pc:gtest
libgmock-dev                   pc:gmock
libbenchmark-dev               pc:benchmark
libjpeg-dev                    pc:libjpeg
libpng-dev                     pc:libpng
nlohmann-json3-dev             pc:nlohmann_json
librandom123-dev               h:Random123/philox.h
python3                        cmd:python3
python3-pip                    py:pip
ca-certificates                any:
util-linux                     cmd:flock
"
# Not needed by anything but some tests.
test_packages="
tidy                           cmd:tidy
chromium-headless-shell        cmd:chromium-headless-shell|chromium|chromium-browser|google-chrome
clang-format                   cmd:clang-format
clang-tidy                     cmd:clang-tidy
iproute2                       cmd:ip
openssh-client                 cmd:ssh
"
# The same, of packages that start a service, or install another one that does. The tests need the programs and no service.
service_packages="
openssh-server                 cmd:sshd
munge                          cmd:munged
slurmctld                      cmd:slurmctld
slurmd                         cmd:slurmd
slurm-client                   cmd:srun
"
installed_by_dpkg() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
provided_otherwise() {
  local how=${1%%:*} names=${1#*:} name
  for name in ${names//|/ }; do
    case $how in
      cmd) command -v "$name" >/dev/null && return 0 ;;
      pc) pkg-config --exists "$name" 2>/dev/null && return 0 ;;
      h) printf '#include <%s>\n' "$name" | c++ -std=c++17 -fsyntax-only -x c++ - 2>/dev/null && return 0 ;;
      py) python3 -c "import $name" 2>/dev/null && return 0 ;;
    esac
  done
  [ "$how" = any ]
}
find_missing() {
  missing=()
  while read -r package probe; do
    [ -n "$package" ] || continue
    if command -v dpkg-query >/dev/null && installed_by_dpkg "$package"; then continue; fi
    # libjpeg-dev, for one, is a virtual name that libjpeg62-turbo-dev alone satisfies
    provided_otherwise "$probe" || missing+=("$package")
  done <<<"$1"
}
find_missing "$packages"
for_tests=()
services=()
if [ "$tests" = yes ]; then
  needed=("${missing[@]+"${missing[@]}"}")
  find_missing "$test_packages"
  for_tests=("${missing[@]+"${missing[@]}"}")
  find_missing "$service_packages"
  if [ ${#missing[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
    say "without ${missing[*]} the tests that need them are skipped. They are not installed here, as systemd would start them."
  else
    services=("${missing[@]+"${missing[@]}"}")
    for_tests+=("${missing[@]+"${missing[@]}"}")
  fi
  missing=("${needed[@]+"${needed[@]}"}")
fi

if [ ${#missing[@]} -gt 0 ] || [ ${#for_tests[@]} -gt 0 ]; then
  as_root=()
  can_install=no
  if [ "$use_apt" = yes ] && command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then
      can_install=yes
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      can_install=yes
      as_root=(sudo)
    elif command -v sudo >/dev/null && [ -t 0 ]; then
      say "installing packages needs root; sudo may ask for your password"
      can_install=yes
      as_root=(sudo)
    fi
  fi
  if [ $can_install = yes ]; then
    say "installing ${missing[*]} ${for_tests[*]}"
    export DEBIAN_FRONTEND=noninteractive
    for attempt in 1 2 3 4 5; do  # the lists have a lock of their own, which DPkg::Lock::Timeout does not wait for
      if ${as_root[@]+"${as_root[@]}"} apt-get -o DPkg::Lock::Timeout=600 -qq update; then break; fi
      [ "$attempt" = 5 ] && say "apt-get update failed; going on with the lists that are there"
      sleep $((attempt * 3))
    done
    apt_install() { ${as_root[@]+"${as_root[@]}"} apt-get -o DPkg::Lock::Timeout=600 -qq -y --no-install-recommends install "$@" >/dev/null; }
    if [ ${#missing[@]} -gt 0 ]; then
      apt_install "${missing[@]}" || die "apt-get could not install: ${missing[*]}. See its message above."
    fi
    policy=/usr/sbin/policy-rc.d # Debian's way to say that an installation starts no service
    end_policy() { ${as_root[@]+"${as_root[@]}"} rm -f $policy; }
    if [ ${#services[@]} -gt 0 ] && [ ! -e $policy ]; then
      trap end_policy EXIT
      printf '#!/bin/sh\nexit 101\n' | ${as_root[@]+"${as_root[@]}"} tee $policy >/dev/null
      ${as_root[@]+"${as_root[@]}"} chmod 755 $policy
    fi
    for package in ${for_tests[@]+"${for_tests[@]}"}; do
      apt_install "$package" || say "without $package the tests that need it are skipped"
    done
    [ -z "$(trap -p EXIT)" ] || end_policy
    trap - EXIT
  elif [ ${#missing[@]} = 0 ]; then
    say "without ${for_tests[*]} the tests that need them are skipped"
  else
    echo "setup: not found here: ${missing[*]}" >&2
    echo "setup: these are the names of Debian 12; install them as root (apt-get install ${missing[*]})," >&2
    echo "setup: or load what your site offers (module load openmpi hdf5 boost ..., spack load ...) so that PATH, PKG_CONFIG_PATH and CPATH show them, and run this again." >&2
    # without these there is nothing to go on with; the rest CMake names when it looks for it in its own ways (CMAKE_PREFIX_PATH)
    for needed in python3:python3 flock:util-linux; do
      command -v "${needed%%:*}" >/dev/null || die "${needed%%:*} is needed for the next step (package ${needed##*:})."
    done
  fi
fi

# ---------------------------------------------------------------- LibTorch
if [ -n "${TORCH_ROOT:-}" ]; then
  [ -e "$TORCH_ROOT/torch/lib/libtorch_cpu.so" ] || die "TORCH_ROOT=$TORCH_ROOT: expected torch/lib/libtorch_cpu.so in it. Unset TORCH_ROOT to take the wheel."
  say "LibTorch: $TORCH_ROOT (from TORCH_ROOT)"
  exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] || die "the LibTorch wheel is for Linux x86_64, this is $(uname -sm). Set TORCH_ROOT to a LibTorch of your own."
cache=${DINOXX_CACHE:-$HOME/.cache/dinoxx}
mkdir -p "$cache" || die "cannot create $cache. Set DINOXX_CACHE to a folder that you can write."
if [ $kind = auto ]; then
  kind=cpu
  if command -v nvidia-smi >/dev/null && [[ $(nvidia-smi -L 2>/dev/null) == *GPU* ]]; then
    if command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
      kind=cuda
      say "there is a GPU: LibTorch with CUDA is taken (--cpu takes the CPU part)"
    else
      say "there is a GPU, but no nvcc to build for it: LibTorch without CUDA is taken, and dinoxx will not use the GPU."
      say "Install the CUDA toolkit 13 (nvcc on the PATH or under CUDA_HOME) and run this again."
    fi
  fi
fi
exec 9>"$cache/setup.lock"
flock -n 9 || { say "another set-up is at work in $cache, waiting for it"; flock 9; }
python3 "$here/libtorch.py" "$kind" "$here/wheels.txt" "$cache"

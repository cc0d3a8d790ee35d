#!/usr/bin/env bash
# From nothing to a trained and evaluated model: set-up, build, pack, train on two ranks (with GPUs: one or two, a GPU each), evaluate.
#
#   launch/quickstart.sh [IMAGE_FOLDER]
#
#   IMAGE_FOLDER  JPEG or PNG images, in class folders for a k-NN table; without it, a self-drawn set of textured objects
#
# Run it again and it goes on where it stopped. QUICKSTART_OUT names another output folder than run/quickstart.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case ${1:-} in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
[ $# -le 1 ] || die "expected one image folder at most, found $# arguments"
images=${1:-}
[ -z "$images" ] || [ -d "$images" ] || die "'$images' is not a folder"
if [ "$installed" = no ]; then
  build_release dinoxx
fi
program=$(dinoxx_program)

name=quickstart
source_options=(--toy textures)
if [ -n "$images" ]; then
  images=$(cd "$images" && pwd)
  name=quickstart-$(basename "$images")
  source_options=(--from-folder "$images" --val-fraction 0.1 --test-fraction 0.2)
fi
work=$PWD
[ "$installed" = yes ] || work=$root
run=${QUICKSTART_OUT:-$work/run/$name}
data=$run-data

if [ -e "$data/manifest.json" ]; then
  echo "quickstart: data: $data (kept from an earlier run)"
else
  "$program" pack "${source_options[@]}" --out "$data"
fi
choose_ranks "$program"
"$launch_dir/local.sh" -n "$ranks" train --train.device "$device" --config "$root/configs/quickstart.cfg" --data "$data" --out "$run" --resume auto --train.stop_on_collapse yes
if tr -d ' \n' <"$data/manifest.json" | grep -q '"label_columns":\[\]'; then
  echo "quickstart: these images have no labels, so there is nothing to score: put each class into a folder of its own for a k-NN table"
else
  "$launch_dir/local.sh" -n "$ranks" eval --device "$device" --checkpoint "$run" --data "$data" --protocol knn --out "$run/eval"
fi
echo
echo "quickstart: run folder: $run (config.cfg, metrics.jsonl, report.html, checkpoints/, eval/results.json, eval/report.html)"

#!/bin/bash
# A short real run of each recipe for small data on one rank (two students: on two), and a table of what to expect of it: loss, effective rank, k-NN, alarm (docs/curves.md).
#
#   tests/bench/curves.sh OUT DATA_32 DATA_64 DATA_224 [RECIPE...]
#
# OUT: folder of the runs and of table.md. A run that is there is not made again. DATA_*: packed images of about so many pixels (- leaves a size out); k-NN where they have
# labels. RECIPE: names of configs without .cfg (default: all *_32px, *_64px and *_224px). Each run is as long as MINUTES (default 2.5) allow, by the rate of its first
# steps, or STEPS long. BATCH_32, BATCH_64, BATCH_224: images of a step (default 32, 32, 16); the rate is the one that the file has at its own batch. MORE_32, MORE_64, MORE_224: more options of the vision transformers, to make
# them smaller; MORE_CONV: of the ResNets. Distillation learns from the dinov2 run beside it. DINOXX: the program.
set -euo pipefail
out=${1:?usage: curves.sh OUT DATA_32 DATA_64 DATA_224 [RECIPE...]}
declare -A data_of=([32]=${2:?} [64]=${3:?} [224]=${4:?})
shift 4
here=$(cd "$(dirname "$0")" && pwd)
configs=$here/../../configs
dinoxx=${DINOXX:-$here/../../build/release/bin/dinoxx}
minutes=${MINUTES:-2.5}
export OMP_NUM_THREADS=1
recipes=("$@")
if [ $# -eq 0 ]; then
  for size in 32 64 224; do
    for method in dino ibot dinov2 dinov3 distill distill_students byol fastsiam simclr simdino simdinov2 lejepa visreg vicreg barlow_twins swav emp_ssl; do
      [ ! -e "$configs/${method}_${size}px.cfg" ] || recipes+=("${method}_${size}px")
    done
  done
fi
mkdir -p "$out"

train() { # train FOLDER OPTIONS...: two ranks for two students, else one
  local program=("$dinoxx")
  case $recipe in distill_students*) program=(env "DINOXX=$dinoxx" "$here/../../launch/local.sh" -n 2) ;; esac
  "${program[@]}" train --data "$data" --out "$@" --train.precision bf16 --train.batch_size "$batch" >"$out/log" 2>&1 || { tail -5 "$out/log" >&2; return 1; }
}
for recipe in "${recipes[@]}"; do
  size=${recipe##*_}
  size=${size%px}
  data=${data_of[$size]} batch=BATCH_$size more=MORE_$size run=$out/$recipe
  if [ "$data" = - ] || [ -e "$run.done" ]; then continue; fi
  case $size in 224) batch=${!batch:-16} ;; *) batch=${!batch:-32} ;; esac
  more=${!more:-}
  ! grep -q 'arch = resnet' "$configs/$recipe.cfg" || more=${MORE_CONV:-}
  evaluate=yes
  ! tr -d ' \n' <"$data/manifest.json" | grep -q '"label_columns":\[\]' || evaluate=no
  options=(--config "$configs/$recipe.cfg" --checkpoint.every 0)
  # shellcheck disable=SC2206  # several options, split at spaces
  options+=($more)
  case $recipe in distill*) options+=(--teacher.distill "$out/dinov2_${size}px") ;; esac
  case $recipe in distill_students*) options+=(--students "$configs/students/vit_tiny.cfg:1,$configs/students/vit_small.cfg:1") ;; esac
  rm -rf "$run" "$run.probe"
  # three steps of warm-up for the rate of images; they leave the network nearly as it was
  every=0
  [ "$evaluate" = no ] || every=3it
  train "$run.probe" "${options[@]}" --train.length 3it --train.log_every 1 --optim.warmup 3it --eval.every $every || continue
  rate=$(find "$run.probe" -name metrics.jsonl -exec grep -oh '"images_per_s":[0-9.]*' {} + | tail -1 | cut -d: -f2)
  steps=${STEPS:-$(awk -v m="$minutes" -v r="$rate" -v b="$batch" 'BEGIN {s = int(60 * m * r / b); print (s < 20 ? 20 : s)}')}
  [ "$evaluate" = no ] || every=${steps}it
  own=$(sed -n 's/^batch_size = \([0-9]*\).*/\1/p' "$configs/$recipe.cfg")
  resolved=$(find "$run.probe" -name config.cfg | head -1)
  lr=$(awk -v b="$batch" -v o="$own" -F ' = ' '$1 == "lr" {lr = $2} $1 == "lr_rule" {rule = $2} END {print lr * (rule ~ "^linear_256" ? o / b : sqrt(o / b))}' "$resolved")
  train "$run" "${options[@]}" --train.length "${steps}it" --train.log_every $(((steps + 59) / 60)) --optim.lr "$lr" --optim.warmup $((steps / 10))it --eval.every "$every" || continue
  touch "$run.done"
  echo "$recipe: $steps steps of $batch"
done

python3 - "$out" "${recipes[@]}" <<'END' | tee "$out/table.md"
import json, pathlib, statistics, sys

def lines(path):
    return [json.loads(line) for line in open(path)] if path.exists() else []

def mean(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else float("nan")

def knn(rows):
    scores = [100 * row["eval"]["accuracy"] for row in rows if "eval" in row]
    return f"{scores[-1]:.1f}" if scores else ""

def curve(rows, key, columns=16):
    n = min(columns, len(rows))
    values = [mean(rows[i * len(rows) // n:(i + 1) * len(rows) // n], key) for i in range(n)]
    low, high = min(values), max(values)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (v - low) / (high - low)) if high > low else 0] for v in values)

print("| recipe | steps x images | loss: start, middle, end | loss | effective rank: start, end | k-NN: untrained, end | alarm | minutes of training |\n|---|---|---|---|---|---|---|---|")
out = pathlib.Path(sys.argv[1])
runs = [path.parent.relative_to(out) for name in sys.argv[2:] for path in sorted((out / name).glob("**/metrics.jsonl")) or [out / name / "metrics.jsonl"]]
for name in runs:
    run = out / name
    rows = lines(run / "metrics.jsonl")
    steps = [row for row in rows if "loss" in row]
    if not steps:
        print(f"| `{name}` | did not run | | | | | | |")
        continue
    tenth, half = max(1, len(steps) // 10), len(steps) // 2
    start, middle, end = steps[:tenth], steps[half - tenth // 2:half + tenth // 2 + 1], steps[-tenth:]
    alarms = [row["step"] for row in rows if row.get("event") == "collapse"]
    probe = out / (name.parts[0] + ".probe") / pathlib.Path(*name.parts[1:])
    images = next(row["batch_size"] for row in rows if "batch_size" in row)
    minutes = steps[-1]["step"] * images / statistics.median(row["images_per_s"] for row in steps) / 60
    print(f"| `{name}` | {steps[-1]['step']} x {images} | {mean(start, 'loss'):.2f}, {mean(middle, 'loss'):.2f}, {mean(end, 'loss'):.2f} "
          f"| {curve(steps, 'loss')} | {mean(start, 'effective_rank'):.1f}, {mean(end, 'effective_rank'):.1f} | {', '.join(filter(None, (knn(lines(probe / 'metrics.jsonl')), knn(rows))))} "
          f"| {f'step {alarms[0]}' if alarms else 'no'} | {minutes:.1f} |")
END

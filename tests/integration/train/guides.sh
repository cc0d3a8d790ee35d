#!/bin/bash
# Columns of labels that the features shall tell or shall not: a planted nuisance is forgotten, runs go on, bad columns are refused. See common.sh.
. "$(dirname "$0")/common.sh"

# Gray pictures of 24 x 24 pixels: stripes in one of three directions, seen by one of two cameras, of which the second makes all brighter. In
# the training split each kind has a camera that it is seen by in a share $3 of its pictures, in the test split none. list.csv has the columns
# label, label_camera (not known of a few), label_light (the brightness in steps) and label_same.
draw() { # draw FOLDER COUNT SHARE: packed in FOLDER
  mkdir -p "pictures_$1"
  python3 - "pictures_$1" "$2" "$3" <<'END' || die "draw"
import csv, math, random, struct, sys, zlib

def png(path, rows):
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b""))

folder, share, draws, size, lines = sys.argv[1], float(sys.argv[3]), random.Random(3), 24, []
for i in range(int(sys.argv[2])):
    split = "test" if i % 3 == 0 else "train"
    kind, camera = draws.randrange(3), draws.randrange(2)
    if split == "train" and draws.random() < share:
        camera = (kind + (i % 2) * (kind == 2)) % 2
    light, shift, period = 0.2 + 0.4 * camera + draws.uniform(0, 0.2), draws.uniform(0, 6), draws.uniform(5, 8)
    along = lambda x, y: (y, x, x + y)[kind]  # noqa: E731
    rows = [[round(255 * min(1, max(0, light + 0.1 * math.sin(2 * math.pi * along(x, y) / period + shift) + draws.gauss(0, 0.05)))) for x in range(size)]
            for y in range(size)]
    png(f"{folder}/{i}.png", rows)
    lines.append((f"{i}.png", split, f"kind{kind}", "" if i % 20 == 1 else f"camera{camera}", round(10 * light), "same"))
with open(f"{folder}/list.csv", "w", newline="") as file:
    csv.writer(file).writerows([("path", "split", "label", "label_camera", "label_light", "label_same"), *lines])
END
  run 1 pack --list "pictures_$1/list.csv" --out "$1"
  expect 0
}
cat >crops.cfg <<'END'
[model]
arch = resnet18
dim = 64
depth = 4
[head]
hidden_dim = 128
out_dim = 64
layers = 2
[views]
global_size = 16
global_scale_min = 0.3
global_scale_max = 0.7
local_size = 16
local_scale_min = 0.3
local_scale_max = 0.7
local_count = 4
blur = no
color = no
[optim]
trust = 0.005
trust_clip = yes
warmup = 0it
[train]
method = emp_ssl
length = 250it
batch_size = 48
log_every = 10
[checkpoint]
every = 0
[eval]
every = 0
image_size = 24
END
# accuracy LABEL RUN: of k-NN on the frozen features, in %; the memory is the uneven one of "few"
accuracy() {
  "$dinoxx" eval --checkpoint "$2" --data few --label "$1" --protocol knn --baselines none --cache none --out "$2/eval_$1" -q >log 2>&1 || die "eval of $1"
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1]))["suites"]["knn"]["results"][0]; print(r["headline"]["accuracy"] * 100)' "$2/eval_$1/results.json"
}
above() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a > b)}' || die "$3: expected more than $2, found $1"; }

case $case in
forget)
  # trained where no kind goes with a camera, looked at where few pictures of each kind come from the other camera
  draw data 900 0
  draw few 600 0.95
  for seed in 1 2; do
    run 1 train --data data --config crops.cfg --train.seed $seed --out "plain$seed"
    expect 0
    run 1 train --data data --config crops.cfg --train.seed $seed --guide.forget camera --out "forgets$seed"
    expect 0
    says "guide forgets camera (2 classes, known of 5[0-9]* of 600 training images)"
    says "guide.forget_weight = 200 (as emp_ssl)"
  done
  scores() { # scores LABEL RUN: the mean of both seeds
    local one two
    one=$(accuracy "$1" "${2}1") && two=$(accuracy "$1" "${2}2") && awk -v a="$one" -v b="$two" 'BEGIN {printf "%.1f", (a + b) / 2}'
  }
  plain_label=$(scores label plain) && plain_camera=$(scores camera plain) && label=$(scores label forgets) && camera=$(scores camera forgets) || exit 1
  echo "k-NN, plain: kind $plain_label, camera $plain_camera; camera forgotten: kind $label, camera $camera"
  above "$label" "$(awk -v a="$plain_label" 'BEGIN {print a + 5}')" "k-NN of the kind where the camera is forgotten"
  above "$(awk -v a="$plain_camera" 'BEGIN {print a - 10}')" "$camera" "k-NN of the camera without, less 10"
  says "note: the training has worked against camera (guide.forget)"
  ;;
columns)
  draw data 240 0.5
  guided=("${base[@]}" --guide.learn light:number --guide.forget camera)
  run 2 "${guided[@]}" --guide.forget_by reversal --out whole
  expect 0
  says "guide learns light (numbers, known of 160 of 160 training images)"
  grep -q '"guide_light_explained":' whole/metrics.jsonl || die "expected the explained variance in metrics.jsonl"
  grep -q '"guide_camera_accuracy":' whole/metrics.jsonl || die "expected the head's accuracy in metrics.jsonl"
  # in two halves it is the same run; on one rank and with labels that are learned by distance it is another, and refused by name
  mkdir -p halves/checkpoints
  cp -r whole/checkpoints/step_00000004 halves/checkpoints/
  run 2 "${guided[@]}" --guide.forget_by reversal --out halves
  expect 0
  same_state whole halves step_00000008
  run 2 "${guided[@]}" --out whole
  expect 2
  says "guide.forget_by was reversal and is distance"
  run 2 "${base[@]}" --guide.learn light --guide.forget camera --guide.forget_by reversal --out whole
  expect 2
  says "guide.learn was light:number and is light"
  # a goes-with that is said, and columns that are refused
  run 1 "${base[@]}" --guide.learn label --guide.forget camera --out both
  expect 0
  says "it goes with label (Cramér's V 0"
  run 1 eval --checkpoint both --data data --protocol knn --baselines none --cache none --out both/eval
  expect 0
  says "note: the training has learned from labels, those of label (guide.learn)"
  refused() { run 1 "${base[@]}" --out refused "$@"; expect 2; [ ! -e refused ] || die "left a folder"; }
  refused --guide.forget plate
  says "guide.forget: expected one of its label columns: label, camera, light, same, found \"plate\""
  refused --guide.learn same
  says "guide.learn: expected two different values or more in column same on the training images, found \"same\" on each of 160 images"
  refused --guide.learn camera:number
  says "guide.learn: expected numbers in column camera, found \"camera0\""
  refused --guide.learn camera --guide.forget camera
  says "guide.forget: expected each column once, in guide.learn or in guide.forget, found camera again"
  refused --guide.ramp 3it
  says "guide.ramp: expected no value for this run: it is read where guide.learn is set, or guide.forget with guide.forget_by = reversal"
  refused --guide.forget camera --guide.forget_weight 0
  says "guide.forget_weight: expected more than 0"
  refused --guide.learn camera --guide.outputs 7
  says "guide.outputs: expected 2, as the columns of the data set have, found 7"
  ;;
*) die "no such case" ;;
esac

#!/bin/bash
# What a newcomer sees first: configs/quickstart.cfg on the drawn set learns, and without batch norm in the head it stops by itself. See common.sh.
. "$(dirname "$0")/common.sh"
config=$(cd "$(dirname "$0")/../../../configs" && pwd)/quickstart.cfg
"$dinoxx" pack --toy textures --out data >log 2>&1 || die "pack"

case $case in
quickstart)
  run 2 train --config "$config" --train.stop_on_collapse yes --data data --out dino
  expect 0
  grep -q '"event":"collapse"' dino/metrics.jsonl && die "a collapse alarm"
  python3 - <<'END' || die "the quick start does not learn"
import json, math, sys

lines = [json.loads(line) for line in open("dino/metrics.jsonl")]
steps, knn = [r for r in lines if "loss" in r], [r["eval"]["accuracy"] for r in lines if "eval" in r]

def ends(key):
    """The mean over the last third of each epoch."""
    parts = [[r[key] for r in steps if epoch - 0.35 < r["epoch"] <= epoch] for epoch in (1, 2, 3)]
    return [sum(part) / len(part) for part in parts]

loss, rank = ends("loss"), ends("effective_rank")
print(f"loss {loss}, effective rank {rank}, k-NN {knn}", file=sys.stderr)
assert loss[0] > loss[1] > loss[2] and loss[2] < 0.75 * math.log(256), "the loss falls, far below ln K"
assert rank[0] < rank[1] < rank[2], "the effective rank grows"
assert len(knn) == 3 and knn[0] < knn[1] and knn[0] < knn[2] and knn[2] > 0.9, "k-NN rises, from 43 untrained to above 90"
END
  ;;
collapse)
  run 2 train --config "$config" --train.stop_on_collapse yes --data data --out run --head.batch_norm no --loss.koleo_weight 0 --train.log_every 20
  expect 1
  says "found signs of collapse (train.stop_on_collapse)"
  says "the output is uniform"
  ;;
*) die "unknown case" ;;
esac
exit 0

#!/bin/bash
# What a newcomer sees first: configs/quickstart.cfg on the drawn set learns, and an older form of it stops by itself. See common.sh.
. "$(dirname "$0")/common.sh"
config=$(cd "$(dirname "$0")/../../../configs" && pwd)/quickstart.cfg
"$dinoxx" pack --toy textures --out data >log 2>&1 || die "pack"

case $case in
quickstart)
  run 2 train --config "$config" --data data --out dino
  expect 0
  grep -q '"event":"collapse"' dino/metrics.jsonl && die "a collapse alarm"
  # the same minutes for SimCLR, whose step takes three quarters of the time: its rate is the best of 0.004, 0.008 and 0.016
  sed -E '/^(batch_norm|bottleneck_dim|local_.*|stop_on_collapse)/d; /^\[(teacher|loss)\]/,/^$/d; s/^out_dim.*/out_dim = 128/; s/^lr.*/name = adamw\nlr = 0.008/; s/^length.*/method = simclr\nlength = 4ep/' \
    "$config" >simclr.cfg
  run 2 train --config simclr.cfg --data data --out simclr
  expect 0
  python3 - <<'END' || die "the quick start does not learn"
import json, math, sys

def records(run):
    lines = [json.loads(line) for line in open(f"{run}/metrics.jsonl")]
    return [r for r in lines if "loss" in r], [r["eval"]["accuracy"] for r in lines if "eval" in r]

steps, knn = records("dino")
_, simclr = records("simclr")
ends = [sum(r[key] for r in steps if epoch - 0.35 < r["epoch"] <= epoch) / sum(epoch - 0.35 < r["epoch"] <= epoch for r in steps)
        for key in ("loss", "effective_rank") for epoch in (1, 2, 3)]
loss, rank = ends[:3], ends[3:]
print(f"loss {loss}, effective rank {rank}, k-NN {knn}, SimCLR's {simclr}", file=sys.stderr)
assert loss[0] > loss[1] > loss[2] and loss[2] < 0.75 * math.log(256), "the loss falls, far below ln K"
assert rank[0] < rank[1] < rank[2], "the effective rank grows"
assert len(knn) == 3 and knn[0] < knn[1] < knn[2], "k-NN rises at every evaluation"
assert knn[-1] > simclr[-1], "better than SimCLR in the same minutes"
END
  ;;
collapse)
  run 2 train --config "$config" --data data --out run --head.batch_norm no --loss.koleo_weight 0 --train.log_every 20
  expect 1
  says "found signs of collapse (train.stop_on_collapse)"
  says "the output is uniform"
  ;;
*) die "unknown case" ;;
esac
exit 0

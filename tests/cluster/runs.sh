# The training that the scripts of this folder start, and how two of its runs are compared. Sourced inside the cluster, with the folder in $here.
# Nothing of it depends on a rank's batch, so that any number of ranks computes the same: the groups of masks are stated, KoLeo is left out. --out, length and
# sharing are left to the case.
. "$here/slurm.sh"
. "$here/../integration/train/common.sh"
make_data
training=("${base[@]}" --train.method dinov2 --loss.koleo_weight 0 --mask.group_size 2 --teacher.temp 0.07 --teacher.warmup_temp 0.07
  --model.depth 3 --model.recompute block --optim.warmup 2it --optim.freeze_last_layer 2it)
# Ranks add in another order than one alone: sums of float32, each off by 2^-24 of its size. In six steps that becomes 3e-8 of the weights, 8e-8 of a loss
# and 6e-7 of a gradient's norm (measured; the norm is of what nearly cancels). A gradient that lacks a rank or a bucket moves them by more than 1e-3.
bound=5e-6

step_name() { printf 'step_%08d' "$1"; }
# same_bits RUN RUN STEP: state, teacher and all figures of both
same_bits() {
  same_state "$1" "$2" "$(step_name "$3")"
  diff <(figures "$1") <(figures "$2") || die "metrics of $1 and $2 differ"
}
# close RUN RUN STEP: one training but for rounding
close() { python3 -B "$here/compare.py" "$1" "$2" "$3" $bound || die "$1 and $2 are two trainings"; }

launch=$here/../../launch
export DINOXX=$dinoxx
over_ssh=(bash "$launch/cluster.sh" -f hostfile -t 1)

#!/bin/bash
# One training, whatever shares its state and whatever carries it: parallel.sync and shard_within over several hosts.
#   invariance.sh DINOXX MPIEXEC MPI_FLAGS CASE (MPI_FLAGS one word, spaces inside): hosts, ssh, slurm_2, slurm_3
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/hosts.sh"
enter_cluster "$@"
. "$here/runs.sh"
length=6
training+=(--train.length ${length}it --checkpoint.every 0)

# train HOW NAME SYNC WITHIN: a run of that name, and what it says of hosts and sharing
train() {
  local how=$1 name=$2 sync=$3 within=$4 shared=$ranks on="on $nodes hosts" try
  # Under srun Open MPI crashes now and then in MPI_Init, on a busy machine, whatever the program: see docs/clusters.md
  for try in 1 2 3; do
    code=0
    launch_"$how" "${training[@]}" --parallel.sync "$sync" --parallel.shard_within "$within" --out "$name" >log 2>&1 || code=$?
    if [ "$how" != srun ] || [ $code != 139 ] || grep -q "^dinoxx train" log; then break; fi
    echo "$name: MPI crashed at start-up under srun, try $try"
  done
  expect 0
  [ "$how" != one ] || on="on 1 host"
  [ "$within" = all ] || shared=$((ranks / nodes))
  says "$ranks ranks $on,"
  [ "$sync" = ddp ] || says "parallel.sync: $sync over $shared ranks"
}
launch_one() { $mpiexec $flags -n $ranks "$dinoxx" "$@"; }
launch_ssh() { "${over_ssh[@]}" "$@"; }
launch_hosts() { OMPI_MCA_plm_rsh_agent=$work/agent "${over_ssh[@]}" "$@"; }
launch_srun() { srun -N "$nodes" --ntasks-per-node=$((ranks / nodes)) --mpi=pmix --kill-on-bad-exit=1 "$dinoxx" "$@"; }
launch_mpirun() { salloc -Q -N "$nodes" --ntasks-per-node=$((ranks / nodes)) mpirun --bind-to none "$dinoxx" "$@"; }

every="ddp.all zero1.all zero2.all zero3.all zero1.node zero2.node zero3.node"
some="zero2.all zero3.all zero2.node zero3.node"
few="zero2.all zero3.node"
# compare POLICIES HOW...: each policy on the hosts, by each launcher. With all ranks sharing, the bits are those of one host with as many ranks; inside nodes,
# those of the first launcher. All are the training of one rank alone but for rounding.
compare() {
  local policies=$1 first=$2 how policy name
  shift
  run 1 "${training[@]}" --out alone
  expect 0
  for policy in $policies; do
    if [ "${policy#*.}" = all ]; then
      train one "one.$policy" "${policy%.*}" all
      close alone "one.$policy" $length
    fi
    for how in "$@"; do
      name=$how.$policy
      train "$how" "$name" "${policy%.*}" "${policy#*.}"
      if [ "${policy#*.}" = all ]; then same_bits "one.$policy" "$name" $length
      elif [ "$how" = "$first" ]; then close alone "$name" $length
      else same_bits "$first.$policy" "$name" $length; fi
    done
  done
}

case $case in
hosts | ssh)
  nodes=3 ranks=6
  start_hosts $nodes
  printf '%s slots=2\n' "${hosts[@]}" >hostfile
  # what Open MPI calls as it calls ssh: HOST COMMAND
  printf '#!/bin/bash\n. %q/hosts.sh\nhost=$1\nshift\non "$host" sh -c "$*"\n' "$here" >agent
  chmod +x agent
  [ $case = hosts ] || start_ssh
  case $case in hosts) compare "$every" hosts ;; ssh) compare "$few" ssh ;; esac
  ;;
slurm_*)
  nodes=${case#slurm_} ranks=$((2 * nodes))
  start_hosts "$nodes"
  start_slurm
  case $case in slurm_2) compare "$every" srun mpirun ;; *) compare "$some" srun mpirun ;; esac
  ;;
*) die "unknown case" ;;
esac
exit 0

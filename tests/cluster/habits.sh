#!/bin/bash
# What goes wrong with several hosts: each ends within seconds, with exit code 2 and the host by name.
#   habits.sh DINOXX MPIEXEC MPI_FLAGS CASE (MPI_FLAGS one word, spaces inside): unlike_hosts, absent_hosts, slurm_habits
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/hosts.sh"
enter_cluster "$@"
. "$here/runs.sh"
sharded=("${training[@]}" --train.length 8it --parallel.sync zero3)

# refused WORDS COMMAND...: exit code 2 within 20 seconds, one error that says WORDS; no run is begun
refused() {
  local words=$1 begin=$SECONDS
  shift
  code=0
  timeout 60 "$@" --out run >log 2>&1 || code=$?
  expect 2
  says "$words"
  [ "$(grep -c '^dinoxx: ' log)" -le 1 ] || die "expected one line of error"
  [ $((SECONDS - begin)) -le 20 ] || die "\"$words\" took $((SECONDS - begin)) s"
  [ ! -e run ] || [ -z "$(ls -A run)" ] || die "\"$words\": a run was begun"
  echo "$((SECONDS - begin)) s: $(grep -m 1 "$words" log)"
}
# as_on_node2 SOURCE TARGET COMMAND...: node2 has SOURCE in the place of TARGET meanwhile
as_on_node2() {
  on node2 mount --bind "$1" "$2"
  "${@:3}"
  on node2 umount "$2"
}

case $case in
unlike_hosts)
  start_hosts 3
  start_ssh
  printf '%s slots=1\n' "${hosts[@]}" >hostfile
  sed 's/^lr = 0.01/lr = 0.02/' small.cfg >other.cfg
  as_on_node2 other.cfg small.cfg refused "configuration, optim.lr: expected the same on all ranks, found a different one from rank 0's (host node1) on ranks 1 (host node2)" \
    "${over_ssh[@]}" "${sharded[@]}"
  sed 's/^lr = .*/lrr = 1/' small.cfg >other.cfg
  as_on_node2 other.cfg small.cfg refused "rank 1 on host node2: small.cfg:.*optim.lrr" "${over_ssh[@]}" "${sharded[@]}"
  "$dinoxx" pack --toy textures --count 240 --seed 4 --out other >log 2>&1 || die "pack"
  as_on_node2 other data refused "data set: expected the same on all ranks, found a different one .* on ranks 1 (host node2)" "${over_ssh[@]}" "${sharded[@]}"
  mkdir empty
  as_on_node2 empty data refused "rank 1 on host node2: data: expected a data folder" "${over_ssh[@]}" "${sharded[@]}"
  mkdir run
  as_on_node2 empty run refused "rank 1 on host node2: --out: expected a run folder on a file system that all hosts share" "${over_ssh[@]}" "${sharded[@]}"
  # the program of another commit: the same bytes but for eight letters of its hash, which a compiler may have put into one instruction
  cp "$dinoxx" program
  hash=$("$dinoxx" --version | sed -n 's/.* (\([0-9a-f]\{8\}\).*/\1/p')
  [ -n "$hash" ] || die "no commit in $("$dinoxx" --version)"
  python3 - "$hash" <<'P' || die "no other program"
import sys
data, hash = open("program", "rb").read(), sys.argv[1].encode()
assert data.count(hash) >= 1
open("older", "wb").write(data.replace(hash, hash[::-1].translate(bytes.maketrans(b"0123456789abcdef", b"123456789abcdef0"))))
P
  chmod +x older
  [ "$(./older --version)" != "$("$dinoxx" --version)" ] || die "the other program says the same commit"
  for arguments in "train --config small.cfg --data data" "embed --checkpoint nowhere --data data"; do
    export DINOXX=$work/program
    as_on_node2 older program refused "program: expected the same on all ranks, found a different one .* on ranks 1 (host node2)" "${over_ssh[@]}" $arguments
  done
  mkdir programs && mv program programs/
  DINOXX=$work/programs/program as_on_node2 empty programs refused "host node2: expected the program at .*, found none" "${over_ssh[@]}" "${sharded[@]}"
  ;;
absent_hosts)
  start_hosts 3
  start_ssh
  printf 'node1 slots=2\nnode2 slots=1\n' >hostfile
  refused "parallel.shard_within = node: expected the same number of ranks on every node, found 2 on node1 and 1 on node2" \
    "${over_ssh[@]}" "${sharded[@]}" --parallel.shard_within node
  refused "at most the 3 slots of the hostfile" "${over_ssh[@]}" -n 4 "${sharded[@]}"
  printf '%s slots=1\n' node1 node9 >hostfile
  refused "host node9 cannot be reached" "${over_ssh[@]}" "${sharded[@]}"
  # a run folder that other hosts train in
  printf '%s slots=1\n' node1 node2 >hostfile
  "${over_ssh[@]}" "${training[@]}" --train.length 4000it --parallel.sync zero3 --out held >first 2>&1 &
  pid=$!
  wait_for_step held 1
  code=0
  printf 'node3 slots=1\n' >hostfile
  "${over_ssh[@]}" "${training[@]}" --out held >log 2>&1 || code=$?
  expect 2
  says "a run folder that no other run uses"
  kill -TERM $pid
  code=0
  wait $pid || code=$?
  [ $code = 85 ] || die "the run that holds the folder was disturbed: exit code $code"
  # without power, then one that loses it during the run
  end_host node3
  printf '%s slots=1\n' "${hosts[@]}" >hostfile
  refused "host node3 \(cannot be reached\|does not answer\)" "${over_ssh[@]}" "${sharded[@]}"
  printf '%s slots=1\n' node1 node2 >hostfile
  "${over_ssh[@]}" "${training[@]}" --train.length 4000it --parallel.sync zero3 --out lost >log 2>&1 &
  pid=$!
  wait_for_step lost 2
  end_host node2
  begin=$SECONDS code=0
  wait $pid || code=$?
  [ $code != 0 ] && [ $code != 2 ] && [ $code != 85 ] || die "expected a failure that a launcher can repeat, found exit code $code"
  [ $((SECONDS - begin)) -le 30 ] || die "a host without power was noticed after $((SECONDS - begin)) s"
  says "node2"
  echo "a host that lost its power: exit code $code after $((SECONDS - begin)) s"
  ;;
slurm_habits)
  start_hosts 2
  start_slurm
  # srun without PMIx would start two runs of one rank in one folder
  code=0
  timeout 60 srun -N 2 --ntasks-per-node=1 "$dinoxx" "${sharded[@]}" --out run >log 2>&1 || code=$?
  expect 2
  says "MPI start-up: .*no PMI in the environment. Start with srun --mpi=pmix"
  [ ! -e run ] || die "a run was begun"
  # the program by itself in a job of two tasks is one rank
  sbatch -W --time=5 -N 2 --ntasks-per-node=1 --output=alone.log --wrap "'$dinoxx' ${sharded[*]} --out alone" >log 2>&1 || { cat alone.log >>log; die "alone in a job"; }
  cp alone.log log
  says "done: 8 steps"
  # arguments in the wrong order, no program
  code=0
  sbatch -W --time=5 -N 2 --output=order.log "$launch/slurm_train.sbatch" small.cfg >log 2>&1 || code=$?
  cp order.log log
  expect 2
  says "expected CONFIG DATA"
  code=0
  DINOXX='' sbatch -W --time=5 -N 2 --output=none.log "$launch/slurm_train.sbatch" small.cfg data >log 2>&1 || code=$?
  cp none.log log
  expect 2
  says "no program: expected build/release/bin/dinoxx or bin/dinoxx"
  # what a rank refuses ends the job with its code, by rank and host
  sed 's/^lr = .*/lrr = 1/' small.cfg >other.cfg
  on node2 mount --bind other.cfg small.cfg
  code=0
  sbatch -W --time=5 -N 2 --ntasks-per-node=1 --output=other.log "$launch/slurm_train.sbatch" small.cfg data run >log 2>&1 || code=$?
  cp other.log log
  expect 2
  says "rank 1 on host node2: small.cfg:.*optim.lrr"
  ;;
*) die "unknown case" ;;
esac
exit 0

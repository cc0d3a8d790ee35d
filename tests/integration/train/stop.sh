#!/bin/bash
# How a training run ends: signals, time limit, closed output, its last step. See common.sh.
. "$(dirname "$0")/common.sh"
make_data

case $case in
usr1_*)
  # USR1: saved, exit code 85, resumed to the same bits as a run that was never stopped
  # (400 steps take seconds: the signal comes long before the last one)
  n=${case#usr1_}
  run "$n" "${base[@]}" --train.length 400it --checkpoint.every 0 --out whole
  expect 0
  if [ "$n" = 1 ]; then "$dinoxx" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped >log 2>&1 &
  else $mpiexec $flags -n "$n" "$dinoxx" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped >log 2>&1 & fi
  pid=$!
  wait_for_step stopped 2
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  says "saved; --resume auto goes on"
  [ -n "$(ls stopped/checkpoints)" ] || die "nothing saved"
  [ -f stopped/checkpoints/step_00000400/manifest.json ] && die "the run was over before the signal came"
  run "$n" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped
  expect 0
  same_state whole stopped step_00000400
  ;;
early)
  # USR1 while MPI_Init still waits for another rank: nothing is lost, and the exit code says so
  cat >rank.sh <<'END'
#!/bin/bash
if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then echo $$ >pid.tmp; mv pid.tmp pid; else while [ ! -e go ]; do sleep 0.05; done; fi
exec "$@"
END
  chmod +x rank.sh
  $mpiexec $flags -n 2 ./rank.sh "$dinoxx" "${base[@]}" --train.length 4000it --out run >log 2>&1 &
  job=$!
  # bit 9 of the caught signals: the handler of USR1 is there
  caught() { [ $((0x$(awk '/^SigCgt/ {print $2}' "/proc/$1/status" 2>/dev/null || echo 0) & 0x200)) != 0 ]; }
  for i in $(seq 600); do
    [ -e pid ] && grep -q dinoxx "/proc/$(cat pid)/cmdline" 2>/dev/null && ! grep -q rank.sh "/proc/$(cat pid)/cmdline" && caught "$(cat pid)" && break
    sleep 0.1
  done
  caught "$(cat pid)" || { kill $job; die "rank 0 catches no USR1 before MPI is there"; }
  kill -USR1 "$(cat pid)"
  touch go
  code=0
  wait $job || code=$?
  expect 85
  says "stopped before the first step (SIGUSR1)"
  [ -e run ] && die "a run folder was made"
  ;;
closed_output)
  # who reads the output goes away, or the terminal closes: the run saves first
  code=0
  "$dinoxx" "${base[@]}" --train.length 400000it --checkpoint.every 0 --out run 2>log | grep -m 1 -q "^dinoxx train" || true
  code=${PIPESTATUS[0]}
  expect 85
  [ "$(ls run/checkpoints | wc -l)" = 1 ] || die "nothing saved"
  "$dinoxx" "${base[@]}" --train.length 400000it --checkpoint.every 0 --out hung >log 2>&1 &
  pid=$!
  wait_for_step hung 2
  kill -HUP $pid
  wait $pid
  code=$?
  expect 85
  says "SIGHUP"
  [ "$(ls hung/checkpoints | wc -l)" = 1 ] || die "nothing saved"
  ;;
complete)
  # a run that came to its end says so to launchers, one that did not does not
  run 1 "${base[@]}" --train.length 4it --optim.warmup 1it --out run
  expect 0
  [ "$(cat run/complete.json)" = '{"steps": 4}' ] || die "no run/complete.json"
  "$dinoxx" "${base[@]}" --train.length 400000it --optim.warmup 1it --out run >log 2>&1 &
  pid=$!
  wait_for_step run 6
  [ -e run/complete.json ] && die "complete.json of the run before is still there"
  kill -TERM $pid
  wait $pid
  code=$?
  expect 85
  [ -e run/complete.json ] && die "complete.json of a run that stopped"
  true
  ;;
term)
  for signal in TERM INT; do
    "$dinoxx" "${base[@]}" --train.length 4000it --out "on$signal" >log 2>&1 &
    pid=$!
    wait_for_step "on$signal" 2
    # a shell's background job ignores INT unless the program says otherwise: dinoxx does
    kill -$signal $pid
    wait $pid
    code=$?
    expect 85
    says "SIG$signal"
  done
  ;;
max_time)
  run 2 "${base[@]}" --train.length 100000it --checkpoint.every 0 --out run --max-time 6s
  expect 85
  [ "$(ls run/checkpoints | wc -l)" = 1 ] || die "expected one checkpoint"
  ;;
eval_after_stop)
  # an evaluation that a stop left out is made up for by the run that goes on, and only once
  "$dinoxx" "${base[@]}" --out run --train.length 40it --eval.every 1it --checkpoint.every 0 >log 2>&1 &
  pid=$!
  wait_for_step run 3
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  step=$(sed -n 's/.*stopped at step \([0-9]*\).*/\1/p' log)
  run 1 "${base[@]}" --out run --train.length 40it --eval.every 1it --checkpoint.every 0
  expect 0
  [ "$(grep -c '"accuracy"' run/metrics.jsonl)" = 40 ] || die "expected one evaluation of each step (stopped at $step)"
  ;;
left_branch)
  # what reads a run follows the branch that goes on, not the one with the larger step that was left
  run 1 "${base[@]}" --out run --checkpoint.every 2it
  expect 0
  run 1 "${base[@]}" --out run --checkpoint.every 2it --resume run/checkpoints/step_00000004 --max-time 0.1s
  expect 85
  says "set aside: .*now in run/branches/branch_0"
  step=$(sed -n 's/.*stopped at step \([0-9]*\).*/\1/p' log)
  [ "$step" -lt 8 ] || die "expected a stop before step 8"
  run 1 eval --checkpoint run --data data --protocol knn --out eval
  expect 0
  grep -q "\"step\": $step,\?$" eval/results.json || die "expected eval to take step $step, the last of the branch that goes on"
  run 1 info --run run
  says "step.*\b$step\b"
  run 1 report run
  expect 0
  grep -q "<dd>$step of 8</dd>\|>$step of 8<" run/report.html || die "expected the report to end at step $step"
  cp -r run other
  run 1 compare run other
  expect 0
  says "^  other .* $((24 * step)) "
  ;;
*) die "unknown case" ;;
esac
exit 0

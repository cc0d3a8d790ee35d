# A Slurm on the hosts of hosts.sh: slurmctld on head, a slurmd on every node, with keys and folders of their own. Sourced behind hosts.sh.
#
#   start_slurm        partition "low", whose jobs those of partition "high" send back into the queue; 4 processors a node
#   job_state JOB      PENDING, RUNNING, COMPLETED, ...
#   wait_for_job JOB STATE [SECONDS]

start_slurm() {
  local tool host
  PATH=$PATH:/usr/sbin
  for tool in munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client srun:slurm-client; do
    command -v "${tool%%:*}" >/dev/null || skip "no ${tool%%:*} (package ${tool##*:}; launch/setup.sh --tests)"
  done
  slurm=$cluster/slurm
  mkdir -p $slurm/munge $slurm/state $slurm/spool $slurm/tmp
  export SLURM_CONF=$slurm/slurm.conf
  head -c 1024 /dev/urandom >$slurm/munge/key
  chmod 600 $slurm/munge/key
  munged --force --key-file=$slurm/munge/key --socket=$slurm/munge/socket --pid-file=$slurm/munge/pid --log-file=$slurm/munge/log \
    --seed-file=$slurm/munge/seed 2>$slurm/munge/said || die "munged: $(cat $slurm/munge/said)"
  # cred_expire: a job that was put back may begin again that time and a second later, by default after two minutes; 5 is the least.
  # TmpFS: PMIx keeps a job's folder there, by the name of the node.
  cat >$SLURM_CONF <<S
ClusterName=test
SlurmctldHost=head(10.77.0.100)
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdPidFile=$slurm/slurmd.%n.pid
SlurmdLogFile=$slurm/slurmd.%n.log
SlurmdSpoolDir=$slurm/spool/%n
StateSaveLocation=$slurm/state
TmpFS=$slurm/tmp/%n
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$slurm/munge/socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2
ReturnToService=2
SlurmdTimeout=10
KillWait=5
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PropagateResourceLimits=NONE
NodeName=node[1-${#hosts[@]}] CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=10 PriorityTier=1 GraceTime=30
PartitionName=high Nodes=ALL MaxTime=10 PriorityTier=10 PreemptMode=OFF
S
  printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >$slurm/cgroup.conf # no control group is used: "v1" looks for none
  slurmctld -i || die "slurmctld: $(tail $slurm/slurmctld.log)"
  for host in "${hosts[@]}"; do
    mkdir -p $slurm/spool/$host $slurm/tmp/$host
    on $host slurmd -N $host || die "slurmd: $(tail $slurm/slurmd.$host.log)"
  done
  for _ in $(seq 200); do [ "$(sinfo -h -p low -t idle -o %D 2>/dev/null)" = ${#hosts[@]} ] && return; sleep 0.1; done
  die "the nodes never became idle: $(sinfo -R; tail -n 3 $slurm/*.log)"
}

job_state() { scontrol -o show job "$1" 2>/dev/null | sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p'; }
wait_for_job() {
  for _ in $(seq $((${3:-60} * 10))); do
    [[ $(job_state "$1") == "$2" ]] && return
    sleep 0.1
  done
  die "job $1: expected $2 within ${3:-60} s, found $(job_state "$1")"
}

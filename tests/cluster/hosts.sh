# Hosts of a test on one machine: each has a name, an address, processes, shared memory and a network of its own, and shares all files but /dev/shm.
# Sourced; needs root. All of it lives in namespaces that end with the test, however it ends: process 1 of the outermost one is the test itself, and
# the kernel ends it with the script that was called. Nothing of it is seen from the machine: no interface, no mount, no file.
#
#   enter_cluster "$@"     first of all: the calling script runs again on the host "head" of a cluster
#   start_hosts N          node1 ... nodeN, 10.77.0.1 ... on the switch of head, 10.77.0.100
#   on HOST COMMAND...     runs it there, in the current folder
#   end_host HOST          its power is gone: all processes, and the network
#   start_ssh              an sshd on every node; `ssh node1` works without a question
#   skip WHY               ends the test as one that cannot be had here

cluster=/run/cluster # of head and nodes alike, on a file system in memory
skip() {
  echo "SKIPPED: $*"
  exit 77
}

enter_cluster() {
  if [ -n "${DINOXX_TEST_CLUSTER:-}" ]; then
    begin_cluster
    return
  fi
  [ "$(id -u)" = 0 ] || skip "hosts as namespaces need root, this is user $(id -un)"
  local tool why inside
  for tool in ip:iproute2 unshare:util-linux nsenter:util-linux setpriv:util-linux; do
    command -v "${tool%%:*}" >/dev/null || skip "no ${tool%%:*} on the PATH (package ${tool##*:}; launch/setup.sh --tests)"
  done
  inside=(unshare --net --mount --pid --ipc --uts --fork --kill-child --mount-proc --propagation private)
  why=$("${inside[@]}" sh -c 'mount -t tmpfs none /run && ip link add switch type bridge && ip link add left type veth peer name right' 2>&1) ||
    skip "this machine lets nobody make namespaces with mounts, a bridge and a pair of interfaces: $why"
  DINOXX_TEST_CLUSTER=yes setpriv --pdeathsig KILL -- "${inside[@]}" bash "$0" "$@" &
  local child=$! code=0
  trap 'kill -KILL $child; exit 1' TERM INT HUP
  wait "$child" || code=$?
  exit "$code"
}

begin_cluster() {
  mount -t tmpfs none /run
  mount -t tmpfs none /dev/shm
  mkdir -p $cluster/tmp /run/sshd
  echo head >/proc/sys/kernel/hostname
  echo "127.0.0.1 localhost" >$cluster/hosts
  echo "10.77.0.100 head" >>$cluster/hosts
  mount --bind $cluster/hosts /etc/hosts
  ip link set lo up
  ip link add switch type bridge
  ip addr add 10.77.0.100/24 dev switch
  ip link set switch up
  export TMPDIR=$cluster/tmp OMP_NUM_THREADS=1
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
}

start_hosts() {
  local i host
  hosts=()
  for i in $(seq "$1"); do echo "10.77.0.$i node$i" >>$cluster/hosts; done
  for i in $(seq "$1"); do
    host=node$i
    hosts+=("$host")
    mkdir -p $cluster/$host
    mkfifo $cluster/$host/ready
    unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc --propagation private sh -c "
      echo $host >/proc/sys/kernel/hostname
      mount -t tmpfs none /dev/shm
      ip link set lo up
      echo >$cluster/$host/ready
      exec sleep infinity" </dev/null >/dev/null 2>&1 &
    echo $! >$cluster/$host/pid
    disown # or its end would be reported
    read -r <$cluster/$host/ready
    ip link add $host type veth peer name eth0 netns "$(cat $cluster/$host/pid)"
    ip link set $host master switch up
    on $host ip addr add 10.77.0.$i/24 dev eth0
    on $host ip link set eth0 up
  done
}

on() {
  local pid
  pid=$(cat $cluster/"$1"/pid)
  shift
  nsenter -t "$pid" --net --uts --ipc --mount --pid="/proc/$pid/ns/pid_for_children" --wd="$PWD" -- "$@"
}

end_host() { kill -KILL "$(cat $cluster/"$1"/pid)"; }

start_ssh() {
  local sshd host
  sshd=$(PATH=$PATH:/usr/sbin command -v sshd) || skip "no sshd (package openssh-server; launch/setup.sh --tests)"
  command -v ssh >/dev/null || skip "no ssh (package openssh-client; launch/setup.sh --tests)"
  mkdir -p $cluster/ssh
  ssh-keygen -q -t ed25519 -N '' -f $cluster/ssh/user
  ssh-keygen -q -t ed25519 -N '' -f $cluster/ssh/host
  # where root's password is locked, sshd would refuse its key, too
  echo 'root:*:19000:0:99999:7:::' >$cluster/ssh/shadow
  mount --bind $cluster/ssh/shadow /etc/shadow
  cat >$cluster/ssh/sshd_config <<S
HostKey $cluster/ssh/host
AuthorizedKeysFile $cluster/ssh/user.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
SetEnv TMPDIR=$cluster/tmp
S
  cat >$cluster/ssh/config <<S
IdentityFile $cluster/ssh/user
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
S
  export OMPI_MCA_plm_rsh_args="-F $cluster/ssh/config"
  for host in "${hosts[@]}"; do on "$host" "$sshd" -f $cluster/ssh/sshd_config; done
}

#!/bin/bash
# Runs a command in a Slurm of two nodes on this machine, as root on Debian with
# slurmctld, slurmd, slurm-client and munge installed:
#
#   tests/cluster/slurm.sh COMMAND [ARGUMENT...]
#
# In namespaces of its own (mounts, processes, network): it ends with the command,
# and nothing of it stays. The nodes n1 and n2 share the machine's cores, so that
# what Slurm decides is tested here, not how fast anything is. Partitions: errors
# (both nodes, two tasks each) and timing (n1 alone).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/etc" "$work/state" "$work/log" "$work/munge"
cat >"$work/etc/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/state/%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd.%n
MaxArraySize=1001
JobRequeue=1
KillWait=5
# Both nodes have as many CPUs as are claimed.
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=localhost Port=17001 CPUs=2 Feature=big State=UNKNOWN
NodeName=n2 NodeHostname=localhost Port=17002 CPUs=2 Feature=small State=UNKNOWN
PartitionName=errors Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=timing Nodes=n1 MaxTime=INFINITE State=UP
CONF
cat >"$work/inside" <<'INSIDE'
set -euo pipefail
work=$1
shift
ip link set lo up
# A host of none but the loopback's addresses has none at all for getaddrinfo
# with AI_ADDRCONFIG, and slurmctld ends.
ip addr add 10.77.0.1/32 dev lo
export SLURM_CONF=$work/etc/slurm.conf
# munged asks that nobody else can write where its key and its socket are.
chmod 711 "$work"
dd if=/dev/urandom of="$work/munge/key" bs=1 count=1024 2>/dev/null
chown -R munge:munge "$work/munge"
chmod 755 "$work/munge"
chmod 400 "$work/munge/key"
su -s /bin/sh munge -c "/usr/sbin/munged --key-file='$work/munge/key' \
  --socket='$work/munge/socket' --pid-file='$work/munge/pid' \
  --seed-file='$work/munge/seed' --log-file='$work/munge/log'"
slurmctld
for node in n1 n2; do
  mkdir -p "$work/state/$node"
  slurmd -N "$node"
done
for ((i = 0; i < 120; ++i)); do
  [[ $(sinfo -h -N -p errors -o %T 2>/dev/null) == $'idle\nidle' ]] && break
  sleep 0.25
done
if [[ $i -eq 120 ]]; then
  sinfo -N >&2 || true
  tail -n 30 "$work"/log/* "$work/munge/log" >&2
  exit 1
fi
status=0
"$@" || status=$?
[[ $status -eq 0 ]] || tail -n 30 "$work"/log/* >&2
exit $status
INSIDE
# Process 1 of its own: all daemons end with it.
unshare --mount --net --pid --fork --mount-proc --kill-child \
  bash "$work/inside" "$work" "$@"

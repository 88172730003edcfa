#!/bin/bash
# One sweep by Slurm, submitted with tools/slurm/submit.sh, of which a task is
# lost and submitted again: its store is that of a single process, record by
# record. tests/cluster/slurm_test.sh EXPLORER [TRANSCRIPT]; needs what
# tests/cluster/slurm.sh does.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
if [[ ${1:-} != inside ]]; then
  explorer=$(realpath "$1")
  exec "$here/slurm.sh" "$here/slurm_test.sh" inside "$explorer"
fi
explorer=$2
submit=$here/../../tools/slurm/submit.sh
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  tail -n 20 cluster/log/* >&2 || true
  exit 1
}

# wait_for JOB...: until none of them waits or runs.
wait_for() {
  local i
  for ((i = 0; i < 480; ++i)); do
    [[ -n $(squeue -h -j "$(IFS=, && echo "$*")" 2>/dev/null) ]] || return 0
    sleep 0.25
  done
  squeue >&2
  fail "jobs $* do not end"
}

# field NAME JOB: one of scontrol's, of each task of the job, each value once.
field() {
  scontrol show job "$2" | grep -oE "\b$1=[^ ]*" | cut -d= -f2- | sort -u | xargs
}

# job NAME: its number, of what submit.sh has printed.
job() { sed -n "s/^$1 //p" <<<"$jobs"; }

printf '%s\n' f32 kahan bf16 torch-bf16 matmul=dot2 rmsnorm=bf16 \
  down_proj@2-3=bf16 softmax=bf16 >plans
printf '%s\n' synthetic:tiny synthetic:tiny-qwen3 >models
printf '%s\n' '{"name": "a", "tokens": [97, 65, 19]}' \
  '{"name": "b", "tokens": [5, 6, 7, 8]}' >prompts.jsonl
flags=(--sweep --plan-file=plans --model-file=models --prompt-file=prompts.jsonl
  --threads=1 --wisdom=none --timing-seconds=0)

submit_all() {
  "$submit" --explorer="$explorer" --work=cluster --shards=8 \
    --errors='-p errors -t 5' --merge='-p errors -t 5' \
    --timing='big -p timing -C big -t 5' "$@" -- "${flags[@]}"
}

echo "== one process"
"$explorer" "${flags[@]}" --notiming --store=single --out=single_report \
  2>&1 >/dev/null | grep '^store'

echo "== what would be submitted"
submit_all --dry-run
[[ ! -e cluster ]] || fail "a dry run has made something"
[[ -z $(squeue -h) ]] || fail "a dry run has submitted something"

echo "== an array of 8, of which a task is cancelled while it runs"
# Task 3 has not come to measuring anything by then.
cat >slow <<SLOW
#!/bin/bash
if [[ \${SLURM_ARRAY_TASK_ID:-} == 3 && ! -e $work/hurry ]]; then
  sleep 60
fi
exec $explorer "\$@"
SLOW
chmod +x slow
jobs=$(submit_all --explorer="$work/slow")
echo "$jobs"
for ((i = 0; i < 120; ++i)); do
  [[ $(squeue -h -r -j "$(job errors)" -o '%K %T') == "3 RUNNING" ]] && break
  sleep 0.25
done
scancel "$(job errors)_3"
wait_for "$(job errors)"
[[ $(field JobState "$(job errors)") == "CANCELLED COMPLETED" ]] ||
  fail "tasks are $(field JobState "$(job errors)")"
grep -h '^store' cluster/log/errors-*.log
# Nothing waits for ever.
wait_for "$(job merge)" "$(job timing-big)"
for name in merge timing-big; do
  [[ $(field JobState "$(job $name)") == CANCELLED ]] ||
    fail "behind a lost task, $name is $(field JobState "$(job $name)")"
done
[[ ! -e cluster/merged ]] || fail "something was merged"

echo "== the task is submitted again, with what comes after it"
touch hurry
jobs=$(submit_all --explorer="$work/slow" --again=3)
echo "$jobs"
# Others want the machine while it is timed.
for _ in 1 2 3 4; do
  sbatch --parsable -p errors --output=/dev/null \
    --dependency="afterok:$(job merge)" --wrap='sleep 2' >>others
done
# shellcheck disable=SC2046  # several jobs
wait_for $(cut -d' ' -f2 <<<"$jobs") $(cat others)
for name in errors merge timing-big; do
  [[ $(field JobState "$(job $name)") == COMPLETED ]] ||
    fail "$name is $(field JobState "$(job $name)")"
done
grep -h '^store' cluster/log/merge-*.log cluster/log/timing-*.log

echo "== while a machine is timed, nothing else runs on it"
timing=$(job timing-big)
begin=$(date -d "$(field StartTime "$timing")" +%s)
end=$(date -d "$(field EndTime "$timing")" +%s)
echo "timing on $(field NodeList "$timing"), CPUs $(field NumCPUs "$timing")"
[[ $(field NumCPUs "$timing") == 2 ]] || fail "not all of the machine's CPUs"
while read -r other; do
  [[ $(field NodeList "$other") == n1 ]] || continue
  [[ $(date -d "$(field EndTime "$other")" +%s) -le $begin ||
    $(date -d "$(field StartTime "$other")" +%s) -ge $end ]] ||
    fail "job $other ran on n1 too"
done <others

echo "== the merged store is that of a single process"
python3 "$here/same_store.py" single cluster/merged
for model in synthetic_tiny synthetic_tiny-qwen3; do
  python3 "$here/same_results.py" {single_report,cluster/report/errors}/$model
  [[ -s cluster/report/timing-big/$model/timings.csv ]] ||
    fail "$model: no times"
done
echo "passed"

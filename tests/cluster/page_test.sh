#!/bin/bash
# Runs what docs/cluster.md has to be pasted, and compares what comes of it with a
# single process's, record by record: tests/cluster/page_test.sh EXPLORER. Of
# Kubernetes' Job it runs the command, with the variable that an Indexed Job sets.
# Needs GNU parallel and python3.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
page=$here/../../docs/cluster.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
ln -s "$(realpath "$1")" "$work/bin/explorer"
export PATH=$work/bin:$PATH XDG_CACHE_HOME=$work
cd "$work"

# block NAME: the code after <!-- tested: NAME -->.
block() {
  local text
  text=$(awk -v mark="<!-- tested: $1 -->" '
    $0 == mark { found = 1; next }
    found && /^```/ { if (inside) exit; inside = 1; next }
    inside' "$page")
  [[ -n $text ]] || { echo "docs/cluster.md has no $1" >&2 && exit 1; }
  printf '%s\n' "$text"
}

# same STORE: it has the records of a single process.
same() { python3 "$here/same_store.py" single "$1"; }

eval "$(block inputs)"
$sweep --notiming --store=single --out=single_report >/dev/null

echo "== one machine"
eval "$(block local)"
same store

echo "== merge"
eval "$(block merge)"
same merged
[[ $(ls merged/shards | wc -l) -eq 1 ]]

echo "== report"
eval "$(block report)" >report.md 2>report.log
cat report.log >&2
for model in synthetic_tiny synthetic_tiny-qwen3; do
  python3 "$here/same_results.py" single_report/$model report/$model
done
[[ $(grep -c '^store .* 0 are new$' report.log) -eq 2 ]]

echo "== GNU parallel"
rm -r store
eval "$(block parallel)"
same store
[[ $(wc -l <jobs) -eq 9 ]]

echo "== Kubernetes"
rm -r store
job=$(block kubernetes)
completions=$(sed -n 's/^ *completions: //p' <<<"$job")
command=$(sed -n 's/^ *command: \[\(.*\)\]$/\1/p' <<<"$job" | tr -d ,)
for ((i = 0; i < completions; ++i)); do
  # shellcheck disable=SC2086  # its words
  env -u SLURM_ARRAY_TASK_ID JOB_COMPLETION_INDEX=$i $command
done
same store
echo "passed"

#!/bin/bash
# Submits one sweep of many plans, models and prompts to Slurm: an array that
# measures errors, one part a task; a merge of what its tasks have measured, once
# all of them ended well; then per kind of machine a job that has one to itself
# and times the plans. Times go into the merged store too.
#
#   tools/slurm/submit.sh [OPTION...] -- --sweep --plan-file=... [FLAG...]
#
#   --explorer=PATH      the program (default: explorer, of $PATH)
#   --work=DIR           a folder that all nodes see: DIR/store, DIR/merged, what
#                        jobs print in DIR/log, reports in DIR/report (required)
#   --shards=N           tasks of the array (default: 100). More than the
#                        cluster's MaxArraySize are an error: there is nothing
#                        to group by hand, a task takes what 1 of N asks for
#   --errors='FLAGS'     sbatch's for each task: '-p cpu -c 8 --mem=16G -t 60'
#   --merge='FLAGS'      sbatch's for the merge
#   --timing='NAME FLAGS'  a kind of machine, and sbatch's flags for one of it:
#                        'genoa -p cpu -C genoa'. Once per kind; none: no times
#   --again=TASKS        submit these tasks of the array alone, such as 3,17-20,
#                        and what comes after it: as after some were lost, on
#                        which Slurm has cancelled what came after them
#   --dry-run            print the commands that would submit it, and run nothing
#
# Prints a line per job: NAME NUMBER. Flags after -- are the program's, but for
# --store, --shard and --out; their paths are seen from where this is run.
# Everything can be submitted again at any time: what is there is not measured
# again.
set -euo pipefail
set -f # '-w node[1-4]' is no file

usage() {
  sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}
fail() {
  echo "submit.sh: $*" >&2
  exit 2
}

explorer=explorer work='' shards=100 errors='' merge='' again='' dry_run=false
timing=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --explorer=*) explorer=${1#*=} ;;
    --work=*) work=${1#*=} ;;
    --shards=*) shards=${1#*=} ;;
    --errors=*) errors=${1#*=} ;;
    --merge=*) merge=${1#*=} ;;
    --timing=*) timing+=("${1#*=}") ;;
    --again=*) again=${1#*=} ;;
    --dry-run) dry_run=true ;;
    --help | -h) usage && exit ;;
    --) shift && break ;;
    *) fail "unexpected $1 (--help explains; the program's flags come after --)" ;;
  esac
  shift
done
[[ -n $work ]] || fail "--work=DIR: expected a folder that all nodes see"
[[ $shards =~ ^[1-9][0-9]{0,6}$ ]] || fail "--shards=$shards: expected a number"
[[ -z $again || $again =~ ^[0-9,-]+$ ]] ||
  fail "--again=$again: expected tasks, such as 3,17-20"
declare -A kinds
for kind in ${timing[@]+"${timing[@]}"}; do
  [[ ${kind%% *} =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
    fail "--timing=$kind: expected a name first, of letters and digits"
  [[ -z ${kinds[${kind%% *}]:-} ]] || fail "--timing=$kind: a second ${kind%% *}"
  kinds[${kind%% *}]=1
done
[[ $# -gt 0 ]] || fail "expected the program's flags after --"
for flag in "$@"; do
  case $flag in
    --store* | -store* | --shard* | -shard* | --out* | -out*)
      fail "$flag: is added here" ;;
    --greedy* | -greedy* | -o | -o=* | --o=*)
      fail "$flag: does nothing with --shard" ;;
  esac
done

# A cluster's limit is its highest index plus 1.
if command -v scontrol >/dev/null; then
  most=$(scontrol show config 2>/dev/null |
    sed -n 's/^MaxArraySize *= *\([0-9]*\).*/\1/p') || most='' # none answers
  [[ -z $most || $shards -le $most ]] ||
    fail "--shards=$shards: expected at most $most, the cluster's MaxArraySize"
fi

work=$(realpath -m "$work")
$dry_run || mkdir -p "$work/log" "$work/report"

# submit NAME LOG FLAGS SCRIPT: prints NAME and the number of the job that runs the
# script, which ${jobs[NAME]} has too. A dry run prints what does that.
declare -A jobs
submit() {
  local name=$1 log=$2 flags=$3 script=$4 job
  # shellcheck disable=SC2206  # several flags
  local command=(sbatch --parsable --job-name="ulpscope-$name"
    --output="$work/log/$log" $flags)
  if $dry_run; then
    # Variables of the commands, where the jobs' numbers will be.
    jobs[$name]="\${$(tr -c 'a-z0-9\n' _ <<<"$name")}"
    printf '%s=$(sbatch' "$(tr -c 'a-z0-9\n' _ <<<"$name")"
    for word in "${command[@]:1}"; do
      case $word in
        --dependency=*) printf ' "%s"' "$word" ;;
        *) printf ' %q' "$word" ;;
      esac
    done
    printf " <<'EOF'\n#!/bin/bash\n%s\nEOF\n)\n" "$script"
    return
  fi
  job=$(printf '#!/bin/bash\n%s\n' "$script" | "${command[@]}")
  jobs[$name]=${job%%;*} # of a federation it is JOB;CLUSTER
  echo "$name ${jobs[$name]}"
}

program=$(printf '%q ' "$explorer" "$@")
store=$(printf '%q' "$work/store")
merged=$(printf '%q' "$work/merged")
report=$(printf '%q' "$work/report")

# Tasks count from 0: a part of the array that is submitted again then has the
# same numbers. A task whose node is lost is run again.
submit errors 'errors-%A_%a.log' \
  "--array=${again:-0-$((shards - 1))} --requeue $errors" \
  "exec $program--shard=auto/$shards --store=$store"

# What waits for a task that was lost is cancelled, or it would wait for ever, beside
# what is submitted with --again.
behind='--kill-on-invalid-dep=yes --dependency=afterok'

# Exit code 3 is a finding: machines have measured other bits. The report is made
# all the same.
submit merge 'merge-%j.log' "$behind:${jobs[errors]} $merge" \
  "$(printf '%q ' "$explorer")--merge=$store --store=$merged --out=$report/merge
"'code=$?
[ $code -eq 0 ] || [ $code -eq 3 ] || exit $code
'"$program--notiming --store=$merged --out=$report/errors || exit
"'exit $code'

for kind in ${timing[@]+"${timing[@]}"}; do
  name=${kind%% *}
  # A whole machine: nothing else may run there while plans are timed.
  submit "timing-$name" "timing-$name-%j.log" \
    "--exclusive $behind:${jobs[merge]} ${kind#"$name"}" \
    "exec $program--store=$merged --out=$report/timing-$name"
done

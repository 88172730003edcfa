#!/bin/bash
# Times the explorer (strategy f32) and llama.cpp's llama-bench on one GGUF
# file, in turn, and prints tokens per second of prefill and decoding and the
# medians of their ratios within rounds. Nothing else should run meanwhile.
#
#   tools/peer_llama.sh MODEL.gguf [ROUNDS [PROMPT [THREADS]]]
#     default: 5 rounds, a prompt of 128 tokens, 2 threads
#   PLAN='f32,matmul=bf16_hw' tools/peer_llama.sh ...   # another plan
#   LLAMA_BENCH=PATH      default: llama-bench on the PATH
#   EXPLORER=PATH         default: bazel-bin/explorer/app/explorer
set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
model=${1:?"usage: $0 MODEL.gguf [ROUNDS [PROMPT [THREADS]]]"}
rounds=${2:-5}
prompt=${3:-128}
threads=${4:-2}
bench=${LLAMA_BENCH:-llama-bench}
explorer=${EXPLORER:-$root/bazel-bin/explorer/app/explorer}

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
die() {
  tail -n 3 "$errors" >&2
  echo "peer_llama: $*" >&2
  exit 1
}
command -v "$bench" >/dev/null || die "no $bench: set LLAMA_BENCH"
[[ -x $explorer ]] || die "no $explorer: ./bazelw build //explorer, or set EXPLORER"
[[ -r $model ]] || die "cannot read $model"

# "PREFILL DECODE", tokens per second.
ours() {
  "$explorer" --plan="${PLAN:-f32}" --model="$model" --tokens="$prompt" \
    --threads="$threads" --timing_seconds=4 --wisdom=none -o csv 2>"$errors" |
    awk -F, '/,prefill_tokens_per_second,/ { p = $(NF - 1) }
             /,decode_tokens_per_second,/ { d = $(NF - 1) }
             END { if (!p || !d) exit 1; print p, d }'
}
theirs() {
  "$bench" -m "$model" -t "$threads" -p "$prompt" -n 32 -r 3 -o jsonl \
    2>"$errors" |
    awk 'match($0, /"avg_ts": [0-9.]+/) {
           rate = substr($0, RSTART + 10, RLENGTH - 10)
           if ($0 ~ /"n_gen": 0,/) p = rate; else d = rate
         }
         END { if (!p || !d) exit 1; print p, d }'
}

grep -m1 'model name' /proc/cpuinfo || true
echo "$model: $threads threads, plan ${PLAN:-f32}, prompt of $prompt tokens"
echo 'round: ours prefill, decode; llama.cpp prefill, decode; ratios'
for ((round = 1; round <= rounds; ++round)); do
  a=$(ours) || die "the explorer failed on $model"
  b=$(theirs) || die "$bench failed on $model"
  echo "$round $a $b"
done | awk '
  function median(v, n,   i, j, t) {
    for (i = 2; i <= n; ++i)
      for (j = i; j > 1 && v[j - 1] > v[j]; --j) {
        t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
      }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
  }
  {
    prefill[NR] = $2 / $4; decode[NR] = $3 / $5
    printf "%d: %.1f, %.1f; %.1f, %.1f; %.2fx, %.2fx\n",
           $1, $2, $3, $4, $5, prefill[NR], decode[NR]
  }
  END {
    if (NR == 0) exit 1
    printf "median of llama.cpp'"'"'s speed: prefill %.2fx, decode %.2fx\n",
           median(prefill, NR), median(decode, NR)
  }'

#!/usr/bin/env bash
# Makes tests/testdata/engines: traces of PyTorch's fused attention, of the
# zoo's models.
#   pip install torch transformers safetensors accelerate
#   tools/make_engine_traces.sh
# Those there are of torch 2.15.0 on a CPU with AVX-512, transformers 5.24.0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
qwen3=4,4,21,13,15,30,8,13,27,9,36,5,19
qwen2=35,35,34,4,23,9,14,23,30,6,17,28,11,4,20,26,7

make() {  # make MODEL DTYPE TOKENS
  local count
  count=$(tr , '\n' <<<"$3" | wc -l)
  python3 tools/dump_reference.py "tests/testdata/zoo/$1" --tokens="$3" \
    --dtype="$2" --attention=sdpa \
    --out="tests/testdata/engines/$1-$2-sdpa-$count.safetensors"
}

make qwen3 bfloat16 "$qwen3"
# Vectors of 16 keys, and two blocks of queries.
make qwen3 bfloat16 "$qwen3,$qwen3,$qwen3,1"
make qwen2 bfloat16 "$qwen2,$qwen2,3,5,11"
make qwen2 float16 "$qwen2"
make qwen3 float16 "$qwen3,$qwen3,$qwen3,1"

#!/bin/bash
# Makes reports with the program and tests them in Debian's Chromium:
# tests/page/run.sh EXPLORER. Needs chromium, nodejs and npm. What npm installs
# is pinned in package.json: playwright-core's last version for Debian's node.
set -euo pipefail

explorer=$(realpath "$1")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
zoo=$here/../testdata/zoo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tokens=97,65,19,90,35,261,248,45
explore() { "$explorer" --wisdom=none "$@" >/dev/null; }
cd "$work"
explore --sweep --model=synthetic:tiny --timing_seconds=1 --out=reports/sweep
explore --attribute --plan=torch-bf16 --model=synthetic:tiny \
  --timing_seconds=0 --out=reports/attribute
explore --dump-trace=trace --plan=torch-bf16 --model=synthetic:tiny \
  --tokens="$tokens"
explore --diagnose --reference=trace --model=synthetic:tiny \
  --tokens="$tokens" --out=reports/diagnose
bugs=qkv_bias_missing+final_norm_missing
explore --diagnose --reference="$zoo/qwen2-bfloat16-$bugs.safetensors" \
  --model="$zoo/qwen2" --out=reports/diagnose_bugs
explore --dump-trace=other --plan=torch-f16 --model=synthetic:tiny \
  --tokens="$tokens"
explore --diagnose --reference=trace --against-trace=other \
  --model=synthetic:tiny --tokens="$tokens" --out=reports/pair
explore --attribute --plan=torch-bf16 --against=f32 --on=prompt --tokens=12 \
  --model=synthetic:tiny --timing_seconds=0 --out=reports/against
explore --recommend --budget='rel_l2<=1e-1' --model=synthetic:tiny --tokens=5 \
  --axes='matmul=f32,f64,bf16,f16;rmsnorm=f32,bf16' --timing_seconds=0 \
  --out=reports/recommend
python3 "$here/../../tools/make_plans.py" "$explorer" 8 1000 >plans.txt
explore --sweep --plan_file=plans.txt --timed_plans=40 --model=synthetic:tiny \
  --tokens=8 --timing_seconds=0 --out=reports/many
explore --attribute --plan=torch-bf16 --timing_seconds=0 --out=reports/seed

cp "$here"/package.json "$here"/*.mjs .
npm install --no-audit --no-fund --no-package-lock --silent
REPORTS=$work/reports CHROMIUM=$(command -v chromium) node --test .

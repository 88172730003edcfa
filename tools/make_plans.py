#!/usr/bin/env python3
"""Writes a file of different plans, drawn at random, for --plan_file.

tools/make_plans.py EXPLORER LAYERS COUNT [SEED] > plans.txt

Every group of ops gets a strategy, and a few ops another one in some layers.
Strategies are those that `EXPLORER --help` lists and does not emulate.
"""

import random
import re
import subprocess
import sys


def read_help(explorer):
    """Strategies of each group, and ops of each group."""
    text = subprocess.run([explorer, "--help"], check=True, capture_output=True,
                          text=True).stdout
    strategies, ops = {}, {}
    part = text[text.index("\nStrategies:"):text.index("\nGroups and their ops:")]
    name = None
    for line in part.splitlines():
        if found := re.match(r"  (\w+) ", line):
            name = found[1]
        if found := re.match(r"\s+\[([a-z ]+)\]$", line):  # none: emulated
            # What the CPU's own instructions decide, and what is no choice.
            if name in ("bf16_hw", "oracle"):
                continue
            for group in found[1].split():
                strategies.setdefault(group, []).append(name)
    part = text[text.index("\nGroups and their ops:"):]
    for line in part[:part.index("\n\nForms")].splitlines():
        if found := re.match(r"  (\w+)\s+(.+)$", line):
            ops[found[1]] = found[2].split()
    return strategies, ops


def draw_plan(rng, strategies, ops, layers):
    entries = [f"{group}={rng.choice(names)}"
               for group, names in strategies.items()]
    for _ in range(rng.randrange(4)):
        group = rng.choice(list(ops))
        op = rng.choice([op for op in ops[group]
                         if op not in ("lm_head", "embed", "final_norm")])
        first = rng.randint(1, layers)
        last = rng.randint(first, layers)
        entries.append(f"{op}@{first}-{last}={rng.choice(strategies[group])}")
    return ",".join(entries)


def main():
    explorer, layers, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    strategies, ops = read_help(explorer)
    plans = {}
    while len(plans) < count:
        plans[draw_plan(rng, strategies, ops, layers)] = None
    print("\n".join(plans))


if __name__ == "__main__":
    main()

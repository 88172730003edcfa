"""Checks what a sweep wrote: check_sweep.py OUT_DIR STDOUT_FILE PLANS.

results.json, plans.csv and standard output must name the same plans, as many
as expected, and the results must say that their model is synthetic.
"""

import csv
import json
import pathlib
import sys


def no_nan(text):
    raise SystemExit(f"results.json holds {text}, which is not JSON")


def main():
    out, stdout, expected = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    results = json.loads((out / "results.json").read_text(), parse_constant=no_nan)
    plans = [row["plan"] for row in results["plans"]]
    assert len(set(plans)) == len(plans) == expected, plans

    label = {key: value for key, value in results.items() if key != "plans"}
    assert "synthetic" in json.dumps(label), f"no label 'synthetic': {list(label)}"

    with open(out / "plans.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["plan"] for row in rows} == set(plans), [row["plan"] for row in rows]

    assert (out / "report.md").read_text().strip(), "report.md is empty"

    # The ranking: one line a plan, each naming its plan as a word of its own.
    words = [set(line.split()) for line in open(stdout)]
    unranked = [plan for plan in plans if not any(plan in line for line in words)]
    assert not unranked, f"not on standard output: {unranked}"
    print(f"{len(plans)} plans in results.json, plans.csv and on standard output")


if __name__ == "__main__":
    main()

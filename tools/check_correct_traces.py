"""Runs `explorer --diagnose` on traces of correct programs: who is accused?

    python3 tools/check_correct_traces.py OUT \
        --explorer=bazel-bin/explorer/app/explorer

makes some 400 traces of tiny random-weight models (correct_models.py), each by
a program that computes the model as its config.json says, in some arithmetic
(correct_programs.py), and has the explorer diagnose each. None of the programs
is wrong, so each of these is a false accusation:

    accused    a cause of kind implementation, or an outcome that says so
    unexplained  a point that nothing explains (first_unexplained)
    doubted    a point that is "not reproduced" (first_not_reproduced)
    misnamed   an arithmetic of another family than the program's, or a cause of
               kind arithmetic that the program does not have
    wrong side "nearer to the oracle" is the one that rounds more
    failed     no results: an error, or more than --timeout seconds

A row is printed for each trace, a summary at the end; the exit code is 1 if
anything was false. A trace is called PROGRAM-MODEL-WEIGHTS-TOKENS-CONTENT; the
contents are

    ops      the outputs of all ops
    states   hidden states and logits
    logits   logits alone
    norm     the final norm, logits and one hidden state

The same --seed makes the same traces, up to the order in which PyTorch adds;
another one has other weights and tokens. OUT keeps models/, traces/ and, per
trace, results/NAME with report and results.json; --reuse diagnoses the traces
that are there and makes those that are missing, --resume also takes over the
results that are there (of the same explorer, one hopes).

A program whose logits are farther from float64's than its rounding can take
them is none that computes the model, and ends the script. Needs torch (compiled
programs also a C++ compiler), transformers 5 and safetensors.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
import sys
import time

CONTENTS = ("ops", "states", "logits", "norm")
COUNTS = (12, 5, 24, 1, 40, 2, 12, 96, 7, 17, 300, 33)
FALSE = (
    "accused",
    "unexplained",
    "doubted",
    "misnamed",
    "wrong side",
    "failed",
)


@dataclasses.dataclass
class Case:
    """A trace, and what a right diagnosis of it may say."""

    program: str
    model: str
    stored: str
    count: int
    content: str
    called: str
    may_have: str
    is_exact: bool

    @property
    def name(self):
        short = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
        return "-".join(
            (
                self.program,
                self.model,
                short[self.stored],
                str(self.count),
                self.content,
            )
        )


def all_cases(programs, models):
    """Each program with all its contents; models and lengths take turns."""
    cases = {}
    for p, (name, program) in enumerate(programs.items()):
        fitting = [m for m in models if re.search(program.models, m)]
        for content in program.contents:
            c = CONTENTS.index(content)
            for turn in range(program.times):
                step = 5 * p + 3 * c + 7 * turn
                case = Case(
                    name,
                    fitting[step % len(fitting)],
                    program.stored[(p + c + turn) % len(program.stored)],
                    COUNTS[(p + 5 * c + 3 * turn) % len(COUNTS)],
                    content,
                    program.called,
                    program.may_have,
                    program.is_exact,
                )
                cases[case.name] = case
    return cases


def content_of(trace, content):
    """The part of a program's trace that the diagnosis is to see."""
    states = [n for n in trace if n.startswith("hidden_states.")]
    if content == "ops":
        return trace
    if content == "states":
        kept = [*states, "logits"]
    elif content == "logits":
        kept = ["logits"]
    else:
        kept = ["model.norm", "logits", f"hidden_states.{len(states) // 2}"]
    return {name: trace[name] for name in [*kept, "input_ids"]}


# How far a correct program's logits may be from float64's: rounding alone,
# and what 8-bit caches make of large keys.
MOST_OF_EXACT, MOST = 1e-5, 0.5


class Maker:
    """Writes checkpoints and traces, each once."""

    def __init__(self, out, seed):
        self.out, self.seed = out, seed
        self.exact = {}  # logits in float64, by checkpoint and number of tokens

    def checkpoint(self, case):
        from correct_models import save_model

        folder = self.out / "models" / f"{case.model}-{case.stored}"
        if not (folder / "config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            save_model(case.model, case.stored, folder, self.seed)
        return folder

    def trace(self, case, path):
        from correct_models import make_tokens
        from correct_programs import PROGRAMS
        from correct_runs import run
        from safetensors.torch import save_file

        tokens = make_tokens(case.count, self.seed)
        folder = self.checkpoint(case)
        key = folder, case.count
        if key not in self.exact:
            exact = run(PROGRAMS["f64_throughout"], folder, tokens)
            self.exact[key] = exact["logits"]
        trace = run(PROGRAMS[case.program], folder, tokens)
        error = trace["logits"].double() - self.exact[key]
        distance = float(error.norm() / self.exact[key].norm())
        if not distance <= (MOST_OF_EXACT if case.is_exact else MOST):
            sys.exit(f"{case.name} is no correct program: {distance:.2g} away")
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = content_of(trace, case.content)
        save_file({n: x.contiguous() for n, x in kept.items()}, path)


def command_of(explorer, case, out):
    return [
        str(explorer),
        "--diagnose",
        f"--model={out / 'models' / f'{case.model}-{case.stored}'}",
        f"--reference={out / 'traces' / case.name}.safetensors",
        f"--out={out / 'results' / case.name}",
    ]


def place(results, index):
    point = results["points"][index]
    return f"{point['op']}@{point['layer']}"


def judge(case, results):
    """kind of false accusation -> what was said, and the arithmetic's name"""
    found = results["diagnosis"]
    causes = results["causes"]
    said = {}
    blamed = [c["id"] for c in causes if c["kind"] == "implementation"]
    if blamed or (found["outcome"] == "differs" and not causes):
        said["accused"] = ", ".join(blamed) or "differs"
    if found["first_unexplained"] is not None:
        said["unexplained"] = place(results, found["first_unexplained"])
    if found["first_not_reproduced"] is not None:
        said["doubted"] = place(results, found["first_not_reproduced"])
    rounding = [c["id"] for c in causes if c["kind"] == "arithmetic"]
    strange = [i for i in rounding if not re.fullmatch(case.may_have, i)]
    name, plan = found["arithmetic_name"], found["arithmetic_plan"]
    text = f"{name} {plan} {' '.join(rounding)}"
    if strange or not re.search(case.called, text):
        said["misnamed"] = " ".join([name, *rounding])
    nearer = found["nearer_to_oracle"]
    if nearer == ("ours" if case.is_exact else "trace"):
        said["wrong side"] = f"{nearer} is nearer"
    return said, name


def diagnose(explorer, case, out, timeout, resume=False):
    """(false accusations, arithmetic's name, seconds)"""
    path = out / "results" / case.name / "results.json"
    if resume and path.exists():
        return *judge(case, json.loads(path.read_text())), 0
    path.unlink(missing_ok=True)
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command_of(explorer, case, out),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout:.0f} s"}, "", timeout
    seconds = time.monotonic() - begin
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return {"failed": f"exit code {done.returncode}: {last}"}, "", seconds
    return *judge(case, json.loads(path.read_text())), seconds


def print_summary(cases, outcomes):
    """By program, how many traces have which kind of false accusation."""
    print("\n| program | traces |", " | ".join(FALSE), "|")
    print("|---" * (2 + len(FALSE)) + "|")
    table = collections.defaultdict(collections.Counter)
    for case, said in zip(cases, outcomes):
        for row in (case.program, "all"):
            table[row]["traces"] += 1
            table[row].update(said.keys())
    rows = [name for name in table if name != "all"] + ["all"]
    for row in rows:
        counts = [str(table[row][kind] or "-") for kind in FALSE]
        print(f"| {row} | {table[row]['traces']} |", " | ".join(counts), "|")
    false = sum(bool(said) for said in outcomes)
    print(f"\n{false} of {len(cases)} traces are accused falsely of something")
    return false


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=pathlib.Path, help="where all is written")
    parser.add_argument(
        "--explorer",
        type=pathlib.Path,
        default=pathlib.Path("bazel-bin/explorer/app/explorer"),
        help="the program (default: %(default)s)",
    )
    parser.add_argument(
        "--only", default="", help="a pattern that names of traces must have"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument(
        "--timeout", type=float, default=300, help="of a diagnosis, in seconds"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="do not make traces that are there"
    )
    parser.add_argument(
        "--resume", action="store_true", help="nor diagnose what has results"
    )
    parser.add_argument(
        "--make-only", action="store_true", help="do not run the explorer"
    )
    parser.add_argument("--list", action="store_true", help="print the names")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    import torch
    import transformers
    from correct_models import MODELS
    from correct_programs import PROGRAMS

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = [
        case
        for name, case in all_cases(PROGRAMS, list(MODELS)).items()
        if re.search(arguments.only, name)
    ]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    if not cases:
        sys.exit(f"no trace has {arguments.only!r} in its name")
    explorer = arguments.explorer.resolve()
    if not arguments.make_only and not explorer.exists():
        sys.exit(f"{explorer} is not there: build it, or give --explorer")
    maker = Maker(arguments.out, arguments.seed)
    outcomes = []
    for case in cases:
        path = arguments.out / "traces" / f"{case.name}.safetensors"
        if not (arguments.reuse or arguments.resume) or not path.exists():
            maker.trace(case, path)
        if arguments.make_only:
            continue
        said, name, seconds = diagnose(
            explorer,
            case,
            arguments.out,
            arguments.timeout,
            arguments.resume,
        )
        outcomes.append(said)
        text = "; ".join(f"{kind}: {what}" for kind, what in said.items())
        row = (case.name, f"{seconds:.1f} s", name, text or "right")
        print("|", " | ".join(row), "|", flush=True)
    if arguments.make_only:
        print(f"{len(cases)} traces in {arguments.out / 'traces'}")
        return
    sys.exit(1 if print_summary(cases, outcomes) else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Fuzzes the readers.

    ./bazelw build --config=fuzz --build_tests_only //tests/fuzz/...
    python3 tools/fuzz.py --seconds=5              # every target, from its corpus
    python3 tools/fuzz.py --runs=10000000 --found=FOLDER gguf npz
    python3 tools/fuzz.py --keep FOLDER [FOLDER...]

With --found, inputs that reach something new are kept in FOLDER/TARGET, from
which the next call goes on. --keep adds to tests/fuzz/corpus those that reach what
it does not (libFuzzer's -merge=1), up to --most-bytes for each target. With both
--runs and --seconds, a target ends with the first of them. --programs names a folder
of copies, which a build meanwhile does not replace.

A crash, a leak, or an input that takes ten seconds or 2 GiB ends a target, and the
exit code is 1. Its input is left in FOLDER, without --found in a new one; both are
printed, the input in base64 if it is small.
"""

import argparse
import base64
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
PROGRAMS = ROOT / "bazel-bin" / "tests" / "fuzz"
FLAGS = ["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
# As of test:asan in .bazelrc; what is allocated at once is libFuzzer's to judge.
OPTIONS = "allocator_may_return_null=1:handle_sigbus=0"
LARGEST = 1 << 15  # bytes of an input
MOST_PRINTED = 1 << 12  # of one that was found
MOST_FILES = 32  # that --keep adds for a target


def targets():
    sources = (ROOT / "tests" / "fuzz").glob("*_fuzz.cc")
    return sorted(source.name[: -len("_fuzz.cc")] for source in sources)


def run(programs, target, arguments):
    return subprocess.run(
        [programs / f"{target}_fuzz", *FLAGS, *arguments],
        cwd=ROOT,
        env={**os.environ, "ASAN_OPTIONS": OPTIONS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def last(pattern, text, missing="-"):
    found = re.findall(pattern, text)
    return found[-1] if found else missing


def fuzz(target, options, found):
    folder = found / target
    folder.mkdir(parents=True, exist_ok=True)
    limits = []
    if options.runs:
        limits.append(f"-runs={options.runs}")
    if options.seconds or not options.runs:
        limits.append(f"-max_total_time={options.seconds or 5}")
    before = inputs_of(target, found)
    done = run(
        options.programs,
        target,
        [*limits, f"-max_len={LARGEST}", f"-artifact_prefix={found}/{target}-",
         folder, CORPUS / target],
    )
    failed = done.returncode != 0
    executions = last(r"number_of_executed_units: *(\d+)", done.stdout)
    per_second = last(r"average_exec_per_sec: *(\d+)", done.stdout)
    edges = last(r" cov: (\d+)", done.stdout)
    features = last(r" ft: (\d+)", done.stdout)
    print(
        f"{target:18} {'FAILED' if failed else 'ok':6}"
        f" {executions:>10} executions, {per_second:>6}/s,"
        f" {edges:>6} edges, {features:>6} features",
        flush=True,
    )
    if failed:
        print(done.stdout[-6000:], flush=True)
        for file in sorted(inputs_of(target, found) - before):
            show(file)
    return not failed


# What libFuzzer has left of findings: crash, leak, timeout, oom.
def inputs_of(target, found):
    return set(found.glob(f"{target}-*"))


# A machine of CI's is gone when somebody reads of it.
def show(file):
    data = file.read_bytes()
    print(f"{file}: {len(data)} bytes", flush=True)
    if len(data) <= MOST_PRINTED:
        print(f"base64 -d >{file.name} <<'EOF'")
        print(base64.encodebytes(data).decode() + "EOF", flush=True)


# Adds what reaches something that the corpus does not, the smallest first, up to
# so many bytes.
def keep(programs, target, folders, most_bytes):
    sources = [folder / target for folder in folders if (folder / target).is_dir()]
    if not sources:
        return
    with tempfile.TemporaryDirectory() as merged:
        shutil.copytree(CORPUS / target, merged, dirs_exist_ok=True)
        done = run(programs, target, [f"-max_len={LARGEST}", "-merge=1", merged, *sources])
        if done.returncode != 0:
            sys.exit(f"{target}: {done.stdout[-6000:]}")
        found = [
            file
            for file in pathlib.Path(merged).iterdir()
            if not (CORPUS / target / file.name).exists()
        ]
        added = 0
        for file in sorted(found, key=lambda file: (file.stat().st_size, file.name)):
            most_bytes -= file.stat().st_size
            if most_bytes < 0 or added == MOST_FILES:
                break
            shutil.copy(file, CORPUS / target / file.name)
            added += 1
        print(f"{target:18} {added} of {len(found)} files")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=0, help="5 without --runs")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--found", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, nargs="+")
    parser.add_argument("--most-bytes", type=int, default=16384)
    parser.add_argument("--programs", type=pathlib.Path, default=PROGRAMS)
    parser.add_argument("--without", action="append", default=[], metavar="TARGET")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    options.programs = options.programs.resolve()
    unknown = {*options.targets, *options.without} - {*targets()}
    if unknown:
        parser.error(f"no target of tests/fuzz: {', '.join(sorted(unknown))}")
    chosen = [t for t in options.targets or targets() if t not in options.without]
    if options.keep:
        for target in chosen:
            keep(
                options.programs,
                target,
                [f.resolve() for f in options.keep],
                options.most_bytes,
            )
        return 0
    found = (options.found or pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))).resolve()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda target: fuzz(target, options, found), chosen))
    if not options.found and all(results):
        shutil.rmtree(found)
    print(f"{sum(results)} of {len(results)} targets found nothing")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

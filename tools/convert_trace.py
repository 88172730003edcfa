"""Writes what torch.save or numpy wrote as a trace for `explorer --diagnose`.

    python3 tools/convert_trace.py states.pt trace.safetensors --tokens=1,2,3
    explorer --diagnose --model=MODEL --reference=trace.safetensors

Reads .pt, .pth and other files of torch.save (with weights_only=True: tensors
and plain containers of them, no code), .npz and .npy, and writes safetensors
under the names of docs/traces.md:

    a tensor by a name         keeps its name
    a dict in a dict           outer.inner
    a list or tuple            name.0, name.1, ...; of a bare one hidden_states.N
    hidden_states, as a list,  hidden_states.N: a list of lists is of a prompt
    a tuple, or one stacked    and the tokens generated after it, whose rows are
    tensor                     appended
    model.layers.N as a pair   (hidden, residual), as vLLM and SGLang have it:
                               their sum, the stream after the layer
    modules by their names     as tools/trace_hooks.py has them: also of the
                               files that SGLang's --debug-tensor-dump-output-
                               folder writes, but for the logits in them, which
                               are of the pass before

--name=THEIRS=OURS renames, --name=THEIRS=- drops, first of all. Whatever is not
F64, F32, F16 or BF16 is widened without rounding. A batch is kept: choose its
sequence with explorer's --row. Needs torch, safetensors and numpy.

tools/convert_trace_test.py tests this script.
"""

import argparse
import pathlib
import re
import sys
import zipfile

import numpy as np
import safetensors.torch
import torch
import trace_hooks

STATES = "hidden_states"
SGLANG_TOKENS = ".forward_batch_info.input_ids"
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Unusable(Exception):
    """A file that no trace can be made of."""


def as_tensor(array, void):
    """An array of numpy; `void` is what elements of two raw bytes are."""
    if array.dtype == np.dtype("V2"):
        if void is None:
            raise Unusable(
                "found elements of 2 raw bytes, as numpy keeps bfloat16; "
                "if they are that, say --void=bf16"
            )
        array = array.view(np.uint16)
        return torch.from_numpy(array.copy()).view(torch.bfloat16)
    if array.dtype.kind not in "fiub":
        raise Unusable(f"expected numbers, found {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="))
    if native.dtype == np.longdouble:
        raise Unusable(f"{array.dtype} has no type in a trace")
    return torch.from_numpy(np.ascontiguousarray(native))


def load(path, void=None):
    """What the file holds: tensors, in dicts, lists and tuples."""
    if path.suffix == ".npy":
        return as_tensor(np.load(path, allow_pickle=False), void)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: as_tensor(arrays[name], void) for name in arrays}
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise Unusable(f"torch cannot read it: {error}") from error
    except Exception as error:  # pickle.UnpicklingError, of any depth
        raise Unusable(
            "it holds more than tensors in dicts, lists and tuples, and is not "
            "read: save dict(output), or a list of tensors, instead of the "
            f"program's own classes ({str(error).splitlines()[0]})"
        ) from error


def is_list(value):
    return isinstance(value, (list, tuple))


def all_tensors(values):
    return len(values) > 0 and all(isinstance(x, torch.Tensor) for x in values)


def states_of(value):
    """hidden_states as one list of tensors; None if it is none."""
    if isinstance(value, torch.Tensor):
        return list(value) if value.ndim > 2 and len(value) > 1 else None
    if not is_list(value) or not value:
        return None
    if all_tensors(value):
        return list(value)
    # Of generating: a list of states for the prompt, and for each token.
    if all(is_list(step) and all_tensors(step) for step in value):
        if len({len(step) for step in value}) == 1:
            return [torch.cat(list(parts), dim=-2) for parts in zip(*value)]
    return None


def flattened(value, name, pairs):
    """(name, tensor or pair) of all there is below `value`."""
    if value is None or isinstance(value, (str, bytes)):
        return
    if isinstance(value, (bool, int, float)):
        value = torch.tensor(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{name}.{key}" if name else str(key), pairs)
        return
    if name.rpartition(".")[2] == STATES or (not name and is_list(value)):
        states = states_of(value)
        if states is not None:
            for n, state in enumerate(states):
                yield f"{STATES}.{n}", state
            return
    if isinstance(value, torch.Tensor):
        yield name, value
    elif is_list(value):
        if pairs != "none" and all_tensors(value) and name:
            if pairs == "sum" and trace_hooks.is_pair(list(value)):
                yield name, value[0] + value[1]
                return
            if trace_hooks.LAYER.search(name) or name.endswith("norm"):
                yield name, list(value)
                return
        for i, inner in enumerate(value):
            yield from flattened(inner, f"{name}.{i}" if name else str(i), pairs)
    else:
        raise Unusable(f"{name}: expected tensors, found {type(value).__name__}")


def widened(tensor):
    """In a type that explorer reads, without rounding."""
    tensor = tensor.detach()
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise Unusable("it is sparse, quantized or complex")
    if tensor.is_floating_point():
        return tensor if tensor.dtype in FLOATS else tensor.float()
    return tensor.to(torch.int64)


def renamed(name, rules):
    return rules.get(name, name)


def convert(data, pairs="auto", rules=None, tokens=None):
    """name -> tensor, of what load() returned."""
    if isinstance(data, torch.Tensor):
        data = {STATES: data}
    parts = [
        (renamed(name, rules or {}), value)
        for name, value in flattened(data, "", pairs)
    ]
    numbers = [m for m in (trace_hooks.LAYER.search(name) for name, _ in parts) if m]
    layers = max((int(m[1]) for m in numbers), default=-1) + 1
    names = {name for name, _ in parts}
    if any(name.endswith(SGLANG_TOKENS) for name in names):
        # It writes a pass's file before that pass's logits: these are of the
        # pass before.
        parts = [x for x in parts if x[0] not in ("logits_processor", "model")]
    trace = {}

    def add(name, tensor):
        if name in trace:
            raise Unusable(f"two tensors are {name}")
        try:
            trace[name] = widened(tensor).contiguous().clone()
        except Unusable as error:
            raise Unusable(f"{name}: {error}") from error

    streams = {}
    for name, value in parts:
        if name in ("-", ""):
            continue
        # What SGLang's dump calls what explorer knows by another name.
        name = "input_ids" if name.endswith(SGLANG_TOKENS) else name
        name = re.sub(r"\.self_attn\.attn$", ".self_attn.o_proj.input", name)
        fused, ended = re.subn(r"\.mlp\.act_fn$", ".mlp.gate_up_proj", name)
        if ended and fused in names:
            name = fused.replace("gate_up_proj", "down_proj.input")
        found = trace_hooks.named(name, value, layers)
        if not found and is_list(value):
            found = {f"{name}.{i}": x for i, x in enumerate(value)}
        for ours, tensor in (found or {name: value}).items():
            is_residual = re.fullmatch(r"model\.layers\.\d+", ours) and not (
                re.search(r"layers\.\d+$", name)
            )
            if is_residual:
                streams[ours] = tensor
            else:
                add(ours, tensor)
    for name, tensor in streams.items():
        if name not in trace:
            add(name, tensor)
    if tokens is not None:
        trace["input_ids"] = torch.tensor(tokens, dtype=torch.int64)
    if not trace:
        raise Unusable("expected tensors, found none")
    return trace


def parse_tokens(text):
    return [int(token) for token in text.split(",") if token]


def parse_rule(text):
    theirs, equals, ours = text.partition("=")
    if not theirs or not equals or not ours:
        raise argparse.ArgumentTypeError(f"expected THEIRS=OURS, found {text}")
    return theirs, ours


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument(
        "--name", type=parse_rule, action="append", default=[], metavar="THEIRS=OURS"
    )
    parser.add_argument(
        "--pairs",
        choices=("auto", "sum", "none"),
        default="auto",
        help="tuples of two tensors of one shape: auto adds those of layers, sum\n"
        "adds all, none keeps NAME.0 and NAME.1",
    )
    parser.add_argument(
        "--tokens", type=parse_tokens, help="token ids, separated by commas"
    )
    parser.add_argument(
        "--void", choices=("bf16",), help="what numpy's elements of 2 raw bytes are"
    )
    arguments = parser.parse_args()
    if arguments.out.suffix != ".safetensors":
        parser.error("the file to write ends in .safetensors")
    try:
        trace = convert(
            load(arguments.source, arguments.void),
            arguments.pairs,
            dict(arguments.name),
            arguments.tokens,
        )
    except (Unusable, OSError, ValueError) as error:
        sys.exit(f"{arguments.source}: {error}")
    safetensors.torch.save_file(
        trace, str(arguments.out), {"made_by": "tools/convert_trace.py"}
    )
    arguments.out.chmod(0o644)
    for name, tensor in sorted(trace.items()):
        kind = str(tensor.dtype).removeprefix("torch.")
        print(f"{name}: {kind} {list(tensor.shape)}")


if __name__ == "__main__":
    main()

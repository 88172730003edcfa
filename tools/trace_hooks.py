"""Records what a program's modules compute, as a trace for `explorer --diagnose`.

    import trace_hooks
    with trace_hooks.recorded(model) as trace:
        model(torch.tensor([[1, 2, 3]]))
    trace_hooks.save(trace, "trace.safetensors", tokens=[1, 2, 3])

Works on any tree of torch modules that are named as Qwen's and Llama's are:
transformers, vLLM, SGLang, and programs that load the same checkpoints. Only
torch's own forward hooks are used, so nothing has to be known of the program;
docs/traces.md has the recipes. What there is no module for (the scores, and in
transformers RoPE) is not recorded: tools/dump_reference.py has these of
transformers.

Understood are, beside modules that return a tensor,

    (output, bias)         of linear layers: the output
    (hidden, residual)     of layers: their sum is the stream after the layer
    (normed, residual)     of norms that add first: the stream before the norm
    (q, k)                 of self_attn.rotary_emb: after RoPE
    qkv_proj, gate_up_proj fused projections, which explorer takes apart

Tensors are copied when they come by, so that operations in place do not change
the trace. Rows are tokens: where a module is called again, as in chunked
prefill or while decoding, rows are appended. Run one sequence, in eager mode
(hooks do not see what a CUDA graph or a compiler runs), on one device (of
tensor parallelism each rank has a part only), and without warming up within
`recorded`.

tools/trace_hooks_test.py tests this file.
"""

import contextlib
import pathlib
import re

import torch

LAYER = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.(.+))?$")
LAYER_MODULES = {
    *(f"self_attn.{x}_proj" for x in ("q", "k", "v", "o", "qkv")),
    *(f"self_attn.{x}_norm" for x in "qk"),
    *(f"mlp.{x}_proj" for x in ("gate", "up", "down", "gate_up")),
    "input_layernorm",
    "post_attention_layernorm",
    "self_attn.rotary_emb",
}
# Of these, what they are given is an op's output, too.
INPUTS = {
    "self_attn.o_proj",
    "mlp.down_proj",
    "post_attention_layernorm",
}
MODEL_MODULES = {
    "embed_tokens": "model.embed_tokens",
    "norm": "model.norm",
    "lm_head": "logits",
    "logits_processor": "logits",
}


def tensors_of(output):
    """The tensors that a module returns, in their order."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, (tuple, list)):
        return [x for x in output if isinstance(x, torch.Tensor)]
    # SGLang's logits processor.
    logits = getattr(output, "next_token_logits", None)
    return [logits] if isinstance(logits, torch.Tensor) else []


def is_pair(tensors):
    """Whether it is (x, residual): two of one shape and type."""
    return (
        len(tensors) == 2
        and tensors[0].shape == tensors[1].shape
        and tensors[0].dtype == tensors[1].dtype
        and tensors[0].is_floating_point()
    )


def named(module, output, layers=0):
    """name in a trace -> tensor, of what a module of that path returns.

    Empty for modules that no name is for. With `layers`, how many the model
    has, also the streams that norms are given as the residual: for programs
    whose layers' own outputs are not there.
    """
    tensors = tensors_of(output)
    if not tensors:
        return {}
    found = LAYER.search(module)
    if not found:
        name = MODEL_MODULES.get(module.rpartition(".")[2])
        if name is None:
            return {}
        names = {name: tensors[0]}
        if name == "model.norm" and is_pair(tensors) and layers > 0:
            names[f"model.layers.{layers - 1}"] = tensors[1]
        return names
    layer, part = int(found[1]), found[2]
    path = f"model.layers.{layer}"
    if part is None:
        pair = is_pair(tensors)
        return {path: tensors[0] + tensors[1] if pair else tensors[0]}
    if part == "self_attn.rotary_emb":
        if len(tensors) != 2:
            return {}
        attention = f"{path}.self_attn"
        return {
            f"{attention}.q_rope": tensors[0],
            f"{attention}.k_rope": tensors[1],
        }
    if part not in LAYER_MODULES:
        return {}
    names = {f"{path}.{part}": tensors[0]}
    if is_pair(tensors) and part == "post_attention_layernorm":
        names[f"{path}.{part}.input"] = tensors[1]
    if is_pair(tensors) and part == "input_layernorm" and min(layers, layer) > 0:
        names[f"model.layers.{layer - 1}"] = tensors[1]
    return names


class Recorder:
    """Gathers tensors under the names of a trace, with tokens as rows."""

    def __init__(self):
        self.tokens = None  # what rows the pass has: their number, or a batch
        self.calls = {}  # name -> tensors, by call

    def keep(self, name, tensor):
        tensor = tensor.detach()
        if name == "model.embed_tokens":
            self.tokens = tensor.shape[:-1]
        if name != "logits" and self.tokens is not None:
            count = self.tokens.numel()
            if count == 0 or tensor.numel() % count != 0:
                return
            tensor = tensor.reshape(*self.tokens, -1)
        # Logits may be of the last positions alone.
        if tensor.ndim == 3 and len(tensor) == 1:
            tensor = tensor[0]
        self.calls.setdefault(name, []).append(tensor.to("cpu", copy=True))

    def on_output(self, path, output):
        for name, tensor in named(path, output).items():
            self.keep(name, tensor)

    def on_input(self, path, args):
        if not tensors_of(args) or is_pair(tensors_of(args)):
            return
        layer, part = LAYER.search(path).groups()
        self.keep(f"model.layers.{layer}.{part}.input", tensors_of(args)[0])

    def trace(self):
        return {
            name: torch.cat(calls, dim=-2) for name, calls in self.calls.items()
        }


def attach(model, recorder):
    """Hooks all modules that a name is for; returns the hooks' handles."""
    handles = []
    for path, module in model.named_modules():
        found = LAYER.search(path)
        part = found[2] if found else None
        is_named = (
            part is None or part in LAYER_MODULES
            if found
            else path.rpartition(".")[2] in MODEL_MODULES
        )
        if not is_named:
            continue
        if part in INPUTS:
            handles.append(
                module.register_forward_pre_hook(
                    lambda m, args, path=path: recorder.on_input(path, args)
                )
            )
        handles.append(
            module.register_forward_hook(
                lambda m, args, output, path=path: recorder.on_output(
                    path, output
                )
            )
        )
    return handles


@contextlib.contextmanager
def recorded(model):
    """Records what the model does within; the trace is there afterwards."""
    recorder = Recorder()
    handles = attach(model, recorder)
    trace = {}
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()
        trace.update(recorder.trace())


def save(trace, path, tokens=None, **metadata):
    """Writes a safetensors file; `tokens` are those that were run."""
    import safetensors.torch

    trace = {name: tensor.contiguous() for name, tensor in trace.items()}
    if tokens is not None:
        trace["input_ids"] = torch.tensor(tokens, dtype=torch.int64)
    metadata = {
        "format": "pt",
        "made_by": "tools/trace_hooks.py",
        **{key: str(value) for key, value in metadata.items()},
    }
    safetensors.torch.save_file(trace, str(pathlib.Path(path)), metadata)

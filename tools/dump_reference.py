"""Writes what transformers computes as a trace for `explorer --diagnose`.

    python3 tools/dump_reference.py MODEL --tokens=1,2,3 --dtype=bfloat16 \
        --out=trace.safetensors
    explorer --diagnose --model=MODEL --reference=trace.safetensors

Needs torch, transformers 5 and safetensors (GGUF files also gguf and
accelerate); the build does not need this script. MODEL is a folder as
`save_pretrained` writes it, a model's name on the Hub, or, with --gguf-file,
the folder of a GGUF file. The model runs on the CPU, once over all tokens, with
eager attention, so that every step is an operation of PyTorch; or, with
--attention=sdpa, with scaled_dot_product_attention, whose scores and weights
nobody sees: the trace then lacks attention_scores and attention_weights.

The trace is a safetensors file in the dtype of the run. Rows are tokens; names
are those of transformers' modules, `.input` is what a module was given:

    hidden_states.N            what `output_hidden_states=True` returns: 0 is
                               the embeddings, and the LAST ONE COMES AFTER THE
                               FINAL NORM, unlike all others
    model.layers.I             what layer I returns: the residual stream. That
                               of the last layer is what the final norm is given
    model.norm, logits, model.embed_tokens
    input_ids                  the tokens, int64

and, unless --no-ops, all that happens within model.layers.I:

    input_layernorm, post_attention_layernorm
    self_attn.{q,k,v,o}_proj, self_attn.{q,k}_norm, mlp.{gate,up,down}_proj
    self_attn.{q,k}_rope              after the rotation [tokens, heads * width]
    self_attn.attention_scores        [heads, query, key]: scaled, not masked
    self_attn.attention_weights       [heads, query, key]: after the softmax
    self_attn.o_proj.input            the heads' outputs
    post_attention_layernorm.input    the stream between attention and MLP
    mlp.down_proj.input               act(gate) * up

Architectures are those that are written as Llama's: a `model` with
`embed_tokens`, `layers`, `norm`, and functions `apply_rotary_pos_emb` and
`eager_attention_forward` next to it (Llama, Qwen2, Qwen3, Mistral, ...).

Even of a float64 model, transformers computes RMSNorm, the softmax and all of
RoPE in float32; --float64-throughout turns that off.

tools/dump_reference_test.py tests this script.
"""

import argparse
import contextlib
import json
import pathlib
import sys

import safetensors.torch
import torch
import transformers
from make_reference_fixtures import float64_throughout

DTYPES = {
    name: getattr(torch, name)
    for name in ("bfloat16", "float16", "float32", "float64")
}

OUTPUTS = ("_proj", "_norm", "layernorm")
INPUTS_TOO = ("o_proj", "down_proj", "post_attention_layernorm")


class ScoreRecorder(torch.overrides.TorchFunctionMode):
    """Finds the scores within attention: what the mask is added to.

    Without a mask, what the softmax is given. The sum with the mask does not
    do: of a masked score it leaves nothing.
    """

    def __init__(self, mask):
        super().__init__()
        self.mask = mask
        self.scores = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if self.scores is None:
            adds_mask = (
                self.mask is not None
                and len(args) == 2
                and args[1] is self.mask
                and function.__name__ in ("add", "__add__")
            )
            is_softmax = function is torch.nn.functional.softmax
            if adds_mask or (self.mask is None and is_softmax):
                self.scores = args[0].clone()
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def replaced(owner, name, value):
    """Has owner.name be `value` for a while."""
    saved = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, saved)


def first(output):
    return output[0] if isinstance(output, tuple) else output


def join_heads(x):
    """[1, heads, tokens, width] -> [1, tokens, heads * width]."""
    return x.transpose(1, 2).flatten(2)


def record_ops(model, keep, cleanup):
    """Has `keep(name, tensor)` called with everything within the layers.

    Scores and weights only of eager attention: others compute them in one op.

    Modules are hooked; RoPE and the scores are no modules, so their functions
    are replaced by ones that call them and look. `cleanup` undoes it all.
    """
    modeling = sys.modules[type(model).__module__]
    eager = model.config._attn_implementation == "eager"
    needed = ["apply_rotary_pos_emb"]
    if eager:
        needed.append("eager_attention_forward")
    for name in needed:
        if not hasattr(modeling, name):
            raise NotImplementedError(
                f"{type(model).__name__}: its module has no {name} to record; "
                "--no-ops does without"
            )
    rotate = modeling.apply_rotary_pos_emb
    attend = modeling.eager_attention_forward if eager else None
    current_attention = None

    def recording_rotate(*args, **kwargs):
        q, k = rotate(*args, **kwargs)
        keep(f"{current_attention}.q_rope", join_heads(q))
        keep(f"{current_attention}.k_rope", join_heads(k))
        return q, k

    def recording_attend(module, query, key, value, attention_mask, **kwargs):
        with ScoreRecorder(attention_mask) as recorder:
            output, weights = attend(
                module, query, key, value, attention_mask, **kwargs
            )
        keep(f"{current_attention}.attention_scores", recorder.scores)
        keep(f"{current_attention}.attention_weights", weights)
        return output, weights

    cleanup.enter_context(
        replaced(modeling, "apply_rotary_pos_emb", recording_rotate)
    )
    if eager:
        cleanup.enter_context(
            replaced(modeling, "eager_attention_forward", recording_attend)
        )

    def enters_attention(path):
        def enter(*_):
            nonlocal current_attention
            current_attention = path

        return enter

    for i, layer in enumerate(model.model.layers):
        for name, module in layer.named_modules():
            path = f"model.layers.{i}.{name}"
            hooks = []
            if name.endswith(OUTPUTS):
                # Norms of heads come as [1, tokens, heads, width].
                hooks.append(
                    module.register_forward_hook(
                        lambda m, args, output, path=path: keep(
                            path, output.flatten(2)
                        )
                    )
                )
            if name.endswith(INPUTS_TOO):
                hooks.append(
                    module.register_forward_pre_hook(
                        lambda m, args, path=path: keep(
                            path + ".input", args[0]
                        )
                    )
                )
            if name == "self_attn":
                hooks.append(
                    module.register_forward_pre_hook(enters_attention(path))
                )
            for hook in hooks:
                cleanup.callback(hook.remove)


def capture(model, tokens, ops=True):
    """One forward pass: name -> tensor, as described at the top of this file.

    Tensors are copied when they come by: what is written into one of them later
    does not show.
    """
    trace = {}

    def keep(name, tensor):
        trace[name] = tensor.detach().squeeze(0).cpu().clone().contiguous()

    with contextlib.ExitStack() as cleanup:

        def on_output(module, name):
            hook = module.register_forward_hook(
                lambda m, args, output: keep(name, first(output))
            )
            cleanup.callback(hook.remove)

        on_output(model.model.embed_tokens, "model.embed_tokens")
        for i, layer in enumerate(model.model.layers):
            on_output(layer, f"model.layers.{i}")
        on_output(model.model.norm, "model.norm")
        if ops:
            record_ops(model, keep, cleanup)
        ids = torch.tensor([tokens], dtype=torch.int64)
        with torch.no_grad():
            output = model(ids, output_hidden_states=True, use_cache=False)
        for i, state in enumerate(output.hidden_states):
            keep(f"hidden_states.{i}", state)
        keep("logits", output.logits)
        keep("input_ids", ids)
    return trace


def load(
    model, dtype, gguf_file=None, throughout=False, attention="eager"
):
    """The model in `dtype`; float64 throughout if asked.

    Not `.to(dtype)`: that would round RoPE's frequencies as well.
    """
    more = {}
    if gguf_file is not None:
        more["gguf_file"] = gguf_file
        more["quantization_config"] = transformers.GgufConfig(dequantize=True)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        model,
        dtype=dtype,
        attn_implementation=attention,
        local_files_only=pathlib.Path(model).is_dir(),
        **more,
    ).eval()
    if throughout:
        with float64_throughout():
            # RoPE keeps its inverse frequencies from when it was made.
            rope_type = type(loaded.model.rotary_emb)
            loaded.model.rotary_emb = rope_type(loaded.config)
    return loaded


def run(model, tokens, ops=True, throughout=False):
    """`capture`, with float64 wherever transformers says float32, if asked."""
    with float64_throughout() if throughout else contextlib.nullcontext():
        return capture(model, tokens, ops)


def save(trace, path, dtype, made_by="tools/dump_reference.py", **metadata):
    """Writes a safetensors file; metadata says what it was made with."""
    metadata = {
        "made_by": made_by,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        **{key: str(value) for key, value in metadata.items()},
    }
    data = safetensors.torch.save(trace, metadata=metadata)
    # The library writes metadata in an order that changes from run to run.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    header = text.encode().ljust(end - 8)
    assert len(header) == end - 8
    path.write_bytes(data[:8] + header + data[end:])
    path.chmod(0o644)


def parse_tokens(text):
    return [int(token) for token in text.split(",")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", help="a folder, or a name on the Hub")
    parser.add_argument(
        "--tokens",
        type=parse_tokens,
        required=True,
        help="token ids, separated by commas",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument(
        "--attention",
        choices=("eager", "sdpa"),
        default="eager",
        help="transformers' attn_implementation",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="the file to write"
    )
    parser.add_argument(
        "--ops",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also what happens within the layers",
    )
    parser.add_argument("--gguf-file", help="name of a GGUF file in the folder")
    parser.add_argument(
        "--float64-throughout",
        action="store_true",
        help="leave no step in float32; only with --dtype=float64",
    )
    arguments = parser.parse_args()
    dtype = DTYPES[arguments.dtype]
    if arguments.float64_throughout and dtype != torch.float64:
        parser.error("--float64-throughout needs --dtype=float64")
    model = load(
        arguments.model,
        dtype,
        arguments.gguf_file,
        arguments.float64_throughout,
        arguments.attention,
    )
    vocabulary = model.config.vocab_size
    for token in arguments.tokens:
        if not 0 <= token < vocabulary:
            parser.error(f"--tokens: {token} is not in [0, {vocabulary})")
    trace = run(
        model, arguments.tokens, arguments.ops, arguments.float64_throughout
    )
    name = arguments.gguf_file or pathlib.Path(arguments.model).name
    save(
        trace,
        arguments.out,
        dtype,
        model=name,
        attention=arguments.attention,
        float64_throughout=arguments.float64_throughout,
    )
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(trace)} tensors, {size} bytes")


if __name__ == "__main__":
    main()

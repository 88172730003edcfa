"""Bugs of decoders, patched into transformers: what make_bug_zoo.py shows.

Each bug is a function of a `Patch`: it changes the freshly loaded model that it
is given, or, with `patch.replace`, transformers itself for as long as that
model runs. A few are no bugs of a model but of the comparison; they edit its
trace. BUGS are those of the catalogue of `explorer --diagnose`, OUTSIDE some
that it does not know.
"""

import dataclasses
import sys
from collections.abc import Callable

import torch
from dump_reference import replaced
from torch import nn


class Patch:
    """What a bug may change: a model of its own, and for a while, anything."""

    def __init__(self, model, cleanup):
        self.model = model
        self.modeling = sys.modules[type(model).__module__]
        self.layers = model.model.layers
        self.cleanup = cleanup

    def replace(self, owner, name, value):
        self.cleanup.enter_context(replaced(owner, name, value))

    def norms(self):
        kind = type(self.model.model.norm)
        return [m for m in self.model.modules() if isinstance(m, kind)]


@dataclasses.dataclass
class Bug:
    """How to make a trace with it, and for what it makes sense."""

    id: str  # in the catalogue; several may share it
    patch: Callable = lambda patch: None
    edit: Callable = lambda trace, dtype: trace
    archs: tuple = ("qwen3", "qwen2")
    dtypes: tuple = ("float32", "bfloat16")
    # Changes layers' outputs and logits by no more than rounding does.
    is_rounding: bool = False
    # Which tokens of make_bug_zoo.py show it in bfloat16.
    bf16_tokens: str = "usual"


BUGS = {}
OUTSIDE = {}


def add(name, registry=BUGS, id=None, **traits):
    registry[name] = Bug(id=id or name, **traits)


def bug(name, registry=BUGS, **traits):
    """Adds the decorated function as the patch of a bug."""

    def decorate(patch):
        add(name, registry, patch=patch, **traits)
        return patch

    return decorate


# The comparison itself.


def without_ops(trace):
    return {
        name: tensor
        for name, tensor in trace.items()
        if name in ("input_ids", "logits") or name.startswith("hidden_states.")
    }


def true_states(trace):
    """The residual stream: the embeddings and what each layer returns."""
    count = sum(name.startswith("hidden_states.") for name in trace)
    states = [trace["model.embed_tokens"]]
    return states + [trace[f"model.layers.{i}"] for i in range(count - 1)]


def last_state_normed(trace, dtype):
    """No word of the last layer but hidden_states.N, which is normalized."""
    last = len(true_states(trace)) - 2
    rest = dict(trace)
    del rest[f"model.layers.{last}"], rest["model.norm"]
    return without_ops(rest) if dtype == "bfloat16" else rest


def shift_states(trace, by):
    """hidden_states.(n + by) for state n, none of them normalized."""
    shifted = {
        f"hidden_states.{n + by}": state.clone()
        for n, state in enumerate(true_states(trace))
        if n + by >= 0
    }
    ids, logits = trace["input_ids"], trace["logits"]
    return {"input_ids": ids, "logits": logits, **shifted}


add("last_state_normed", edit=last_state_normed)
add(
    "index_off_by_one_minus",
    id="index_off_by_one",
    edit=lambda trace, dtype: shift_states(trace, -1),
)
add(
    "index_off_by_one_plus",
    id="index_off_by_one",
    edit=lambda trace, dtype: shift_states(trace, 1),
)


# RoPE.


@bug("rope_neighbours")
def rope_neighbours(patch):
    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        half = cos.shape[-1] // 2
        c = cos[..., :half].unsqueeze(unsqueeze_dim)
        s = sin[..., :half].unsqueeze(unsqueeze_dim)

        def pairs(x):
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * c - b * s, b * c + a * s], -1).flatten(-2)

        return pairs(q), pairs(k)

    patch.replace(patch.modeling, "apply_rotary_pos_emb", rotate)


def use_theta(patch, theta):
    model = patch.model.model
    model.config.rope_parameters["rope_theta"] = theta
    model.rotary_emb = type(model.rotary_emb)(model.config)


add("rope_theta_1e4", id="rope_theta", patch=lambda p: use_theta(p, 1e4))
add("rope_theta_5e5", id="rope_theta", patch=lambda p: use_theta(p, 5e5))


def on_rope(patch, change):
    """Has `change(forward, rope, x, positions)` make the cosines and sines."""
    rope_type = type(patch.model.model.rotary_emb)
    forward = rope_type.forward
    patch.replace(
        rope_type,
        "forward",
        lambda rope, x, position_ids: change(forward, rope, x, position_ids),
    )


@bug("positions_plus_one", is_rounding=True)
def positions_plus_one(patch):
    on_rope(patch, lambda forward, rope, x, at: forward(rope, x, at + 1))


@bug("query_positions_plus_one")
def query_positions_plus_one(patch):
    def one_more(forward, rope, x, at):
        return forward(rope, x, torch.cat([at, at[:, -1:] + 1], 1))

    rotate = patch.modeling.apply_rotary_pos_emb

    def rotate_apart(q, k, cos, sin):
        q, _ = rotate(q, q, cos[:, 1:], sin[:, 1:])
        k, _ = rotate(k, k, cos[:, :-1], sin[:, :-1])
        return q, k

    on_rope(patch, one_more)
    patch.replace(patch.modeling, "apply_rotary_pos_emb", rotate_apart)


# Five positions do not tell these two apart in bfloat16.


@bug("rope_angles_bf16", is_rounding=True, bf16_tokens="many")
def rope_angles_bf16(patch):
    def cosines(forward, rope, x, at):
        angles = at[..., None].bfloat16() * rope.inv_freq.bfloat16()
        both = torch.cat([angles, angles], -1)
        return both.cos().to(x.dtype), both.sin().to(x.dtype)

    on_rope(patch, cosines)


@bug("rope_frequencies_bf16", is_rounding=True, bf16_tokens="many")
def rope_frequencies_bf16(patch):
    # What `model.to(torch.bfloat16)` does to it.
    rope = patch.model.model.rotary_emb
    rope.inv_freq = rope.inv_freq.bfloat16()


@bug("rope_cosines_bf16", dtypes=("float32",))
def rope_cosines_bf16(patch):
    def cosines(forward, rope, x, at):
        cos, sin = forward(rope, x, at)
        return cos.bfloat16().to(x.dtype), sin.bfloat16().to(x.dtype)

    on_rope(patch, cosines)


# Norms.


def use_eps(patch, eps):
    for norm in patch.norms():
        norm.variance_epsilon = eps


add("norm_eps_1e-5", patch=lambda patch: use_eps(patch, 1e-5))
add("norm_eps_1e-8", patch=lambda patch: use_eps(patch, 1e-8))


def normalized(norm, x):
    """In float32, with nothing rounded to x's dtype."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, True) + norm.variance_epsilon)


def replace_norms(patch, forward):
    patch.replace(type(patch.model.model.norm), "forward", forward)


@bug("norm_weight_before_cast", dtypes=("bfloat16",), is_rounding=True)
def norm_weight_before_cast(patch):
    replace_norms(
        patch,
        lambda norm, x: (norm.weight.float() * normalized(norm, x)).to(x.dtype),
    )


@bug("norm_weight_plus_one")
def norm_weight_plus_one(patch):
    # The sum is rounded to the dtype, like the weight.
    replace_norms(
        patch,
        lambda norm, x: (1 + norm.weight) * normalized(norm, x).to(x.dtype),
    )


@bug("qk_norm_missing", archs=("qwen3",))
def qk_norm_missing(patch):
    for layer in patch.layers:
        layer.self_attn.q_norm = nn.Identity()
        layer.self_attn.k_norm = nn.Identity()


@bug("qk_norm_after_rope", archs=("qwen3",))
def qk_norm_after_rope(patch):
    modeling = patch.modeling

    def forward(self, hidden_states, position_embeddings, attention_mask, **_):
        def heads(projection):
            x = projection(hidden_states).unflatten(-1, (-1, self.head_dim))
            return x.transpose(1, 2)

        q, k = heads(self.q_proj), heads(self.k_proj)
        q, k = modeling.apply_rotary_pos_emb(q, k, *position_embeddings)
        # Norms are given [1, tokens, heads, head_dim], as without the bug.
        q = self.q_norm(q.transpose(1, 2)).transpose(1, 2)
        k = self.k_norm(k.transpose(1, 2)).transpose(1, 2)
        output, weights = modeling.eager_attention_forward(
            self,
            q,
            k,
            heads(self.v_proj),
            attention_mask,
            scaling=self.scaling,
        )
        return self.o_proj(output.flatten(2)), weights

    patch.replace(type(patch.layers[0].self_attn), "forward", forward)


# Attention.


@bug("qkv_bias_missing", archs=("qwen2",))
def qkv_bias_missing(patch):
    for layer in patch.layers:
        for name in ("q_proj", "k_proj", "v_proj"):
            getattr(layer.self_attn, name).bias = None


@bug("kv_heads_tiled")
def kv_heads_tiled(patch):
    patch.replace(
        patch.modeling, "repeat_kv", lambda x, times: x.repeat(1, times, 1, 1)
    )


@bug("attention_scale_hidden")
def attention_scale_hidden(patch):
    for layer in patch.layers:
        layer.self_attn.scaling = patch.model.config.hidden_size**-0.5


def use_mask(patch, allowed):
    """A mask that lets query i see key j where allowed(i, j)."""

    def create(inputs_embeds, **_):
        at = torch.arange(inputs_embeds.shape[1])
        hidden = ~allowed(at[:, None], at)
        lowest = torch.finfo(inputs_embeds.dtype).min
        mask = torch.zeros(hidden.shape, dtype=inputs_embeds.dtype)
        return mask.masked_fill(hidden, lowest)[None, None]

    patch.replace(patch.modeling, "create_causal_mask", create)


@bug("no_causal_mask")
def no_causal_mask(patch):
    use_mask(patch, lambda i, j: i + j >= 0)


@bug("softmax_f16_without_max", bf16_tokens="loud")
def softmax_f16_without_max(patch):
    """Every step in float16; exp overflows where tokens are loud."""

    def softmax(x, dim, dtype):
        e = x.half().exp()
        # Not e.sum(), which adds in float32 and rounds once.
        total = torch.zeros_like(e[..., :1])
        for term in e.split(1, dim):
            total = total + term
        return e / total

    patch.replace(nn.functional, "softmax", softmax)


# The MLP and the residual stream.


def use_activation(patch, activation):
    for layer in patch.layers:
        layer.mlp.act_fn = activation


add("gelu", patch=lambda patch: use_activation(patch, nn.GELU()))
add(
    "gelu_tanh",
    patch=lambda patch: use_activation(patch, nn.GELU(approximate="tanh")),
)


@bug("gate_up_swapped")
def gate_up_swapped(patch):
    def forward(mlp, x):
        return mlp.down_proj(mlp.act_fn(mlp.up_proj(x)) * mlp.gate_proj(x))

    patch.replace(type(patch.layers[0].mlp), "forward", forward)


def use_residuals(patch, add_attention, add_mlp):
    """Layers whose sums are made by functions of (layer, stream, update)."""

    def forward(layer, hidden_states, **more):
        x = layer.input_layernorm(hidden_states)
        x, _ = layer.self_attn(hidden_states=x, **more)
        stream = add_attention(layer, hidden_states, x)
        x = layer.mlp(layer.post_attention_layernorm(stream))
        return add_mlp(layer, stream, x)

    patch.replace(type(patch.layers[0]), "forward", forward)


@bug("residual_bf16", dtypes=("float32",))
def residual_bf16(patch):
    def add(layer, stream, update):
        return (stream.bfloat16() + update.bfloat16()).to(stream.dtype)

    use_residuals(patch, add, add)


# The head.


@bug("final_norm_missing")
def final_norm_missing(patch):
    patch.model.model.norm = nn.Identity()


@bug("head_tied_wrongly", archs=("qwen3",))
def head_tied_wrongly(patch):
    patch.model.lm_head.weight = patch.model.model.embed_tokens.weight


# Weights and sums.


def round_weights(patch, rounded, matrices_only=False):
    with torch.no_grad():
        for parameter in patch.model.parameters():
            if parameter.dim() == 2 or not matrices_only:
                parameter.copy_(rounded(parameter))


def q8_0(x):
    """ggml's blocks of 32 along a row: round(x / d) * d, d = max|x| / 127."""
    blocks = x.unflatten(1, (-1, 32))
    d = blocks.abs().amax(-1, True) / 127
    ratio = blocks * torch.where(d == 0, 0, 1 / d)
    q = torch.sign(ratio) * torch.floor(ratio.abs() + 0.5)
    return (q * d.half().float()).flatten(1)


@bug("weights_bf16", dtypes=("float32",))
def weights_bf16(patch):
    round_weights(patch, lambda x: x.bfloat16().float())


@bug("weights_f16", dtypes=("float32",))
def weights_f16(patch):
    round_weights(patch, lambda x: x.half().float())


@bug("weights_q8_0", dtypes=("float32",))
def weights_q8_0(patch):
    round_weights(patch, q8_0, matrices_only=True)


@bug("matmul_bf16_acc", dtypes=("bfloat16",), is_rounding=True)
def matmul_bf16_acc(patch):
    """Running sums of linears rounded to bf16 after every 32 products.

    Sums within attention are left alone: none has 32 terms.
    """

    def linear(x, weight, bias=None):
        x, weight = x.float(), weight.float()
        total = torch.zeros(*x.shape[:-1], len(weight))
        for k in range(x.shape[-1]):
            total = total + x[..., k, None] * weight[:, k]
            if k % 32 == 31:
                total = total.bfloat16().float()
        if bias is not None:
            total = total + bias.float()
        return total.bfloat16()

    patch.replace(nn.functional, "linear", linear)


# Outside the catalogue.


@bug("relu", OUTSIDE, archs=("qwen3",), dtypes=("float32",))
def relu(patch):
    use_activation(patch, nn.ReLU())


@bug("post_norm_is_layer_norm", OUTSIDE, archs=("qwen3",), dtypes=("bfloat16",))
def post_norm_is_layer_norm(patch):
    for layer in patch.layers:
        norm = layer.post_attention_layernorm
        norm.forward = lambda x, forward=norm.forward: forward(
            x - x.mean(-1, keepdim=True)
        )


@bug(
    "attention_residual_skipped_in_layer_2",
    OUTSIDE,
    archs=("qwen2",),
    dtypes=("bfloat16",),
)
def attention_residual_skipped_in_layer_2(patch):
    def add_attention(layer, stream, update):
        return update if layer is patch.layers[1] else stream + update

    use_residuals(patch, add_attention, lambda layer, stream, x: stream + x)


@bug("sliding_window_3", OUTSIDE, archs=("qwen3",), dtypes=("float32",))
def sliding_window_3(patch):
    use_mask(patch, lambda i, j: (j <= i) & (i - j < 3))


@bug("logits_of_abs", OUTSIDE, archs=("qwen3",), dtypes=("bfloat16",))
def logits_of_abs(patch):
    head = patch.model.lm_head
    forward = head.forward
    head.forward = lambda x: forward(x).abs()


@bug("v_shifted_in_layer_2", OUTSIDE, archs=("qwen2",), dtypes=("float32",))
def v_shifted_in_layer_2(patch):
    projection = patch.layers[1].self_attn.v_proj
    forward = projection.forward
    projection.forward = lambda x: forward(x).roll(1, -1)

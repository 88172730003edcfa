"""Runs programs of correct_programs.py, and records all that they compute."""

import contextlib
import inspect
from collections import defaultdict

import torch
from correct_programs import BATCH, CHUNKS, PADDED, TOKENS
from dump_reference import load, record_ops
from make_reference_fixtures import float64_throughout
from torch.nn import functional as F
from transformers import DynamicCache
from transformers_bugs import Patch

PADDING = 3  # tokens before ours, where there are any


class RoundingCache(DynamicCache):
    """A KV cache that keeps what `rounded` makes of keys and values."""

    def __init__(self, config, rounded, keep):
        super().__init__(config=config)
        self.rounded, self.keep = rounded, keep

    def update(self, keys, values, layer, *args, **more):
        keys, values = self.rounded(keys), self.rounded(values)
        for name, x in (("kv_k", keys), ("kv_v", values)):
            joined = x.transpose(1, 2).flatten(2)
            self.keep(f"model.layers.{layer}.self_attn.{name}", joined)
        return super().update(keys, values, layer, *args, **more)


def cache_of(program, model, keep):
    if program.cached:
        return RoundingCache(model.config, program.cached, keep)
    return DynamicCache(config=model.config)


def chunks_of(program, count):
    """Sizes of the pieces that the prompt is fed in."""
    if program.feed == TOKENS:
        return [1] * count
    if program.feed == CHUNKS and count > 2:
        first, second = count // 2, count // 4
        return [first, second, count - first - second]
    return [count]


def inputs_of(program, tokens):
    """What the model is given, and how many rows of it come before ours."""
    ids = torch.tensor([tokens])
    if program.feed == BATCH:
        return {"input_ids": torch.cat([ids, ids.flip(1)])}, 0
    if program.feed == PADDED:
        padded = F.pad(ids, (PADDING, 0))
        mask = F.pad(torch.ones_like(ids), (PADDING, 0))
        other = F.pad(ids.flip(1), (0, PADDING), value=3)
        positions = torch.stack(
            [(mask[0].cumsum(0) - 1).clamp(min=0), torch.arange(len(mask[0]))]
        )
        return {
            "input_ids": torch.cat([padded, other]),
            "attention_mask": torch.cat([mask, torch.ones_like(mask)]),
            "position_ids": positions,
        }, PADDING
    return {"input_ids": ids}, 0


class Recorder:
    """Tensors of the row that is ours, piece after piece."""

    def __init__(self, skipped):
        self.skipped = skipped
        self.pieces = defaultdict(list)

    def keep(self, name, tensor):
        ours = tensor.detach()[0]
        if ours.ndim == 3:
            ours = ours[:, self.skipped :, self.skipped :]
        else:
            ours = ours[self.skipped :]
        self.pieces[name].append(ours.clone())

    def trace(self):
        joined = {}
        for name, pieces in self.pieces.items():
            # Scores of pieces have other keys each.
            if len(pieces) == 1:
                joined[name] = pieces[0].contiguous()
            elif pieces[0].ndim == 2:
                joined[name] = torch.cat(pieces).contiguous()
        return joined


def record_modules(model, keep, cleanup):
    def on_output(module, name):
        hook = module.register_forward_hook(
            lambda m, args, output: keep(
                name, output[0] if isinstance(output, tuple) else output
            )
        )
        cleanup.callback(hook.remove)

    on_output(model.model.embed_tokens, "model.embed_tokens")
    for i, layer in enumerate(model.model.layers):
        on_output(layer, f"model.layers.{i}")
    on_output(model.model.norm, "model.norm")


def run(program, folder, tokens):
    """name -> tensor: all that can be seen of the program."""
    dtype = getattr(torch, program.dtype)
    model = load(folder, dtype, None, program.throughout, program.attention)
    inputs, skipped = inputs_of(program, tokens)
    recorder = Recorder(skipped)
    keep = recorder.keep
    sizes = chunks_of(program, len(tokens))
    with contextlib.ExitStack() as cleanup:
        if program.throughout:
            cleanup.enter_context(float64_throughout())
        for patch in program.patches:
            patch(Patch(model, cleanup))
        if not program.compiled:
            record_modules(model, keep, cleanup)
            record_ops(model, keep, cleanup)
        more, cache_name = {"use_cache": False}, "past_key_values"
        if program.cached or len(sizes) > 1:
            # Its name depends on the version of transformers.
            if "cache" in inspect.signature(model.forward).parameters:
                cache_name = "cache"
            cache = cache_of(program, model, keep)
            more = {"use_cache": True, cache_name: cache}
        if program.autocast:
            to = getattr(torch, program.autocast)
            cleanup.enter_context(torch.autocast("cpu", dtype=to))
        cleanup.enter_context(torch.no_grad())
        forward = torch.compile(model) if program.compiled else model
        begin = 0
        for size in sizes:
            part = inputs if len(sizes) == 1 else {
                "input_ids": inputs["input_ids"][:, begin : begin + size]
            }
            output = forward(**part, output_hidden_states=True, **more)
            for i, state in enumerate(output.hidden_states):
                keep(f"hidden_states.{i}", state)
            keep("logits", output.logits)
            begin += size
    trace = recorder.trace()
    if program.kept_as:
        to = getattr(torch, program.kept_as)
        trace = {name: x.to(to) for name, x in trace.items()}
    trace["input_ids"] = torch.tensor(tokens)
    return trace

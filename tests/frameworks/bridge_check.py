#!/usr/bin/env python3
"""Real Megatron-Bridge on a checkpoint that `connector` wrote, on the CPU.

    bridge_check.py DIR FIXTURE CONFIG.json [--verify PATH]

DIR         an iteration: OUT/iter_0000000 of --flavor megatron-bridge, OUT/release of --flavor megatron-lm
FIXTURE     a folder of tests/fixtures: nemo_state.safetensors and logits.safetensors are compared
CONFIG      the model's fields as mcore_check.py wants them (for the mask of attention)
--verify    the folder of mcore_check.py and te_standin

Loads the model by Bridge's own `load_megatron_model` from what DIR says of it, compares every parameter bit
for bit and the logits, and loads the tokenizer. Exit status 0 if all is well.

Needs megatron-bridge 0.3.1 (pip install --no-deps), megatron-core 0.16, torch, transformers 4.57, omegaconf,
hydra-core, psutil. Transformer Engine is te_standin; packages that Bridge imports and this path never calls
are empty modules. On the CPU weights are held in float32 and kernels are not fused.
"""
import argparse, contextlib, importlib.machinery, io, json, os, sys, types

UNUSED = {"modelopt", "datasets"}


class Empty(types.ModuleType):
    """A module any of whose names is an empty class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {"__init__": lambda self, *a, **k: None})
        setattr(self, name, value)
        return value


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = Empty(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


def stub():
    sys.meta_path.append(Finder())  # after the real finders
    for name in ("torch.utils.tensorboard", "torch.utils.tensorboard.writer"):
        sys.modules[name] = Empty(name)
        sys.modules[name].__path__ = []
    import torch, mcore_check
    mcore_check.stub_cuda()
    torch.nn.Module.cuda = lambda self, *a: self
    torch.set_num_threads(1)


def on_cpu(load_model_config, torch, AttnBackend):
    """The config in the checkpoint, for a CPU. The tokenizer of Megatron-LM is what --tokenizer-model gives."""
    def load(path):
        config, args = load_model_config(path)
        config.params_dtype = config.pipeline_dtype = torch.float32
        config.bf16 = config.fp16 = False
        config.autocast_dtype = None
        for name in ("apply_rope_fusion", "masked_softmax_fusion", "persist_layer_norm", "bias_activation_fusion",
                     "gradient_accumulation_fusion"):
            setattr(config, name, False)
        config.attention_softmax_in_fp32 = True
        config.attention_backend = AttnBackend.auto
        if args is not None:
            args.tokenizer_model = os.path.join(path, "tokenizer")
            args.params_dtype = torch.float32
        return config, args
    return load


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dir"); p.add_argument("fixture"); p.add_argument("config"); p.add_argument("--verify", default="../shared/verify")
    p.add_argument("--tol", type=float, default=2e-5)
    a = p.parse_args()
    sys.path[:0] = [a.verify, os.path.join(a.verify, "te_standin")]
    stub()
    import torch, mcore_check
    from safetensors.torch import load_file
    from megatron.bridge.training import model_load_save as bridge
    from megatron.core.transformer.enums import AttnBackend

    is_lm = not os.path.exists(os.path.join(a.dir, "run_config.yaml"))
    bridge.load_model_config = on_cpu(bridge.load_model_config, torch, AttnBackend)
    mcore_check.init_dist()
    with contextlib.redirect_stdout(io.StringIO()):
        model = bridge.load_megatron_model(a.dir, model_type="gpt" if is_lm else None, use_cpu_init=True, skip_temp_dist_context=True)
    model = model[0] if isinstance(model, list) else model
    model = getattr(model, "module", model).eval()

    want = load_file(os.path.join(a.fixture, "nemo_state.safetensors"))
    got = {k: v for k, v in model.state_dict().items() if not k.endswith("_extra_state")}
    # NeMo pads the vocabulary of some; the rows beyond it are nobody's.
    same = lambda k: k in want and torch.equal(got[k].float(), want[k][: got[k].shape[0]].float())
    differ = [k for k in got if not same(k)] + sorted(set(want) - set(got))
    ref = load_file(os.path.join(a.fixture, "logits.safetensors"))
    logits = mcore_check.logits_of(model, json.load(open(a.config)), ref["input_ids"])
    diff = (logits.float()[..., : ref["logits"].shape[-1]] - ref["logits"].float()).abs().max().item()
    with contextlib.redirect_stdout(io.StringIO()):
        tokenizer = bridge.load_tokenizer(a.dir, **({"tokenizer_model": os.path.join(a.dir, "tokenizer")} if is_lm else {}))
    ok = not differ and diff <= a.tol
    print(json.dumps(dict(dir=a.dir, parameters=len(got), differ=differ[:5], max_abs_diff=diff, tokens=tokenizer.vocab_size, ok=ok)))
    sys.stdout.flush()
    os._exit(0 if ok else 1)  # the process group would wait


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The model that a framework builds from what `connector` wrote, and its logits, on the CPU.

    logits.py DIR FIXTURE [--verify PATH] [--tol 2e-5]

DIR       an output of `connector import --flavor nemo|megatron-lm|megatron-bridge`
FIXTURE   a folder of tests/fixtures: logits.safetensors is compared

The config comes from DIR alone, as the framework reads it, and its own classes make the model of it: NeMo's from
context/io.json, Megatron-Bridge's from run_config.yaml, and for Megatron-LM what its gpt_builder makes of `args` in
common.pt. The weights are loaded by Megatron-core, strictly. Prints one JSON line; exit status 0 if the logits differ
by no more than --tol.

Needs the environments of ../shared/verify: `golden/setup_bridge.sh` for Megatron-LM and Megatron-Bridge,
`nemo/setup.sh` for NeMo. Transformer Engine is te_standin; weights are held in float32 and kernels are not fused.
"""
import argparse, contextlib, functools, importlib.machinery, io, json, os, sys, types, warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("TE_STANDIN_VERSION", "2.9.0")
UNFUSED = ("apply_rope_fusion", "masked_softmax_fusion", "persist_layer_norm", "bias_activation_fusion", "bias_dropout_fusion",
           "gradient_accumulation_fusion", "moe_permute_fusion", "moe_router_fusion", "cross_entropy_loss_fusion", "moe_shared_expert_overlap")
UNUSED = {"modelopt", "datasets", "nvidia_resiliency_ext", "wandb", "fla", "causal_conv1d", "mamba_ssm", "six"}


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


def cpu_for_cuda(torch):
    """Tensors that are asked for on a GPU are made on the CPU."""
    class CpuForCuda(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if "cuda" in str(kwargs.get("device", "")):
                kwargs["device"] = "cpu"
            return func(*args, **kwargs)
    return CpuForCuda()


def return_biases():
    """Layers of te_standin that are asked to give their biases back, to be added later."""
    import torch.nn.functional as F
    from transformer_engine import _impl
    plain, grouped, made = _impl.Linear.forward, _impl.GroupedLinear.forward, _impl.GroupedLinear.__init__

    def linear(self, x, *a, **k):
        return (F.linear(x, self.weight), self.bias) if self.use_bias and self.te_rb else plain(self, x)

    def init(self, *a, return_bias=False, **k):
        made(self, *a, **k)
        self.te_rb = return_bias

    def experts(self, x, splits, *a, **k):
        if not (self.use_bias and self.te_rb):
            return grouped(self, x, splits)
        self.use_bias, biases = False, [getattr(self, f"bias{i}") for i in range(self.num_gemms)]
        weights = zip(x.split(list(splits)), (getattr(self, f"weight{i}") for i in range(self.num_gemms)))
        out = torch_cat([F.linear(part, weight) for part, weight in weights])
        self.use_bias = True
        return out, biases

    from torch import cat as torch_cat
    ln = _impl.LayerNormLinear.forward

    def normed(self, x, *a, **k):
        if not (self.use_bias and getattr(self, "te_rb", False)):
            return ln(self, x)
        self.use_bias = False
        try:
            return ln(self, x), self.bias
        finally:
            self.use_bias = True

    made_ln = _impl.LayerNormLinear.__init__

    def init_ln(self, *a, return_bias=False, **k):
        made_ln(self, *a, **k)
        self.te_rb = return_bias

    _impl.Linear.forward, _impl.GroupedLinear.forward, _impl.GroupedLinear.__init__ = linear, experts, init
    _impl.LayerNormLinear.forward, _impl.LayerNormLinear.__init__ = normed, init_ln


def on_cpu(config):
    """A config as it was read, for a CPU: nothing that changes what is computed."""
    import torch
    from megatron.core.transformer.enums import AttnBackend
    config.params_dtype = config.pipeline_dtype = torch.float32
    config.bf16 = config.fp16 = False
    config.autocast_dtype = None
    for name in UNFUSED:
        if hasattr(config, name):
            setattr(config, name, False)
    config.attention_softmax_in_fp32 = True
    config.attention_backend = AttnBackend.auto
    config.use_cpu_initialization = True
    if config.num_moe_experts:
        config.moe_token_dispatcher_type = "allgather"
        config.moe_flex_dispatcher_backend = None
    return config


def bridge(folder):
    import mcore_check
    mcore_check.init_dist()
    from megatron.bridge.training.model_load_save import load_model_config
    from megatron.core.process_groups_config import ProcessGroupCollection
    provider, _ = load_model_config(folder)
    provider = on_cpu(provider)
    provider._pg_collection = ProcessGroupCollection.use_mpu_process_groups()
    if hasattr(provider, "finalize"):
        provider.finalize()
    return provider.provide(pre_process=True, post_process=True)


def megatron_lm(folder):
    """As Megatron-LM's gpt_builders.py does, of which Megatron-Bridge has a copy. What it does not take over from
    arguments.py stands here."""
    import torch
    import torch.nn.functional as F
    import mcore_check
    mcore_check.init_dist()
    from megatron.bridge.training.mlm_compat import arguments, model
    args = arguments._load_args_from_checkpoint(folder)
    args.params_dtype, args.bf16, args.fp16 = torch.float32, False, False
    config = arguments._transformer_config_from_args(args)
    if args.quick_geglu:
        from megatron.core.activations import quick_gelu
        config.activation_func, config.gated_linear_unit = quick_gelu, True
    if args.openai_gelu:
        config.activation_func = lambda x: F.gelu(x, approximate="tanh")
    return model._gpt_provider(args, on_cpu(config))


def nemo(folder):
    """NeMo's model, by its own `load_context`, over a Transformer Engine that computes."""
    import transformer_engine  # te_standin
    import fake_te
    fake_te.install, fake_te.VERSION = lambda: transformer_engine, transformer_engine.__version__
    import nemo_env
    import megatron.core.dist_checkpointing.strategies as strategies
    gone = types.ModuleType("megatron.core.dist_checkpointing.strategies.tensorstore")  # not in megatron-core 0.16
    strategies.tensorstore = sys.modules[gone.__name__] = gone
    from pathlib import Path
    from nemo.lightning.io import load_context
    import mcore_check
    mcore_check.init_dist()
    # The tokenizer is of no use here, and some want a newer transformers.
    import nemo.collections.common.tokenizers.huggingface.auto_tokenizer as tokenizers
    tokenizers.AutoTokenizer.__init__ = functools.wraps(tokenizers.AutoTokenizer.__init__)(lambda self, *a, **k: None)
    with nemo_env.CudaIsCpu():
        model = load_context(Path(folder).parent / "context", subpath="model")
        on_cpu(model.config)
        model.tokenizer = None
        model.configure_model()
    return model.module


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dir"); p.add_argument("fixture"); p.add_argument("--verify", default="../shared/verify")
    p.add_argument("--tol", type=float, default=2e-5)
    a = p.parse_args()
    sys.path[:0] = [a.verify, os.path.join(a.verify, "te_standin"), os.path.join(a.verify, "nemo")]
    build, folder = next((build, os.path.join(a.dir, name)) for build, name in
                         ((nemo, "weights"), (megatron_lm, "release"), (bridge, "iter_0000000")) if os.path.isdir(os.path.join(a.dir, name)))
    import torch, mcore_check
    mcore_check.stub_cuda()
    torch.nn.Module.cuda = lambda self, *a: self
    torch.set_num_threads(1)
    import transformer_engine
    return_biases()
    if build is not nemo:
        sys.meta_path.append(Finder())  # after the real finders
        for name in ("torch.utils.tensorboard", "torch.utils.tensorboard.writer"):
            sys.modules[name] = Empty(name)
            sys.modules[name].__path__ = []
    from safetensors.torch import load_file
    out = dict(dir=os.path.basename(os.path.normpath(a.dir)), framework=build.__name__, ok=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model = build(folder)
        # What is not loaded shows.
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
        mcore_check.patch_tensors_metadata()
        with contextlib.redirect_stdout(io.StringIO()):
            mcore_check.load(model, folder, te_wrappers=True)
        model.float().eval()
        ref = load_file(os.path.join(a.fixture, "logits.safetensors"))
        ids = ref["input_ids"]
        length = ids.shape[1]
        position = torch.arange(length).expand_as(ids)
        mask = torch.ones(length, length, dtype=torch.bool).triu(1).expand(ids.shape[0], 1, length, length)
        with torch.no_grad(), cpu_for_cuda(torch):
            got = model(input_ids=ids, position_ids=position, attention_mask=mask)
        want = ref["logits"].float()
        out["max_abs_logit"] = want.abs().max().item()
        out["max_abs_diff"] = (got.float()[..., : want.shape[-1]] - want).abs().max().item()
        # Rounding grows with the numbers.
        out["ok"] = out["max_abs_diff"] <= a.tol * max(1, out["max_abs_logit"] / 5)
    except BaseException as error:  # of torch.distributed.checkpoint too
        out["error"] = f"{type(error).__name__}: {error}"[:600]
        if os.environ.get("TRACE"):
            import traceback; traceback.print_exc()
    print(json.dumps(out))
    sys.stdout.flush()
    os._exit(0 if out["ok"] else 1)  # the process group would wait


if __name__ == "__main__":
    main()

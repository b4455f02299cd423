#!/usr/bin/env python3
"""Real NeMo 2's own exporter on a checkpoint that `connector` wrote, on the CPU.

    PYTHONPATH=../shared/verify/nemo nemo_export.py CKPT OUT llama:HFLlamaExporter

CKPT    an output of `connector import --flavor nemo`
OUT     the Hugging Face directory that NeMo makes of it
The last names the exporter and its module in nemo.collections.llm.gpt.model.

Needs the environment of nemo_check.py: on that path is its nemo_env. What is replaced is what asks for a GPU.
"""
import faulthandler
import importlib
import os
import sys
import types
from pathlib import Path


def main():
    checkpoint, out, spec = sys.argv[1:4]
    # A rank that waits for another says where.
    faulthandler.dump_traceback_later(300, exit=True)
    import nemo_env
    import megatron.core.dist_checkpointing.strategies as strategies
    import torch

    # Not in megatron-core 0.16, and imported by NeMo.
    gone = types.ModuleType("megatron.core.dist_checkpointing.strategies.tensorstore")
    strategies.tensorstore = sys.modules[gone.__name__] = gone
    torch.cuda.synchronize = torch.cuda.empty_cache = lambda *a, **k: None
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29599")
    import nemo.lightning.io.pl as pl

    pl._fix_tensors_device = lambda state: state  # asserts CUDA
    module, name = spec.split(":")
    exporter = getattr(importlib.import_module("nemo.collections.llm.gpt.model." + module), name)
    with nemo_env.CudaIsCpu():
        exporter(Path(checkpoint)).apply(Path(out))


if __name__ == "__main__":
    main()

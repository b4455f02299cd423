#!/usr/bin/env python3
"""What the compile-time proof of an importer adds to `cargo check`.

Generates a crate whose importer has N rows for N parameters, flat or in a block, written with `*`
or with names, with conditions, and checks it with the proof and, `dynamic`, without, turn and turn
about; prints the medians and their difference. The dependencies are built before the clock starts.

    connector-core/benches/proof_cost.py [N ...]      default: 100 300
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PAIRS = 5
CORE = pathlib.Path(__file__).resolve().parents[1]

# Names as long as those of real models, and as alike.
MODULES = ["self_attention", "mlp.experts", "mlp.shared_experts", "cross_attention", "mixer"]


def leaf(number):
    return f"{MODULES[number % len(MODULES)]}.linear_projection_{number}.weight"


def source(rows, style, proven):
    star = style == "stars"
    axis = "*" if star else "{layer}"
    parameters = "\n".join(
        f'            "{leaf(n)}": [c.hidden_size]{" if biased" if n % 10 == 0 else ""};'
        for n in range(rows)
    )
    if style == "block":
        inside = "\n".join(f'            "{leaf(n)}" => "{leaf(n)}",' for n in range(rows))
        mapping = f'        "model.layers.{axis}" => "decoder.layers.{axis}" {{\n{inside}\n        }},'
    else:
        mapping = "\n".join(
            f'        "model.layers.{axis}.{leaf(n)}" => "decoder.layers.{axis}.{leaf(n)}",'
            for n in range(rows)
        )
    dynamic = "" if proven else ", dynamic"
    return f"""
use connector_core::checkpoint::Checkpoint;
use connector_core::{{Mapping, ModelConnector, Result, mapping, model_importer, param_schema}};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {{ num_layers: usize, hidden_size: usize, biased: bool }}

param_schema! {{
    pub BenchModel(c: Config) {{
        axis layer = c.num_layers;
        flag biased = c.biased;
        "decoder.layers.{{layer}}" {{
{parameters}
        }}
    }}
}}

pub struct HfBench;

#[model_importer(BenchModel, "hf"{dynamic})]
impl ModelConnector for HfBench {{
    const MAPPING: Mapping = mapping! {{
{mapping}
    }};
    fn config(_: &Checkpoint) -> Result<Config> {{
        Ok(Config {{ num_layers: 1, hidden_size: 1, biased: true }})
    }}
}}
"""


def check(crate, environment):
    lib = crate / "src/lib.rs"
    os.utime(lib)
    start = time.monotonic()
    done = subprocess.run(
        ["cargo", "check", "--quiet", "--offline"],
        cwd=crate, env=environment, capture_output=True, text=True, check=False,
    )
    if done.returncode or done.stderr:
        sys.exit(f"cargo check failed or warned:\n{done.stderr}")
    return time.monotonic() - start


def main():
    sizes = [int(n) for n in sys.argv[1:]] or [100, 300]
    with tempfile.TemporaryDirectory() as scratch:
        crate = pathlib.Path(scratch)
        (crate / "src").mkdir()
        (crate / "Cargo.toml").write_text(
            '[package]\nname = "bench"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n'
            f'connector-core = {{ path = "{CORE}", default-features = false }}\n'
            'serde = { version = "1", features = ["derive"] }\n'
        )
        (crate / "Cargo.lock").write_bytes((CORE.parent / "Cargo.lock").read_bytes())
        environment = dict(os.environ)
        environment.setdefault("CARGO_TARGET_DIR", str(crate / "target"))
        environment["CARGO_INCREMENTAL"] = "0"
        print(f"{'rows':>5}  {'style':6}  {'proven':>7}  {'dynamic':>8}  {'the proof adds':>14}")
        for rows in sizes:
            for style in ["block", "names", "stars"]:
                times = {True: [], False: []}
                for pair in range(PAIRS + 1):
                    for proven in (True, False):
                        (crate / "src/lib.rs").write_text(source(rows, style, proven))
                        seconds = check(crate, environment)
                        # The first pair builds what is not built yet.
                        if pair:
                            times[proven].append(seconds)
                with_proof, without = (statistics.median(times[p]) for p in (True, False))
                print(
                    f"{rows:5}  {style:6}  {with_proof:5.2f} s  {without:6.2f} s  "
                    f"{with_proof - without:12.2f} s",
                    flush=True,
                )


main()

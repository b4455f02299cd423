#!/usr/bin/env bash
# Peak memory of an import: two sizes, three kinds of work, `--max-memory 256MiB`. Needs GNU time,
# Python 3 and 20 GB of disk in $1 (default: a temporary directory).
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${1:-$(mktemp -d)}
cargo build --release -q -p connector-core -p connector-examples --bin connector --example plain_qkv
for gb in 1 8; do
  for dtype in BF16 F32; do
    python3 connector-core/benches/synthetic_llama.py "$dir/$dtype-$gb" "$gb" --dtype "$dtype" >&2
  done
done
run() { # label, size, program, arguments
  local label=$1 gb=$2; shift 2
  rm -rf "$dir/out"
  local peak
  peak=$(/usr/bin/time -f %M "$@" --output "$dir/out" --max-memory 256MiB -q 2>&1 >/dev/null | tail -1)
  printf '%-28s %2s GB   peak %4d MiB\n' "$label" "$gb" $((peak / 1024))
  rm -rf "$dir/out"
}
for gb in 1 8; do
  run "rename and merge" "$gb" target/release/connector import "$dir/BF16-$gb"
  run "cast f32 to bf16" "$gb" target/release/connector import "$dir/F32-$gb" --dtype bf16
  run "candle function per layer" "$gb" target/release/examples/plain_qkv import "$dir/BF16-$gb" --from hf-plain
done

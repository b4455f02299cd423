//! Says, in one place, for which systems there is a tracer: `cfg(has_tracer)`.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

fn main() {
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let knows_registers = ["x86_64", "aarch64"].contains(&&*target("ARCH"));
    println!("cargo::rustc-check-cfg=cfg(has_tracer)");
    if target("OS") == "linux" && target("ENV") == "gnu" && knows_registers {
        println!("cargo::rustc-cfg=has_tracer");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

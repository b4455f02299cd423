//! What is measured.

use crate::generate::{HfCheckpoint, TINY_LLAMA, wide_llama};
use crate::measure::Program;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint that cases work on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data {
    /// TinyLlama's shape in bf16, 2.2 GB in 5 shards.
    Llama,
    /// The same, imported.
    Imported,
    /// The same in f32, 4.4 GB.
    LlamaF32,
    /// 20,000 tensors of 100 KB in 5 shards.
    Mixtral,
    /// 93,696 tensors in 163 sparse files.
    DeepSeek,
    /// A Llama of so many GB, with numbers.
    Filled(u64),
    /// That of 8 GB, imported as torch_dist.
    Distributed,
    /// The same without, sparse, in bf16 or f32.
    Sparse(u64, &'static str),
    /// None.
    Nothing,
}

impl Data {
    /// Those that cases in pairs work on.
    pub const ALL: [Data; 10] = [
        Data::Llama,
        Data::Imported,
        Data::LlamaF32,
        Data::Mixtral,
        Data::Filled(1),
        Data::Filled(2),
        Data::Filled(4),
        Data::Filled(8),
        Data::Filled(16),
        Data::Distributed,
    ];

    /// Whether this or what it is made of is `other`.
    pub fn is_made_of(self, other: Data) -> bool {
        let from = [(Data::Imported, Data::Llama), (Data::Distributed, Data::Filled(8))];
        self == other || from.contains(&(self, other))
    }

    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string().replace(' ', "-"))
    }

    /// Writes it, if it is not there, and says where.
    pub fn make(self, dir: &Path) -> io::Result<PathBuf> {
        let path = self.path(dir);
        if path.exists() {
            return Ok(path);
        }
        eprintln!("writing {}", path.display());
        match self {
            Data::Imported => import(&Data::Llama.make(dir)?, &path).run()?,
            Data::Distributed => distribute(&Data::Filled(8).make(dir)?, &path).run()?,
            _ => Program::this("make")?.arg(self.to_string()).arg(&path).run()?,
        };
        Ok(path)
    }

    /// Writes the data of this name into the new directory `path`.
    pub fn write(name: &str, path: &Path) -> io::Result<()> {
        let mut all: Vec<Data> = PAIRED.iter().map(|case| case.data).collect();
        for solo in SOLO {
            all.extend((solo.programs)()?.iter().map(|(data, _)| *data));
        }
        let llama =
            |shape, dtype, shards, filled| HfCheckpoint::llama(shape, dtype, shards, filled);
        let wide = |gb: u64, dtype, filled| {
            llama(wide_llama(gb * GB, dtype), dtype, gb.max(2) as usize, filled)
        };
        let checkpoint = match all.into_iter().find(|data| data.to_string() == name) {
            Some(Data::Llama) => llama(TINY_LLAMA, "BF16", 5, true),
            Some(Data::LlamaF32) => llama(TINY_LLAMA, "F32", 5, true),
            Some(Data::Filled(gb)) => wide(gb, "BF16", true),
            Some(Data::Sparse(gb, dtype)) => wide(gb, dtype, false),
            Some(Data::Mixtral) => HfCheckpoint::mixtral(),
            Some(Data::DeepSeek) => HfCheckpoint::deepseek(),
            Some(Data::Nothing) => return fs::create_dir_all(path),
            Some(Data::Imported | Data::Distributed) | None => {
                return Err(io::Error::other(format!("no data {name}")));
            }
        };
        checkpoint.write(path)
    }
}

const GB: u64 = 1_000_000_000;

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Llama => f.write_str("llama bf16"),
            Data::Imported => f.write_str("llama imported"),
            Data::LlamaF32 => f.write_str("llama f32"),
            Data::Mixtral => f.write_str("mixtral"),
            Data::DeepSeek => f.write_str("deepseek sparse"),
            Data::Filled(gb) => write!(f, "llama {gb} GB"),
            Data::Distributed => f.write_str("llama torch_dist"),
            Data::Sparse(gb, dtype) => write!(f, "sparse {} {gb} GB", dtype.to_lowercase()),
            Data::Nothing => f.write_str("nothing"),
        }
    }
}

/// Makes a program for a source and an output.
pub type Make = fn(&Path, &Path) -> io::Result<Program>;

/// Two programs, run in turn.
pub struct Paired {
    pub name: &'static str,
    pub data: Data,
    pub ours: Make,
    pub theirs: Make,
    /// What the other program does.
    pub against: &'static str,
    pub target: &'static str,
    /// Whether the source is not in the system's cache.
    pub cold: bool,
}

/// Programs that are measured by themselves.
pub struct Solo {
    pub name: &'static str,
    pub programs: fn() -> io::Result<Vec<(Data, Make)>>,
    pub runs: usize,
    pub target: &'static str,
}

/// Both programs then leave the writing back to the system.
const UNSYNCED: &str = "--no-sync";

fn import(source: &Path, output: &Path) -> Program {
    Program::connector().arg("import").arg(source).arg("-o").arg(output).arg("-q")
}

fn export(source: &Path, output: &Path) -> Program {
    Program::connector().arg("export").arg(source).arg("-o").arg(output).arg("-q")
}

fn distribute(source: &Path, output: &Path) -> Program {
    import(source, output).args("--container torch_dist")
}

fn own_import(source: &Path, output: &Path) -> io::Result<Program> {
    let program = Program::own_connector()?.arg("import").arg(source).arg("-o").arg(output);
    Ok(program.args("-q --from hf-function"))
}

fn cp(source: &Path, output: &Path) -> io::Result<Program> {
    Ok(Program::new("cp").arg("-r").arg(source).arg(output))
}

fn shell(script: &str, source: &Path, output: &Path) -> io::Result<Program> {
    Ok(Program::new("sh").arg("-c").arg(script).arg(source).arg(output))
}

fn cp_sync(source: &Path, output: &Path) -> io::Result<Program> {
    let script = r#"cp -r "$0" "$1" && find "$1" -type f -exec sync {} + && sync "$1""#;
    shell(script, source, output)
}

/// `cmp` of as many bytes: the source with a copy of it.
fn cmp(source: &Path, _: &Path) -> io::Result<Program> {
    let copy = source.join("copy");
    if !copy.exists() {
        let weights = source.join("weights");
        Program::new("cp").arg("-r").arg(weights).arg(&copy).run()?;
    }
    let script = r#"for f in "$0"/weights/*; do cmp "$f" "$0/copy/${f##*/}" || exit 1; done"#;
    shell(script, source, &copy)
}

fn verify(source: &Path, _: &Path) -> io::Result<Program> {
    let original = source.parent().map(|dir| Data::Llama.path(dir)).unwrap_or_default();
    Ok(Program::connector().arg("verify").arg(original).arg(source).arg("-q"))
}

pub const PAIRED: &[Paired] = &[
    Paired {
        name: "import",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output).arg(UNSYNCED)),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 0.8, CPU ≤ 1.5",
        cold: false,
    },
    Paired {
        name: "import-synced",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output)),
        theirs: cp_sync,
        against: "`cp -r` + `sync`",
        target: "",
        cold: false,
    },
    Paired {
        name: "import-synced-vs-cp",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output)),
        theirs: cp,
        against: "`cp -r`, not synced",
        target: "",
        cold: false,
    },
    Paired {
        name: "import-cold",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output)),
        theirs: cp_sync,
        against: "`cp -r` + `sync`, cold",
        target: "≤ 1.0",
        cold: true,
    },
    Paired {
        name: "import-cold-direct",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output).args("--io direct")),
        theirs: cp_sync,
        against: "`cp -r` + `sync`, cold",
        target: "",
        cold: true,
    },
    Paired {
        name: "import-hash",
        data: Data::Llama,
        ours: |source, output| Ok(import(source, output).arg(UNSYNCED).arg("--hash")),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 1.2",
        cold: false,
    },
    Paired {
        name: "import-function",
        data: Data::Llama,
        ours: |source, output| Ok(own_import(source, output)?.arg(UNSYNCED)),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 2",
        cold: false,
    },
    Paired {
        name: "export",
        data: Data::Imported,
        ours: |source, output| Ok(export(source, output).arg(UNSYNCED)),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 0.8, CPU ≤ 1.5",
        cold: false,
    },
    Paired {
        name: "export-hash",
        data: Data::Imported,
        ours: |source, output| Ok(export(source, output).arg(UNSYNCED).arg("--hash")),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 1.2",
        cold: false,
    },
    Paired {
        name: "verify",
        data: Data::Imported,
        ours: verify,
        theirs: cmp,
        against: "`cmp` of as many bytes",
        target: "≤ 1.2",
        cold: false,
    },
    Paired {
        name: "cast",
        data: Data::LlamaF32,
        ours: |source, output| Ok(import(source, output).arg(UNSYNCED).args("--dtype bf16")),
        theirs: cp,
        against: "`cp -r` of the f32 source",
        target: "≤ 1.0",
        cold: false,
    },
    Paired {
        name: "mixtral",
        data: Data::Mixtral,
        ours: |source, output| Ok(import(source, output).arg(UNSYNCED)),
        theirs: cp,
        against: "`cp -r`",
        target: "≤ 1.2",
        cold: false,
    },
    Paired {
        name: "import-torch-dist",
        data: Data::Filled(8),
        ours: |source, output| Ok(distribute(source, output).arg(UNSYNCED)),
        theirs: |source, output| Ok(import(source, output).arg(UNSYNCED)),
        against: "import as safetensors",
        target: "≤ 1.2",
        cold: false,
    },
    Paired {
        name: "export-torch-dist",
        data: Data::Distributed,
        ours: |source, output| Ok(export(source, output).arg(UNSYNCED)),
        theirs: cp,
        against: "`cp -r`",
        target: "",
        cold: false,
    },
    Paired { name: "grow-1", data: Data::Filled(1), ..GROWTH },
    Paired { name: "grow-2", data: Data::Filled(2), ..GROWTH },
    Paired { name: "grow-4", data: Data::Filled(4), ..GROWTH },
    Paired { name: "grow-8", data: Data::Filled(8), ..GROWTH },
    Paired { name: "grow-16", data: Data::Filled(16), ..GROWTH },
    Paired {
        name: "grow-16-cold",
        data: Data::Filled(16),
        ours: |source, output| Ok(import(source, output)),
        theirs: |source, output| Ok(import(source, output).args("--io direct")),
        against: "the same with `--io direct`",
        target: "",
        cold: true,
    },
];

/// One of several sizes.
const GROWTH: Paired = Paired {
    name: "",
    data: Data::Nothing,
    ours: |source, output| Ok(import(source, output).arg(UNSYNCED)),
    theirs: cp,
    against: "`cp -r`",
    target: "",
    cold: false,
};

pub const SOLO: &[Solo] = &[
    Solo {
        name: "list",
        programs: || Ok(vec![(Data::Nothing, |_, _| Ok(Program::connector().arg("list")))]),
        runs: 20,
        target: "≤ 0.02 s",
    },
    Solo {
        name: "plan",
        programs: || {
            Ok(vec![(Data::DeepSeek, |source, _| {
                Ok(Program::own_connector()?.arg("plan").arg(source))
            })])
        },
        runs: 10,
        target: "≤ 0.3 s, ≤ 200 MiB",
    },
    Solo {
        name: "memory",
        programs: || {
            let kept: Make = |source, output| Ok(import(source, output).arg(UNSYNCED));
            let cast: Make =
                |source, output| Ok(import(source, output).arg(UNSYNCED).args("--dtype bf16"));
            let function: Make = |source, output| Ok(own_import(source, output)?.arg(UNSYNCED));
            Ok(vec![
                (Data::Sparse(2, "BF16"), kept),
                (Data::Sparse(16, "BF16"), kept),
                (Data::Sparse(2, "F32"), cast),
                (Data::Sparse(16, "F32"), cast),
                (Data::Sparse(2, "BF16"), function),
                (Data::Sparse(16, "BF16"), function),
            ])
        },
        runs: 1,
        target: "≤ 300 MiB",
    },
];

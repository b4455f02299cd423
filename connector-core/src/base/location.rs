use std::fmt;

/// A place in source code: where a rule, a parameter or an importer is written.
///
/// Messages show it, so that whoever reads one can go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file, as the compiler was given it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// `families/llama.rs:88`: the file from its crate's `src` on, so that neither a workspace nor a
/// registry shows.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = ["/src/", "\\src\\"].iter().find_map(|src| self.file.rsplit_once(src));
        write!(f, "{}:{}", inside.map_or(self.file, |(_, file)| file), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_show_from_src_on() {
        for (file, want) in [
            ("connector-core/src/families/llama.rs", "families/llama.rs:7"),
            ("/home/me/.cargo/registry/src/index/x-0.1.0/src/a.rs", "a.rs:7"),
            ("C:\\me\\x\\src\\a.rs", "a.rs:7"),
            ("src/llama.rs", "src/llama.rs:7"),
            ("examples/qkv.rs", "examples/qkv.rs:7"),
        ] {
            assert_eq!(Location { file, line: 7, column: 1 }.to_string(), want);
        }
    }
}

//! `connector cache`.

use super::conversion::Selection;
use clap::Subcommand;

/// What is done with the cache.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CacheAction {
    /// List what is in the cache
    #[command(visible_alias = "list")]
    Ls,
    /// Print where the import of a source is, or would be
    Path {
        #[command(flatten)]
        selection: Box<Selection>,
        /// As for `import`, of which it is a part
        #[arg(long)]
        hash: bool,
    },
    /// Hold what is in the cache against its records: lengths, headers, hashes where there are any
    Verify {
        /// Of which models, `org/name`, or directories [default: all]
        names: Vec<String>,
    },
    /// Remove models
    Rm {
        /// Which models, `org/name`, or directories
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove what killed runs left and what is damaged
    Gc {
        /// Also what was made more than so many days ago
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

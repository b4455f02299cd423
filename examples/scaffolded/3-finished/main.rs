//! Kestrel, finished.
//!
//! The crate of docs/tutorial.md.

pub mod model;

/// The whole command line, with Kestrel in it.
pub fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}

#[cfg(test)]
mod tests {
    use super::model::HfKestrel;
    use connector_core::checkpoint::HfCheckpoint;
    use connector_core::testing::prove_lossless;
    use connector_core::{ModelConnector, Result};

    const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scaffolded/checkpoint");

    #[test]
    fn nothing_is_lost() -> Result<()> {
        let config = HfKestrel::config(&HfCheckpoint::open(CHECKPOINT)?)?;
        let shown = prove_lossless::<HfKestrel>(&config)?;
        assert!(shown.computed.is_empty());
        Ok(())
    }

    #[test]
    fn the_tutorial_shows_what_is_printed() -> Result<()> {
        let config = HfKestrel::config(&HfCheckpoint::open(CHECKPOINT)?)?;
        let shown = prove_lossless::<HfKestrel>(&config)?.to_string();
        let shown = shown.replace("examples/scaffolded/3-finished/", "src/");
        assert!(include_str!("../../../docs/tutorial.md").contains(&shown), "{shown}");
        Ok(())
    }
}

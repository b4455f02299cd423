//! What a command may take of the machine.

use crate::DeviceChoice;
use crate::cli::failure::Failure;
use crate::cli::size::Size;
use crate::engine::{EngineOptions, Io};
use clap::{Args, ValueEnum, value_parser};

/// What it may take.
#[derive(Debug, Args)]
pub(in crate::cli) struct Resources {
    /// The most memory for buffers and the tensors of one step
    #[arg(long, value_name = "SIZE", default_value = "2GiB", help_heading = "How")]
    pub max_memory: Size,
    /// Threads that move bytes [default: the cores, at most 4]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024), help_heading = "How")]
    pub threads: Option<u16>,
    /// How bytes get from file to file: auto shares blocks where the file system can (XFS, Btrfs)
    /// and else uses buffers; direct goes past the system's cache, for large sources that are not
    /// in it; with copy the kernel copies, which spares the network where both sides lie on one
    /// server
    #[arg(long, value_enum, value_name = "HOW", default_value_t = IoName::Auto, help_heading = "How")]
    pub io: IoName,
    /// Where state transforms run: cpu, cuda, cuda:N, metal
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "How")]
    pub device: DeviceChoice,
}

/// How bytes get from file to file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum IoName {
    Auto,
    Buffered,
    Direct,
    Copy,
}

impl Resources {
    pub(super) fn engine(&self) -> EngineOptions {
        let default = EngineOptions::default();
        EngineOptions {
            threads: self.threads.map_or(default.threads, usize::from),
            max_memory: self.max_memory.bytes,
            io: match self.io {
                IoName::Auto => Io::Auto,
                IoName::Buffered => Io::Buffered,
                IoName::Direct => Io::Direct,
                IoName::Copy => Io::Copy,
            },
            ..default
        }
    }

    #[cfg(feature = "candle")]
    pub(super) fn check_device(&self) -> Result<(), Failure> {
        let failed = |error| Failure::usage(format!("--device {}: {error}", self.device));
        self.device.open().map(drop).map_err(failed)
    }

    #[cfg(not(feature = "candle"))]
    pub(super) fn check_device(&self) -> Result<(), Failure> {
        if self.device == DeviceChoice::Cpu {
            return Ok(());
        }
        let message = format!("--device {}: this build has no devices but the cpu", self.device);
        Err(Failure::usage(message).help("build with the feature `cuda` or `metal`"))
    }
}

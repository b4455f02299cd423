/// Told how far a long piece of work is. Called from several threads.
pub trait Progress: Sync {
    /// The work begins; it is `bytes` of output.
    fn begin(&self, bytes: u64);
    /// So many more bytes are written.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

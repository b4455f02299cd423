//! Until when something may take.

use std::time::{Duration, Instant};

/// Longer than anybody waits, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// The moment until which something may take, and the time that it was given.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    pub limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        let limit = limit.min(FOREVER);
        Deadline { end: Instant::now() + limit, limit }
    }

    pub fn is_before(&self, other: &Self) -> bool {
        self.end < other.end
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

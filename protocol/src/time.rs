//! Monotonic time as the caller sees it.

/// Monotonic milliseconds since an arbitrary start that the caller chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The time `ms` milliseconds later; stays at the end of time instead of wrapping.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_neither_wraps_nor_runs_backwards() {
        assert_eq!(Millis(u64::MAX - 1).after(5), Millis(u64::MAX));
        assert_eq!(Millis(3).after(4), Millis(7));
        assert_eq!(Millis(7).since(Millis(3)), 4);
        assert_eq!(Millis(3).since(Millis(7)), 0);
    }
}

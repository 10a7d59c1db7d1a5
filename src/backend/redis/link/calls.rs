//! Calls of those who wait, collected while something is locked, and made when nothing is.

use crate::backend::redis::link::Fault;

/// Each with what it is told.
pub(super) struct Calls<T>(Vec<(Call<T>, Result<T, Fault>)>);

/// Somebody who waits.
pub(super) type Call<T> = Box<dyn FnOnce(Result<T, Fault>) + Send>;

impl<T> Calls<T> {
    pub(super) fn push(&mut self, call: Call<T>, result: Result<T, Fault>) {
        self.0.push((call, result));
    }

    pub(super) fn extend(&mut self, calls: impl IntoIterator<Item = (Call<T>, Result<T, Fault>)>) {
        self.0.extend(calls);
    }

    /// Takes those of another, behind its own.
    pub(super) fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    /// Makes them, in order.
    pub(super) fn make(self) {
        for (call, result) in self.0 {
            call(result);
        }
    }
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

//! How many consume.

use super::Dispatcher;

impl Dispatcher {
    /// Queues that somebody on this node consumes.
    pub fn consumed_queues(&self) -> usize {
        self.groups.lock().len()
    }

    /// Their consumers.
    pub fn consumers(&self) -> usize {
        let groups: Vec<_> = self.groups.lock().values().cloned().collect();
        groups.iter().map(|group| group.lock().members.len()).sum()
    }
}

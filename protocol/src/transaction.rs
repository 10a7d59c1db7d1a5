//! Open transactions of one connection: what they gathered and what they hold.

use crate::ack::Numbers;
use crate::error::{Violation, excerpt};
use crate::{Limits, Step};

/// The open transactions; "transaction identifiers MUST be different for every started transaction within the same
/// connection".
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: Vec<Transaction>,
}

#[derive(Debug)]
struct Transaction {
    id: Box<str>,
    steps: Vec<Pending>,
    bytes: usize,
}

/// A frame that waits for COMMIT.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) step: Step,
    /// The deliveries that an ACK or NACK of a tracked subscription holds.
    pub(crate) numbers: Numbers,
}

impl Transactions {
    pub(crate) fn begin(&mut self, id: &str, limits: &Limits) -> Result<(), Violation> {
        if self.position(id).is_ok() {
            return Err(Violation::TransactionTaken { id: excerpt(id.as_bytes()) });
        }
        if self.open.len() >= limits.transactions_max {
            return Err(Violation::TooManyTransactions { limit: limits.transactions_max });
        }
        self.open.push(Transaction { id: id.into(), steps: Vec::new(), bytes: 0 });
        Ok(())
    }

    /// Bytes that all open transactions hold.
    pub(crate) fn bytes(&self) -> usize {
        self.open.iter().map(|transaction| transaction.bytes).sum()
    }

    /// Whether the transaction is open and has room for a step of `bytes` on the heap.
    pub(crate) fn check(&self, id: &str, bytes: usize, limits: &Limits) -> Result<(), Violation> {
        let transaction = &self.open[self.position(id)?];
        let limit = limits.transaction_bytes_max;
        let total = transaction.bytes.saturating_add(bytes).saturating_add(size_of::<Pending>());
        if total > limit { Err(Violation::TransactionTooLarge { limit }) } else { Ok(()) }
    }

    /// Adds a step of `bytes` on the heap, which [`Self::check`] let pass.
    pub(crate) fn add(&mut self, id: &str, bytes: usize, pending: Pending) -> Result<(), Violation> {
        let index = self.position(id)?;
        let transaction = &mut self.open[index];
        transaction.bytes += bytes + size_of::<Pending>();
        transaction.steps.push(pending);
        Ok(())
    }

    /// Ends the transaction, by COMMIT or ABORT, and gives what it gathered.
    pub(crate) fn end(&mut self, id: &str) -> Result<Vec<Pending>, Violation> {
        let index = self.position(id)?;
        Ok(self.open.swap_remove(index).steps)
    }

    fn position(&self, id: &str) -> Result<usize, Violation> {
        let position = self.open.iter().position(|transaction| *transaction.id == *id);
        position.ok_or_else(|| Violation::UnknownTransaction { id: excerpt(id.as_bytes()) })
    }
}

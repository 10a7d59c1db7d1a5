//! Open transactions.

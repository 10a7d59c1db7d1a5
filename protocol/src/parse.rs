//! One complete head.

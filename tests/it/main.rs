//! The real binary and the real sockets, in one test program.

mod cli;

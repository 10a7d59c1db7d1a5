//! The process: acceptor, workers, connections, HTTP faces, configuration, shutdown.
mod clock;
mod connection;
mod worker;

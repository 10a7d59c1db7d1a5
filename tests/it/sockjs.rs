//! SockJS, over real sockets: first the protocol, with handlers that are not STOMP, then STOMP over it.

mod asked;
mod instances;
mod protocol;
mod stomp;

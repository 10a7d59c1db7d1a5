//! STOMP as the specifications say it, in one test binary.

mod checklist;
mod pair;
mod property;
mod replay;
mod spec_1_0;
mod spec_1_1;
mod spec_1_2;
#[path = "../support/mod.rs"]
mod support;

//! `cargo +nightly fuzz run pair`; what it checks is in `support/replay.rs`, shared with the stable tests.
#![no_main]

#[allow(dead_code, reason = "the support is shared with tests that use more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| support::replay::pair(input));

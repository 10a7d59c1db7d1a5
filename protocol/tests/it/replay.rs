//! The fuzz corpus under stable Rust.

use std::fs;
use std::path::Path;

use crate::support::replay;

#[test]
fn the_corpus_of_the_decoder_holds() {
    each_input("decoder", replay::decoder);
}

#[test]
fn the_corpus_of_the_session_holds() {
    each_input("session", replay::session);
}

#[test]
fn the_corpus_of_the_pair_holds() {
    each_input("pair", replay::pair);
}

#[expect(clippy::unwrap_used, reason = "a corpus that cannot be read fails the test")]
fn each_input(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 10, "{} inputs in {}", files.len(), folder.display());
    for file in files {
        body(&fs::read(&file).unwrap());
    }
}

//! The house rules that a compiler does not know, read off the sources as text.
//!
//! Each test holds the repository against one rule, and the rule against a made-up file that breaks it: a rule that
//! finds nothing there finds nothing anywhere.

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use std::fmt;
use std::path::Path;

use source::{Source, repository};

/// One place that breaks a rule.
struct Violation {
    place: String,
    text: String,
}

impl Violation {
    fn new(file: &Source, line: usize, text: String) -> Self {
        Self { place: format!("{}:{line}", file.path), text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

#[track_caller]
fn none(found: &[Violation]) {
    let mut lines: Vec<String> = found.iter().map(Violation::to_string).collect();
    lines.dedup();
    assert!(found.is_empty(), "\n{}\n", lines.join("\n"));
}

/// The places where `rule` finds fault with a made-up file.
fn places(rule: impl Fn(&[Source]) -> Vec<Violation>, path: &str, text: &str) -> Vec<String> {
    rule(&[Source::new(path, text)]).into_iter().map(|violation| violation.place).collect()
}

#[test]
fn imports_point_down_and_never_sideways() {
    none(&floors::arrows(&repository()));
    let broken = |path, text| places(floors::arrows, path, text);
    assert_eq!(broken("src/model/a.rs", "use crate::routing::Table;"), ["src/model/a.rs:1"]);
    assert_eq!(
        broken("src/routing/a.rs", "\nuse crate::{\n    model::Message, policy::Access};"),
        ["src/routing/a.rs:2"]
    );
    assert_eq!(broken("src/routing/mod.rs", "use super::transport;"), ["src/routing/mod.rs:1"]);
    assert_eq!(broken("src/routing/a.rs", "mod b { fn c() { super::super::super::broker::d() } }").len(), 1);
    assert_eq!(broken("src/features/a.rs", "fn a() -> crate::server::Config { }").len(), 1);
    assert_eq!(broken("src/server/a.rs", "use crate::{broker, model}; use super::cli;").len(), 0);
    assert_eq!(
        broken("src/model/a.rs", "// use crate::routing\nconst A: &str = \"crate::routing::A\";").len(),
        0
    );
}

#[test]
fn every_source_file_stands_in_a_room() {
    none(&floors::strangers(&repository()));
    assert_eq!(places(floors::strangers, "src/utils/mod.rs", ""), ["src/utils/mod.rs:1"]);
}

#[test]
fn only_the_server_plugs_adapters_into_ports() {
    none(&floors::adapters(&repository()));
    let text = "use crate::backend::{Relay, memory::MemoryRelay};";
    assert_eq!(places(floors::adapters, "src/broker/door.rs", text), ["src/broker/door.rs:1"]);
    assert_eq!(places(floors::adapters, "src/server/build.rs", text).len(), 0);
    let tests = "#[cfg(test)]\nmod tests { use crate::backend::memory::MemoryRelay; }";
    assert_eq!(places(floors::adapters, "src/features/queues.rs", tests).len(), 0);
}

#[test]
fn packages_stay_at_home() {
    none(&floors::homes(&repository()));
    let broken = |path, text| places(floors::homes, path, text);
    assert_eq!(broken("src/broker/a.rs", "use std::fmt;\nuse dashmap::DashMap;"), ["src/broker/a.rs:2"]);
    assert_eq!(broken("src/routing/a.rs", "fn a() { serde_json::to_string(&b) }"), ["src/routing/a.rs:1"]);
    assert_eq!(broken("protocol/src/a.rs", "use tracing;"), ["protocol/src/a.rs:1"]);
    assert_eq!(broken("src/policy/a.rs", "#[cfg(test)]\nmod tests { use rcgen::KeyPair; }").len(), 0);
}

#[test]
fn every_package_of_the_manifests_has_a_home() {
    none(&floors::homeless(&repository()));
    let manifest =
        "[dependencies]\nbytes.workspace = true\nleft-pad = \"1\"\n[dev-dependencies]\nother = \"1\"\n";
    assert_eq!(places(floors::homeless, "Cargo.toml", manifest), ["Cargo.toml:3"]);
}

#[test]
fn the_protocol_crate_is_a_function_of_bytes_and_time() {
    none(&floors::impure(&repository()));
    let broken = |text| places(floors::impure, "protocol/src/session/mod.rs", text);
    assert_eq!(broken("use std::time::{Duration, Instant};").len(), 1);
    assert_eq!(broken("use tokio::net::TcpStream;\nuse std::net::IpAddr;").len(), 2);
    assert_eq!(broken("use std::time::Duration;").len(), 0);
}

#[test]
fn clocks_threads_and_tasks_belong_to_the_server() {
    none(&floors::outside_world(&repository()));
    let broken = |text| places(floors::outside_world, "src/broker/shard.rs", text);
    assert_eq!(broken("fn a() { let now = std::time::Instant::now(); }").len(), 1);
    assert_eq!(broken("use tokio::task::spawn_local;").len(), 1);
    assert_eq!(broken("fn a() { std::thread::spawn(b); }").len(), 1);
    assert_eq!(broken("use tokio::io::AsyncRead;").len(), 0);
    assert_eq!(places(floors::outside_world, "src/server/clock.rs", "fn a() { Instant::now(); }").len(), 0);
}

#[test]
fn no_file_is_longer_than_a_reader_holds_in_mind() {
    none(&text::long(&repository()));
    let (limit, above) = ("fn a() {}\n".repeat(350), "fn a() {}\n".repeat(351));
    assert_eq!(places(text::long, "src/model/a.rs", &limit).len(), 0);
    assert_eq!(places(text::long, "src/model/a.rs", &above), ["src/model/a.rs:351"]);
    let tests = format!("{limit}#[cfg(test)]\nmod tests {{\n{above}}}\n");
    assert_eq!(places(text::long, "src/model/a.rs", &tests).len(), 0);
    assert_eq!(places(text::long, "src/model/a_tests.rs", &above).len(), 0);
}

#[test]
fn every_file_says_what_it_is_for() {
    none(&text::unintroduced(&repository()));
    assert_eq!(places(text::unintroduced, "src/model/a.rs", "use std::fmt;\n"), ["src/model/a.rs:1"]);
    assert_eq!(places(text::unintroduced, "src/model/a.rs", "//! A.\n").len(), 0);
}

#[test]
fn nothing_panics_where_an_error_could_be_returned() {
    none(&text::hasty(&repository()));
    let broken = |text| places(text::hasty, "src/model/a.rs", text);
    assert_eq!(broken("fn a() {\n    b.unwrap();\n    todo!()\n}"), ["src/model/a.rs:2", "src/model/a.rs:3"]);
    assert_eq!(broken("fn a() { b.unwrap_or_default(); }").len(), 0);
    assert_eq!(
        broken("#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }\nfn c() { dbg!(d) }"),
        ["src/model/a.rs:3"]
    );
    assert_eq!(broken("#[cfg(not(test))]\nfn a() { b.unwrap(); }"), ["src/model/a.rs:2"]);
}

#[test]
fn a_file_of_tests_is_called_so() {
    none(&text::misnamed(&repository()));
    let broken = |text| places(text::misnamed, "src/model/a.rs", text);
    assert_eq!(broken("#[cfg(test)]\n#[path = \"a_checks.rs\"]\nmod tests;"), ["src/model/a.rs:2"]);
    assert_eq!(broken("#[path = \"a_tests.rs\"]\nmod b;"), ["src/model/a.rs:1"]);
    assert_eq!(broken("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;").len(), 0);
}

#[test]
fn no_text_names_a_package_registry() {
    none(&text::registries(&repository()));
    let host = concat!("https://registry.npm", "js.org/ws/-/ws-8.tgz");
    assert_eq!(places(text::registries, "README.md", &format!("# a\nsee {host}")), ["README.md:2"]);
    let index = concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");
    assert_eq!(places(text::registries, "Cargo.lock", index).len(), 0);
    let address = "{\n \"resolved\": \"https://mirror/ws-8.tgz\" }";
    assert_eq!(places(text::registries, "web/package-lock.json", address), ["web/package-lock.json:2"]);
}

#[test]
fn documents_lead_to_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    none(&text::dead_links(&repository(), |path| root.join(path).exists()));
    let exists = |path: &Path| path == Path::new("docs/wire.md") || path == Path::new("src/lib.rs");
    let broken = |path, text| places(|files| text::dead_links(files, exists), path, text);
    assert_eq!(
        broken("README.md", "[a](docs/wire.md#ends) `src/lib.rs`\n[b](docs/gone.md)"),
        ["README.md:2"]
    );
    assert_eq!(broken("docs/a.md", "[a](wire.md) [b](#here) [c](https://example.com/)").len(), 0);
    assert_eq!(broken("ARCHITECTURE.md", "`src/broker/gone.rs`").len(), 1);
}

#[test]
fn sources_are_read_as_the_compiler_reads_them() {
    let text = "//! Doc.\nconst A: &str = r#\"use crate::b; \"quoted\" \"#; /* /* nested */ unwrap( */\nconst B: char = '\"';\nfn c<'a>(d: &'a str) { e::f() }\n";
    let file = Source::new("src/model/a.rs", text);
    let paths: Vec<_> =
        file.paths().into_iter().map(|named| (named.segments.join("::"), named.line)).collect();
    assert_eq!(paths, [("e::f".to_owned(), 4)]);
    assert_eq!(file.line(3), "const B: char = '\"';");
    let uses = Source::new("src/broker/peer/mod.rs", "use super::{door::{Broker, JSON}, wheel::*};\nuse a;");
    let paths: Vec<_> = uses.paths().into_iter().map(|named| named.segments.join("::")).collect();
    assert_eq!(
        paths,
        ["crate::broker::door::Broker", "crate::broker::door::JSON", "crate::broker::wheel::*", "a"]
    );
}

//! What can be read off the text of a file: its length, its first line, words that it must not hold.

use std::path::Path;

use crate::Violation;
use crate::source::{Kind, Source, is_test_file};

/// Lines of a file without its tests. A longer one holds a mechanism that wants a name and a file of its own.
const LINES_MAX: usize = 350;

/// Calls and macros that end the process on what should be an error.
const HASTY: [&str; 6] = ["unwrap", "unwrap_unchecked", "todo", "unimplemented", "dbg", "panic"];

/// Package registries. Builds reach them by the tools' own configuration; a name in our text would bypass a mirror.
const REGISTRIES: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("registry.yarn", "pkg.com"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("proxy.go", "lang.org"),
];

/// What cargo itself calls its index in a lock file and in the configuration of its tools.
const INDEX: &str = concat!("github.com/rust-lang/crates", ".io-index");

/// No file grows into the one that knows everything.
pub(crate) fn long(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_production()) {
        let mut tested = vec![false; file.text.lines().count() + 1];
        let (mut from, mut inside) = (0, false);
        for token in &file.tokens {
            if token.in_test && !inside {
                from = token.line;
            }
            if token.in_test {
                tested[from..=token.line].fill(true);
            }
            inside = token.in_test;
        }
        let lines = tested.iter().skip(1).filter(|tested| !**tested).count();
        if lines > LINES_MAX {
            let text =
                format!("{lines} lines without tests, {LINES_MAX} are the limit: split it by mechanism");
            found.push(Violation::new(file, lines, text));
        }
    }
    found
}

/// A file says what it is for before it begins.
pub(crate) fn unintroduced(files: &[Source]) -> Vec<Violation> {
    let silent = files.iter().filter(|file| file.is_production() && !file.text.starts_with("//! "));
    silent.map(|file| Violation::new(file, 1, "begins without a module doc (`//! ...`)".into())).collect()
}

/// Nothing ends the process where an error could be returned.
pub(crate) fn hasty(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_production()) {
        let shipped: Vec<_> = file.shipped().collect();
        for pair in shipped.windows(2) {
            let [word, next] = pair else { continue };
            let called = next.text == "(" || next.text == "!";
            if word.kind == Kind::Word && called && HASTY.contains(&word.text.as_str()) {
                found.push(Violation::new(file, word.line, format!("`{}` outside tests", word.text)));
            }
        }
    }
    found
}

/// A file that is pulled in by `#[path]` is a test, and called so.
pub(crate) fn misnamed(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_production()) {
        for four in file.tokens.windows(4) {
            let [bracket, word, equals, name] = four else { continue };
            // Other attributes may have a path among their arguments.
            if bracket.text != "[" || word.text != "path" || equals.text != "=" || name.kind != Kind::Text {
                continue;
            }
            let name = name.text.trim_matches('"');
            if !word.in_test {
                let text = format!("`#[path]` to {name} in code that ships: give it its place in the tree");
                found.push(Violation::new(file, word.line, text));
            } else if !is_test_file(name) {
                let text = format!("the tests in {name} want a name that ends in `tests.rs`");
                found.push(Violation::new(file, word.line, text));
            }
        }
    }
    found
}

/// No text names the host of a package registry, and no lock file a download address.
pub(crate) fn registries(files: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let rest = line.replace(INDEX, "");
            if let Some(host) = REGISTRIES.iter().find(|host| rest.contains(**host)) {
                found.push(Violation::new(file, number + 1, format!("names the registry {host}")));
            } else if file.path.ends_with("package-lock.json") && line.contains("\"resolved\": \"http") {
                let text = "holds a download address: set omit-lockfile-registry-resolved".into();
                found.push(Violation::new(file, number + 1, text));
            }
        }
    }
    found
}

/// A link or a path in a document leads to something that exists.
pub(crate) fn dead_links(files: &[Source], exists: impl Fn(&Path) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for (number, line) in file.text.lines().enumerate() {
            let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let links = links.map(|link| link.split('#').next().unwrap_or_default());
            let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
            let quoted =
                line.split('`').skip(1).step_by(2).filter(|text| is_source_path(text)).map(Path::new);
            let wanted = links.map(|link| folder.join(link)).chain(quoted.map(Path::to_owned));
            // A crate's own document names the crate's files.
            for path in wanted.filter(|path| !exists(path) && !exists(&folder.join(path))) {
                found.push(Violation::new(
                    file,
                    number + 1,
                    format!("leads to {}, which is not there", path.display()),
                ));
            }
        }
    }
    found
}

fn is_source_path(text: &str) -> bool {
    let ours = ["src/", "protocol/", "tests/", "benches/", "examples/", "docs/", "web/"];
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    plain && ours.iter().any(|folder| text.starts_with(folder))
}

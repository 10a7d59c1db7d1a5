//! A source file, read as the compiler would: without comments, with the tests told apart.

use std::path::{Path, PathBuf};
use std::{fs, iter};

/// One file of the repository.
pub(crate) struct Source {
    /// From the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Empty unless it is Rust.
    pub(crate) tokens: Vec<Token>,
}

/// A word, a literal or a mark of punctuation (`::` is one).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// Inside an item that only tests see.
    pub(crate) in_test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Mark,
    Text,
}

/// A path such as `crate::model::CloseReason`, braces spread out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let mut tokens = if path.ends_with(".rs") { tokens(&text) } else { Vec::new() };
        if is_test_file(&path) {
            tokens.iter_mut().for_each(|token| token.in_test = true);
        } else {
            mark_tests(&mut tokens);
        }
        Self { path, text, tokens }
    }

    /// Code of the two crates, not of their tests, benches and examples.
    pub(crate) fn is_production(&self) -> bool {
        let of_a_crate = self.path.starts_with("src/") || self.path.starts_with("protocol/src/");
        of_a_crate && self.path.ends_with(".rs") && !is_test_file(&self.path)
    }

    /// The words and marks that ship.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| !token.in_test)
    }

    /// Every path in the file, those relative to `super` resolved from the crate's root.
    pub(crate) fn paths(&self) -> Vec<Named> {
        let mut module = module_of(&self.path);
        // The depth of braces at which each inline module ends.
        let mut ends = Vec::new();
        // Words before `spread` are part of a path already read.
        let (mut depth, mut spread, mut found) = (0, 0, Vec::new());
        for (at, token) in self.tokens.iter().enumerate() {
            let word = |back: usize| at.checked_sub(back).map_or("", |at| &self.tokens[at].text);
            match (token.kind, token.text.as_str()) {
                (Kind::Mark, "{") => {
                    if word(2) == "mod" {
                        module.push(word(1).to_owned());
                        ends.push(depth);
                    }
                    depth += 1;
                }
                (Kind::Mark, "}") => {
                    depth -= 1;
                    if ends.last() == Some(&depth) {
                        ends.pop();
                        module.pop();
                    }
                }
                (Kind::Word, _) if at >= spread => {
                    let mut names = Vec::new();
                    spread = tree(&self.tokens, at, &[], &mut names);
                    if names.len() > 1 || names[0].len() > 1 || word(1) == "use" {
                        let (line, in_test) = (token.line, token.in_test);
                        let resolved = names.into_iter().map(|name| resolve(&module, name));
                        found.extend(resolved.map(|segments| Named { segments, line, in_test }));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The text of line `line`, from 1.
    pub(crate) fn line(&self, line: usize) -> &str {
        self.text.lines().nth(line - 1).unwrap_or_default()
    }
}

/// Every text file of the repository that is ours.
pub(crate) fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).ok()?.to_str()?.replace('\\', "/");
        Some(Source::new(name, fs::read_to_string(&path).ok()?))
    };
    files.into_iter().filter_map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the repository can be read");
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // `.ci` and `.github` are ours; `.git` and virtual environments are not.
        let foreign = [".git", ".venv", "target", "node_modules", "dist", "__pycache__"].contains(&&*name);
        if foreign || entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Whether only tests compile the file, judged by its name.
pub(crate) fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let folder = path.rsplit('/').skip(1).any(|folder| folder == "tests");
    folder || name == "tests.rs" || name.ends_with("_tests.rs")
}

fn module_of(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("protocol/").trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn resolve(module: &[String], name: Vec<String>) -> Vec<String> {
    let ups = name.iter().take_while(|segment| *segment == "super").count();
    let selves = name.iter().take_while(|segment| *segment == "self").count();
    if ups + selves == 0 {
        return name;
    }
    let base = module.iter().take(module.len().saturating_sub(ups)).cloned();
    iter::once("crate".to_owned()).chain(base).chain(name.into_iter().skip(ups + selves)).collect()
}

/// Spreads the path that begins at `at`; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut name = before.to_vec();
    while let Some(token) = tokens.get(at) {
        match (token.kind, token.text.as_str()) {
            (Kind::Word, word) => name.push(word.to_owned()),
            (Kind::Mark, "*") => name.push("*".to_owned()),
            (Kind::Mark, "{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, &name, found);
                    while tokens.get(at).is_some_and(|token| token.text != "," && token.text != "}") {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    found.push(name);
    at
}

/// Marks what stands behind `#[cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let end = attribute_end(tokens, at);
        let words: Vec<&str> = tokens[at..end].iter().map(|token| token.text.as_str()).collect();
        let test_only =
            words.starts_with(&["#", "[", "cfg"]) && words.contains(&"test") && !words.contains(&"not");
        if !test_only {
            at = end.max(at + 1);
            continue;
        }
        let mut item = end;
        while attribute_end(tokens, item) > item {
            item = attribute_end(tokens, item);
        }
        let end = item_end(tokens, item);
        tokens[at..end].iter_mut().for_each(|token| token.in_test = true);
        at = end;
    }
}

/// Behind the attribute at `at`; `at` itself where there is none.
fn attribute_end(tokens: &[Token], at: usize) -> usize {
    let opens =
        |at: usize, mark: &str| tokens.get(at).is_some_and(|t| t.kind == Kind::Mark && t.text == mark);
    if !(opens(at, "#") && opens(at + 1, "[")) {
        return at;
    }
    let close = (at..tokens.len()).find(|at| opens(*at, "]"));
    close.map_or(tokens.len(), |close| close + 1)
}

fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start).filter(|(_, token)| token.kind == Kind::Mark) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < chars.len() {
        let (end, kind) = token_end(&chars, at);
        if let Some(kind) = kind {
            let text = chars[at..end].iter().collect();
            found.push(Token { text, line, kind, in_test: false });
        }
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

/// Where the token at `at` ends; white space and comments are no token.
fn token_end(chars: &[char], at: usize) -> (usize, Option<Kind>) {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let run = |from: usize, test: &dyn Fn(&char) -> bool| {
        from + chars[from..].iter().take_while(|c| test(c)).count()
    };
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => (run(at, &|c| *c != '\n'), None),
        '/' if next == Some('*') => (comment_end(chars, at), None),
        '"' => (text_end(chars, at + 1), Some(Kind::Text)),
        '\'' => match next {
            Some('\\') => (run(at + 3, &|c| *c != '\'') + 1, Some(Kind::Text)),
            Some(_) if chars.get(at + 2) == Some(&'\'') => (at + 3, Some(Kind::Text)),
            _ => (at + 1, Some(Kind::Mark)),
        },
        ':' if next == Some(':') => (at + 2, Some(Kind::Mark)),
        c if is_word(&c) => {
            let end = run(at, &is_word);
            let prefix: String = chars[at..end].iter().collect();
            match chars.get(end) {
                Some('"') if ["b", "c"].contains(&&*prefix) => (text_end(chars, end + 1), Some(Kind::Text)),
                Some('"' | '#') if ["r", "br", "cr"].contains(&&*prefix) => raw_end(chars, end),
                _ => (end, Some(Kind::Word)),
            }
        }
        c if c.is_whitespace() => (at + 1, None),
        _ => (at + 1, Some(Kind::Mark)),
    }
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A raw text or, with `r#name`, a raw word.
fn raw_end(chars: &[char], hashes_from: usize) -> (usize, Option<Kind>) {
    let hashes = chars[hashes_from..].iter().take_while(|c| **c == '#').count();
    let from = hashes_from + hashes;
    if chars.get(from) != Some(&'"') {
        let word = chars[from..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
        return (from + word, Some(Kind::Word));
    }
    let closes =
        |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    let end = (from + 1..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes);
    (end, Some(Kind::Text))
}

//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The text is no TOML, or a key or value in it is none of ours.
    #[error("{}:{line}:{column}: {}{message}", path.display(), prefix(key))]
    Text {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The key on that line, with its tables; empty when it has none.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A variable of the environment.
    #[error("variable {name}: {message}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Everything can be read, but not be used.
    #[error("{}", lines(.0))]
    Unusable(Vec<Problem>),
}

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong and what would be right.
    pub fault: String,
    /// File, line and column, if the file sets the key or a table around it.
    pub place: Option<(PathBuf, usize, usize)>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((path, line, column)) = &self.place {
            write!(f, "{}:{line}:{column}: ", path.display())?;
        }
        write!(f, "{}{}", prefix(&self.key), self.fault)
    }
}

/// The key before a message, unless the message is about no key.
fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Turns serde's words into an operator's: what was expected, the nearest known key, and no value that may be a secret.
pub(super) fn reworded(message: &str) -> String {
    let mut text = without_values(message.trim());
    for (type_name, words) in TYPES {
        if let Some(start) = text.strip_suffix(&format!("expected {type_name}")) {
            text = format!("{start}expected {words}");
        }
    }
    let near = text.starts_with("unknown field").then(|| nearest(message)).flatten();
    near.map_or(text.clone(), |near| format!("{text}; did you mean `{near}`?"))
}

/// Serde repeats a text of the wrong type; it could be a secret in the wrong place.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}text{}", &message[..start], &message[end + 1..])
        }
        _ => message.to_owned(),
    }
}

/// The name between the first backticks is the unknown one, the others are known.
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let best = quoted.map(|known| (distance(unknown, known), known)).min()?;
    (best.0 <= 1 + unknown.len() / 4).then(|| best.1.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

const TYPES: [(&str, &str); 9] = [
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number"),
    ("usize", "a whole number"),
    ("a boolean", "true or false"),
    ("a string", "a text in quotes"),
    ("path string", "a file name in quotes"),
    ("a sequence", "a list in brackets"),
    ("an enum", "a text in quotes"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_gets_the_nearest_known_one() {
        let message = reworded("unknown field `htpp_port`, expected one of `listen`, `http_port`, `tls`");
        assert!(message.ends_with("did you mean `http_port`?"), "{message}");
        let message = reworded("unknown field `zzz`, expected one of `listen`, `http_port`");
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn a_text_in_the_wrong_place_is_not_repeated() {
        let message = reworded("invalid type: string \"s3cret, \"x\"\", expected u16");
        assert_eq!(message, "invalid type: text, expected a whole number from 0 to 65535");
    }
}

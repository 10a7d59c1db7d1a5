//! From places in a TOML text to keys and back, for messages.

/// A line that sets a key, with the key's full path: `limits.body_bytes_max`, `account[1].login`.
struct Line<'a> {
    number: usize,
    column: usize,
    key: String,
    text: &'a str,
}

/// Line and column, both from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The key that is set on a line; empty where there is none.
pub(super) fn key_at(text: &str, line: usize) -> String {
    let found = lines(text).into_iter().take_while(|l| l.number <= line).last();
    found.map(|line| line.key).unwrap_or_default()
}

/// Where a key is set, or the nearest table around it.
pub(super) fn position_of(text: &str, key: &str) -> Option<(usize, usize)> {
    let lines = lines(text);
    let mut wanted = key;
    loop {
        if let Some(line) = lines.iter().find(|line| line.key == wanted) {
            return Some((line.number, line.column));
        }
        wanted = &wanted[..wanted.rfind('.')?];
    }
}

/// Reads only as much of TOML as names need: headers, and keys before `=` on a line of their own. Strings over several
/// lines could be mistaken for keys; then a message points at them, and nothing worse.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut found: Vec<Line<'_>> = Vec::new();
    let mut table = String::new();
    for (i, text) in text.lines().enumerate() {
        let trimmed = text.trim_start();
        let column = text.chars().count() - trimmed.chars().count() + 1;
        let header = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next());
        let key = match header {
            Some(array) if array.starts_with('[') => {
                let name = clean(&array[1..]);
                let count = found.iter().filter(|line| is_header(line, &name)).count();
                table = format!("{name}[{count}]");
                table.clone()
            }
            Some(name) => {
                table = clean(name);
                table.clone()
            }
            None => match trimmed.split_once('=') {
                Some((name, _)) if !trimmed.starts_with('#') => {
                    let name = clean(name);
                    if table.is_empty() { name } else { format!("{table}.{name}") }
                }
                _ => continue,
            },
        };
        found.push(Line { number: i + 1, column, key, text });
    }
    found
}

fn is_header(line: &Line<'_>, name: &str) -> bool {
    let index = line.key.strip_prefix(name).and_then(|rest| rest.strip_prefix('['));
    line.text.trim_start().starts_with("[[")
        && index.is_some_and(|index| index.ends_with(']') && !index.contains('.'))
}

fn clean(name: &str) -> String {
    name.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "listen = \"::\"\n\n[limits]\n# a comment = 1\n  body_bytes_max = 1\n[[account]]\nlogin = \"a\"\n\
        [[account]]\nlogin = \"b\"\n[[access.rule]]\npattern = \"x\"\n";

    #[test]
    fn keys_are_found_by_line() {
        let cases = [
            (1, "listen"),
            (3, "limits"),
            (5, "limits.body_bytes_max"),
            (7, "account[0].login"),
            (9, "account[1].login"),
            (11, "access.rule[0].pattern"),
        ];
        for (line, key) in cases {
            assert_eq!(key_at(TEXT, line), key);
        }
        assert_eq!(key_at("", 1), "");
    }

    #[test]
    fn lines_are_found_by_key_or_by_the_table_around_it() {
        assert_eq!(position_of(TEXT, "limits.body_bytes_max"), Some((5, 3)));
        assert_eq!(position_of(TEXT, "limits.headers_max"), Some((3, 1)));
        assert_eq!(position_of(TEXT, "account[1].passcode_hash"), Some((8, 1)));
        assert_eq!(position_of(TEXT, "tls.cert"), None);
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("ab\ncd", 0), (1, 1));
        assert_eq!(position("ab\ncd", 4), (2, 2));
        assert_eq!(position("ab\n", 99), (2, 1));
    }
}

//! `CHECKLIST.md` names tests that exist, and leaves no line out.

use std::fs;
use std::path::Path;

#[test]
fn each_test_of_the_checklist_exists() {
    let sources = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    for row in rows() {
        for name in row.tests() {
            assert!(sources.contains(&format!("#[test]\nfn {name}(")), "line {}: no test {name}", row.line);
        }
    }
}

#[test]
fn each_line_of_the_checklist_is_there_once_and_held_by_something() {
    let rows = rows();
    for (chapter, lines) in [(1, 74), (2, 17), (3, 83)] {
        let numbers: Vec<_> = rows.iter().filter(|row| row.chapter == chapter).map(|row| row.line).collect();
        assert_eq!(numbers, (1..=lines).collect::<Vec<_>>(), "chapter {chapter}");
    }
    for row in &rows {
        let elsewhere = matches!(&row.held_by[..], "client" | "broker" | "not copied");
        assert!(elsewhere || row.tests().next().is_some(), "line {} is held by nothing", row.line);
    }
}

struct Row {
    chapter: usize,
    line: usize,
    held_by: String,
}

impl Row {
    fn tests(&self) -> impl Iterator<Item = &str> {
        self.held_by.split('`').skip(1).step_by(2)
    }
}

fn rows() -> Vec<Row> {
    let mut chapter = 0;
    let mut rows = Vec::new();
    for text in include_str!("../../CHECKLIST.md").lines() {
        chapter += usize::from(text.starts_with("## "));
        let cells: Vec<_> = text.split('|').map(str::trim).collect();
        if let [_, line, _, held_by, _] = cells[..]
            && let Ok(line) = line.parse()
        {
            rows.push(Row { chapter, line, held_by: held_by.to_owned() });
        }
    }
    rows
}

/// All Rust of `src` and `tests`, without indentation.
#[expect(clippy::unwrap_used, reason = "sources that cannot be read fail the test")]
fn sources(crate_folder: &Path) -> String {
    let mut folders = vec![crate_folder.join("src"), crate_folder.join("tests")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                for line in fs::read_to_string(path).unwrap().lines() {
                    all.push_str(line.trim_start());
                    all.push('\n');
                }
            }
        }
    }
    all
}

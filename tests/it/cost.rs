//! The hot paths cost as many instructions and allocations as `benches/cost/expected.toml` says.

use std::path::Path;
use std::process::{Command, Output};

use toml::{Table, Value};

/// Counts in a program that is optimised: what tests are built as says nothing of what is shipped.
fn cost(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(BENCH).args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn no_hot_path_costs_more_instructions_than_its_table_allows() {
    let output = cost(&["check"]).output().unwrap();
    assert!(output.status.success(), "\n{}", said(&output));
    println!("{}", said(&output));
}

#[test]
fn a_path_that_costs_more_than_its_table_allows_is_named_with_its_figures() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cost/expected.toml");
    let mut table: Table = toml::from_str(&std::fs::read_to_string(committed).unwrap()).unwrap();
    // A quarter of what it costs is too little by any tolerance.
    for (_, count) in table["path"]["decode"].as_table_mut().unwrap() {
        *count = Value::Float(count.as_float().unwrap() / 4.0);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, toml::to_string(&table).unwrap()).unwrap();
    let mut command = cost(&["check", "--table", file.path().to_str().unwrap(), "decode", "encode"]);
    // Else it would be put right.
    let output = command.env_remove("UPDATE_COST").output().unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    let complaint = said.lines().find(|line| line.starts_with("decode: ")).expect("a complaint");
    assert!(complaint.contains(" instructions, ") && complaint.contains(" allocations, "), "{complaint}");
    assert!(!said.contains("encode: "), "{said}");
}

const BENCH: [&str; 7] = ["bench", "--quiet", "--profile", "cost", "--bench", "cost", "--"];

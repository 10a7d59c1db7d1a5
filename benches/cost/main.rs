//! What the hot paths cost, counted in instructions and allocations: figures that no busy machine changes.
//!
//! ```text
//! cargo bench --profile cost --bench cost                     count every path, beside benches/cost/expected.toml
//! cargo bench --profile cost --bench cost -- decode encode    count these
//! cargo bench --profile cost --bench cost -- check            the same, and fail where a path has left its tolerance
//! cargo bench --bench cost -- decode 1000                     only walk the path a thousand times: for a profiler
//! ```
//!
//! `UPDATE_COST=1` with `check` writes what was counted into the table. Counting needs valgrind.

mod count;
mod paths;
#[path = "../support/room.rs"]
mod room;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use count::{Cost, Machine};
use paths::{PATHS, Path};
use table::{Row, Table};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).filter(|argument| argument != "--bench").collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<String>) -> Result<ExitCode, Box<dyn Error>> {
    if let [name, rounds] = arguments.as_slice()
        && let Ok(rounds) = rounds.parse()
    {
        path(name)?.walk(rounds);
        return Ok(ExitCode::SUCCESS);
    }
    let mut file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cost/expected.toml"));
    if let Some(at) = arguments.iter().position(|argument| argument == "--table") {
        file =
            arguments.drain(at..(at + 2).min(arguments.len())).nth(1).ok_or("--table wants a file")?.into();
    }
    let checks = arguments.first().is_some_and(|first| first == "check");
    let names = &arguments[usize::from(checks)..];
    let wanted = names.iter().map(|name| path(name)).collect::<Result<Vec<_>, _>>()?;
    let wanted = if wanted.is_empty() { PATHS.iter().collect() } else { wanted };

    let machine = Machine::this()?;
    let counted = wanted.iter().map(|path| Ok((path.name, count::cost(path)?))).collect::<CountedAll>()?;
    if checks && std::env::var_os("UPDATE_COST").is_some() {
        Table::update(&file, &machine, &counted)?;
        println!("written: {}", file.display());
    }
    let table = Table::read(&file)?;
    let rows: Vec<Row> = counted.iter().map(|(name, cost)| table.row(name, *cost, &machine)).collect();
    println!("{}", table::print(&rows));
    println!("{}", table.terms(&machine));
    let strays: Vec<String> = rows.iter().filter_map(Row::complaint).collect();
    if !checks || strays.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{}\n{}", strays.join("\n"), table::ADVICE);
    Ok(ExitCode::FAILURE)
}

fn path(name: &str) -> Result<&'static Path, String> {
    let known = || PATHS.iter().map(|path| path.name).collect::<Vec<_>>().join(", ");
    PATHS
        .iter()
        .find(|path| path.name == name)
        .ok_or_else(|| format!("no path {name:?}; there are: {}", known()))
}

type CountedAll = Result<Vec<(&'static str, Cost)>, Box<dyn Error>>;

//! What a round of each path may cost, and what is said when it costs something else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::count::{Cost, Machine};

/// The committed figures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Where they were counted.
    machine: Option<Machine>,
    path: BTreeMap<String, Cost>,
}

impl Table {
    /// Reads `file`; one that is not there is empty.
    pub(crate) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what was counted; paths that were not stay as they are if they come from the same machine.
    pub(crate) fn update(
        file: &Path,
        machine: &Machine,
        counted: &[(&str, Cost)],
    ) -> Result<(), Box<dyn Error>> {
        let known = Self::read(file)?;
        let mut path = if known.machine.as_ref() == Some(machine) { known.path } else { BTreeMap::new() };
        path.extend(counted.iter().map(|(name, cost)| ((*name).to_owned(), cost.rounded())));
        let table = Self { machine: Some(machine.clone()), path };
        fs::write(file, format!("{HEAD}{}", toml::to_string(&table)?))?;
        Ok(())
    }

    /// What is expected beside what was counted.
    pub(crate) fn row<'a>(&self, name: &'a str, counted: Cost, machine: &Machine) -> Row<'a> {
        Row { name, counted, expected: self.path.get(name).copied(), tolerance: self.tolerance(machine) }
    }

    /// How far the table holds on `machine`.
    pub(crate) fn terms(&self, machine: &Machine) -> String {
        let Some(made) = &self.machine else { return "There is no table yet.".to_owned() };
        let allowed = match self.tolerance(machine) {
            Tolerance::Strict => format!("{} either way", percent(STRICT)),
            Tolerance::OtherBuild => {
                let Machine { rustc, profile, .. } = machine;
                format!("{} more, since this is Rust {rustc}, profile {profile}", percent(OTHER_BUILD))
            }
            Tolerance::OtherTarget => {
                format!("{} more, since this is {}", percent(OTHER_TARGET), machine.target)
            }
        };
        format!(
            "Counted for a round, with the table's figures of Rust {}, profile {}, on {}. Allowed here are {allowed}; of the system's \
             libraries {} more, of allocations {} more.",
            made.rustc,
            made.profile,
            made.target,
            percent(LIBRARY),
            percent(ALLOCATIONS)
        )
    }

    fn tolerance(&self, machine: &Machine) -> Tolerance {
        match &self.machine {
            Some(made) if made == machine => Tolerance::Strict,
            Some(made) if made.target == machine.target => Tolerance::OtherBuild,
            _ => Tolerance::OtherTarget,
        }
    }
}

/// One path.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    name: &'a str,
    counted: Cost,
    expected: Option<Cost>,
    tolerance: Tolerance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tolerance {
    Strict,
    OtherBuild,
    OtherTarget,
}

impl Row<'_> {
    /// What is wrong with it; `None`: nothing.
    pub(crate) fn complaint(&self) -> Option<String> {
        let Some(expected) = self.expected else {
            return Some(format!("{}: is not in the table", self.name));
        };
        let (more, less) = match self.tolerance {
            Tolerance::Strict => (STRICT, STRICT),
            Tolerance::OtherBuild => (OTHER_BUILD, f64::INFINITY),
            Tolerance::OtherTarget => (OTHER_TARGET, f64::INFINITY),
        };
        // What stays the same on other compilers may be held to it there.
        let no_less = if self.tolerance == Tolerance::Strict { ALLOCATIONS } else { f64::INFINITY };
        let parts = [
            ("instructions", self.counted.instructions, expected.instructions, more, less, 0.0),
            (
                "instructions in libraries",
                self.counted.library,
                expected.library,
                LIBRARY,
                f64::INFINITY,
                50.0,
            ),
            ("allocations", self.counted.allocations, expected.allocations, ALLOCATIONS, no_less, 0.05),
        ];
        let stray = |&(_, counted, expected, more, less, slack): &(&str, f64, f64, f64, f64, f64)| {
            counted > expected * (1.0 + more) + slack || counted < expected * (1.0 - less) - slack
        };
        let strays = parts.iter().filter(|part| stray(part)).map(|(what, counted, expected, ..)| {
            format!(
                "{} {what}, {} were expected ({})",
                figure(*counted),
                figure(*expected),
                change(*counted, *expected)
            )
        });
        let strays: Vec<String> = strays.collect();
        (!strays.is_empty()).then(|| format!("{}: {}", self.name, strays.join("; ")))
    }
}

impl Cost {
    fn rounded(self) -> Self {
        Self {
            instructions: self.instructions.round(),
            library: self.library.round(),
            allocations: (self.allocations * 100.0).round() / 100.0,
        }
    }
}

/// The rows as a table for people.
pub(crate) fn print(rows: &[Row<'_>]) -> String {
    let mut text = format!(
        "{:<28}{:>14}{:>9}{:>14}{:>9}{:>13}{:>9}",
        "a round of", "instructions", "", "in libraries", "", "allocations", ""
    );
    for Row { name, counted, expected, .. } in rows {
        let changes =
            |of: fn(&Cost) -> f64| expected.map_or("new".to_owned(), |e| change(of(counted), of(&e)));
        let _ = write!(
            text,
            "\n{name:<28}{:>14}{:>9}{:>14}{:>9}{:>13}{:>9}",
            figure(counted.instructions),
            changes(|cost| cost.instructions),
            figure(counted.library),
            changes(|cost| cost.library),
            figure(counted.allocations),
            changes(|cost| cost.allocations),
        );
    }
    text
}

fn figure(count: f64) -> String {
    if count.abs() < 100.0 && count.fract().abs() > 0.004 {
        format!("{count:.2}")
    } else {
        format!("{count:.0}")
    }
}

fn change(counted: f64, expected: f64) -> String {
    match expected {
        0.0 if counted == 0.0 => "=".to_owned(),
        0.0 => "from 0".to_owned(),
        _ => format!("{:+.1} %", (counted / expected - 1.0) * 100.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Of the program's own instructions, with the compiler of the table: what changes elsewhere in the program move by
/// inlining. Less is a complaint too: a table that is not lowered lets the gain be lost again unseen.
const STRICT: f64 = 0.05;

/// Another compiler or profile generates other code; what it makes worse is not our regression.
const OTHER_BUILD: f64 = 0.25;

/// Another machine's instructions do other amounts of work.
const OTHER_TARGET: f64 = 1.0;

/// Of instructions in the C library, of whatever version.
const LIBRARY: f64 = 0.25;

/// Of allocations, which neither compiler nor machine decide.
const ALLOCATIONS: f64 = 0.02;

pub(crate) const ADVICE: &str = "If this is as it should be, say why in the commit, with the table as \
    `UPDATE_COST=1 cargo test --test it cost` writes it.";

const HEAD: &str = "# What a round of each hot path costs; see benches/cost/main.rs. Written by\n\
    # `UPDATE_COST=1 cargo test --test it cost`; `library` are instructions in the system's libraries.\n\n";

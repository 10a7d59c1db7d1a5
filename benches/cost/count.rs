//! One path under valgrind: what a round of it costs.

use std::collections::HashMap;
use std::error::Error;
use std::process::{Command, Stdio};
use std::{env, fs, process, thread};

use serde::{Deserialize, Serialize};

use crate::paths::Path;

/// What a round costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Instructions of this program's own code.
    pub(crate) instructions: f64,
    /// Instructions of the system's libraries: copying, the allocator.
    pub(crate) library: f64,
    /// Calls of the allocator that ask for memory.
    pub(crate) allocations: f64,
}

/// What figures hold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The compiler, such as `1.95.0`.
    pub(crate) rustc: String,
    /// What it compiles for, such as `x86_64-unknown-linux-gnu`.
    pub(crate) target: String,
    /// The profile that this program was built with.
    pub(crate) profile: String,
}

impl Machine {
    /// The compiler at hand, which is the one that cargo has just used, and how.
    pub(crate) fn this() -> Result<Self, Box<dyn Error>> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc).arg("-vV").stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8(output.stdout)?;
        let of = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        let (rustc, target) = of("release: ").zip(of("host: ")).ok_or("rustc does not say what it is")?;
        // `target/<profile>/deps/<program>`, where `bench` goes by the name of `release`.
        let program = env::current_exe()?;
        let profile = program.ancestors().nth(2).and_then(|folder| folder.file_name()?.to_str());
        Ok(Self { rustc, target, profile: profile.unwrap_or_default().to_owned() })
    }
}

/// Walks the path N and 2 N times: the difference is what N rounds cost, without the way there.
pub(crate) fn cost(path: &Path) -> Result<Cost, Box<dyn Error>> {
    let (once, twice) = thread::scope(|scope| {
        let twice = scope.spawn(|| total(path.name, 2 * path.rounds).map_err(|error| error.to_string()));
        (total(path.name, path.rounds), twice.join())
    });
    let (once, twice) = (once?, twice.map_err(|_| "a thread that counted panicked")??);
    let per_round = |once: u64, twice: u64| (twice as f64 - once as f64) / path.rounds as f64;
    Ok(Cost {
        instructions: per_round(once.instructions, twice.instructions),
        library: per_round(once.library, twice.library),
        allocations: per_round(once.allocations, twice.allocations),
    })
}

/// What a whole run cost.
#[derive(Debug, Default)]
struct Total {
    instructions: u64,
    library: u64,
    allocations: u64,
}

fn total(name: &str, rounds: u64) -> Result<Total, Box<dyn Error>> {
    let program = env::current_exe()?;
    let report = env::temp_dir().join(format!("stompede-cost-{}-{name}-{rounds}", process::id()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--error-exitcode=0"]);
    command.arg(format!("--callgrind-out-file={}", report.display()));
    command.arg(&program).args([name, &rounds.to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(|error| format!("valgrind does not start ({error}): {INSTALL}"))?;
    if !output.status.success() {
        return Err(format!("{name} under valgrind: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    let own = program.file_name().and_then(|name| name.to_str()).ok_or("the program has no name")?;
    read(&text, own).ok_or_else(|| "callgrind's report is not understood".into())
}

/// Reads callgrind's format: `ob=` names the object of the lines that follow it, `fn=` the function, a line that begins
/// with a digit or a sign is `position cost`; what follows `calls=` is the cost of what was called, and counted there.
fn read(report: &str, own: &str) -> Option<Total> {
    let mut total = Total::default();
    let (mut objects, mut functions) = (HashMap::new(), HashMap::new());
    let (mut is_own, mut called, mut is_inclusive) = (false, "", false);
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("ob=") {
            is_own = named(&mut objects, name)?.ends_with(own);
        } else if let Some(name) = line.strip_prefix("cob=") {
            named(&mut objects, name)?;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = named(&mut functions, name)?;
        } else if let Some(name) = line.strip_prefix("fn=") {
            named(&mut functions, name)?;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            is_inclusive = true;
            let asks = ALLOCATORS.contains(&called);
            let count: u64 = calls.split(' ').next()?.parse().ok()?;
            total.allocations += if asks { count } else { 0 };
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost: u64 = line.split(' ').nth(1)?.parse().ok()?;
            if is_own && !is_inclusive {
                total.instructions += cost;
            } else if !is_inclusive {
                total.library += cost;
            }
            is_inclusive = false;
        }
    }
    (total.instructions > 0).then_some(total)
}

/// Names are written out once, as `(number) name`, and then as `(number)`.
fn named<'a>(names: &mut HashMap<&'a str, &'a str>, text: &'a str) -> Option<&'a str> {
    match text.split_once(") ") {
        Some((number, name)) => {
            names.insert(number, name);
            Some(name)
        }
        None => names.get(text.strip_suffix(')')?).copied(),
    }
}

/// What asks the C library for memory.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

const INSTALL: &str = "install it with `apt-get install valgrind` or your system's way";

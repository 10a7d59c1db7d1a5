//! A load program for any STOMP server: many subscribers of one topic, some publishers, and a count of what was lost,
//! doubled or out of order.
//!
//! ```text
//! cargo bench --bench load -- --url tcp://127.0.0.1:61613 --subscribers 1000 --rate 100 --seconds 10
//! ```
//!
//! One thread per half of the connections, one poll per thread, no task per connection: the program should not eat the
//! machine that it measures.

#![allow(missing_docs, clippy::unwrap_used, reason = "a program for measuring, not a library")]

mod client;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::{Connection, Wire};
use report::Report;

/// What to do, from the command line.
#[derive(Debug, Clone)]
struct Plan {
    address: String,
    wire: Wire,
    login: String,
    passcode: String,
    topic: String,
    subscribers: usize,
    publishers: usize,
    /// Messages a second of all publishers together.
    rate: f64,
    seconds: f64,
    body_bytes: usize,
    threads: usize,
    /// Process whose CPU time is read.
    pid: Option<u32>,
}

fn main() {
    let plan = match plan(std::env::args().skip(1).filter(|argument| argument != "--bench")) {
        Ok(Some(plan)) => plan,
        Ok(None) => return println!("{USAGE}"),
        Err(fault) => {
            eprintln!("{fault}\n\n{USAGE}");
            std::process::exit(2);
        }
    };
    let report = run(&plan);
    println!("{report}");
    if !report.is_clean() {
        std::process::exit(1);
    }
}

fn run(plan: &Plan) -> Report {
    let shared = Arc::new(Shared::default());
    let share = |thread: usize| {
        plan.subscribers / plan.threads + usize::from(thread < plan.subscribers % plan.threads)
    };
    let readers: Vec<_> = (0..plan.threads)
        .map(|thread| {
            let (plan, shared, count) = (plan.clone(), Arc::clone(&shared), share(thread));
            thread::spawn(move || read(&plan, &shared, count))
        })
        .collect();
    while shared.ready.load(Ordering::SeqCst) < plan.subscribers as u64 {
        assert!(!readers.iter().any(thread::JoinHandle::is_finished), "a subscriber could not connect");
        thread::sleep(Duration::from_millis(10));
    }
    let cpu_before = plan.pid.map(report::cpu_seconds);
    let begin = Instant::now();
    let sent = publish(plan, &shared, begin);
    let sending = begin.elapsed();
    shared.sent.store(sent, Ordering::SeqCst);
    shared.done.store(true, Ordering::SeqCst);
    let mut report = Report::new(sent, plan.subscribers as u64);
    for reader in readers {
        report.add(&reader.join().unwrap());
    }
    report.sending = sending;
    report.elapsed = begin.elapsed();
    report.cpu = plan.pid.map(report::cpu_seconds).zip(cpu_before).map(|(after, before)| after - before);
    report
}

#[derive(Debug, Default)]
struct Shared {
    ready: AtomicU64,
    /// Messages published, once all are.
    sent: AtomicU64,
    done: AtomicBool,
}

/// Publishes at the planned rate and returns how many; each asks for a receipt now and then, so that the server can
/// slow the publisher down.
fn publish(plan: &Plan, shared: &Shared, begin: Instant) -> u64 {
    let mut publishers: Vec<Connection> =
        (0..plan.publishers).map(|n| Connection::open(plan, &format!("publisher{n}"))).collect();
    let mut sent = vec![0u64; plan.publishers];
    let total = (plan.rate * plan.seconds) as u64;
    for number in 0..total {
        let due = begin + Duration::from_secs_f64(number as f64 / plan.rate);
        if let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| wait.as_micros() > 500) {
            thread::sleep(wait);
        }
        let n = (number % plan.publishers as u64) as usize;
        let at_us = due.duration_since(begin).as_micros();
        publishers[n].publish(&plan.topic, n, sent[n], at_us, plan.body_bytes);
        sent[n] += 1;
    }
    for publisher in &mut publishers {
        publisher.finish();
    }
    let _ = shared;
    sent.iter().sum()
}

/// Connects `count` subscribers and reads until all have everything, or nothing more comes for a while.
fn read(plan: &Plan, shared: &Shared, count: usize) -> report::Tally {
    let mut connections: Vec<Connection> =
        (0..count).map(|n| Connection::open(plan, &format!("subscriber{n}"))).collect();
    for connection in &mut connections {
        connection.subscribe(&plan.topic);
        shared.ready.fetch_add(1, Ordering::SeqCst);
    }
    client::read_all(&mut connections, plan.publishers, &|received| {
        shared.done.load(Ordering::SeqCst) && received >= shared.sent.load(Ordering::SeqCst)
    })
}

fn plan(arguments: impl Iterator<Item = String>) -> Result<Option<Plan>, String> {
    let mut plan = Plan {
        address: "127.0.0.1:61613".into(),
        wire: Wire::Tcp,
        login: "guest".into(),
        passcode: "guest".into(),
        topic: "/topic/load".into(),
        subscribers: 1_000,
        publishers: 1,
        rate: 100.0,
        seconds: 10.0,
        body_bytes: 200,
        threads: 1,
        pid: None,
    };
    let mut arguments = arguments.peekable();
    while let Some(flag) = arguments.next() {
        if flag == "--help" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{flag} needs a number, not {value}"));
        match &*flag {
            "--url" => (plan.wire, plan.address) = Wire::of_url(&value)?,
            "--login" => plan.login = value,
            "--passcode" => plan.passcode = value,
            "--topic" => plan.topic = value,
            "--subscribers" => plan.subscribers = number()? as usize,
            "--publishers" => plan.publishers = (number()? as usize).max(1),
            "--rate" => plan.rate = number()?,
            "--seconds" => plan.seconds = number()?,
            "--bytes" => plan.body_bytes = number()? as usize,
            "--threads" => plan.threads = (number()? as usize).max(1),
            "--pid" => plan.pid = Some(number()? as u32),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(Some(plan))
}

const USAGE: &str = "load --url tcp://HOST:PORT|ws://HOST:PORT/PATH [--login L --passcode P] [--topic T] [--subscribers N] \
[--publishers N] [--rate PER_SECOND] [--seconds S] [--bytes N] [--threads N] [--pid BROKER]";

//! Publishing over HTTP: each connection sends its next request when the last one is answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::jwt::Signer;
use crate::options::Options;
use crate::process::Cpu;
use crate::report::Report;

/// Connections that are kept alive, none of which waits for another.
pub(super) fn run(options: &Options) -> io::Result<Report> {
    let credential = match (&options.api_key, Signer::of(options)?) {
        (Some(key), _) => key.clone(),
        (None, Some(signer)) => signer.token("load", &[])?,
        (None, None) => return Err(io::Error::other("who asks? --api-key or --jwt-secret says it")),
    };
    let rest = options.url.split_once("://").map_or(&*options.url, |(_, rest)| rest);
    let address = rest.split('/').next().unwrap_or(rest);
    let destination = options.send_to.as_deref().unwrap_or("/topic/load");
    let text = "x".repeat(options.bytes.as_ref().and_then(|sizes| sizes.first().copied()).unwrap_or(100));
    let body = serde_json::json!({ "destination": destination, "body": text }).to_string();
    let request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {credential}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (answered, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut report = Report::new();
    thread::scope(|threads| -> io::Result<()> {
        let connections: Vec<_> = (0..options.connections.unwrap_or(16))
            .map(|_| TcpStream::connect(address))
            .collect::<io::Result<_>>()?;
        let publishers: Vec<_> = connections
            .into_iter()
            .map(|stream| threads.spawn(|| publish(stream, request.as_bytes(), &answered, &is_over)))
            .collect();
        thread::sleep(Duration::from_secs_f64(options.warm));
        let pids = || options.pid.into_iter().chain(options.also_pid.iter().copied());
        let (start, before, cpu) = (Instant::now(), answered.load(Relaxed), Cpu::of_all(pids()));
        thread::sleep(Duration::from_secs_f64(options.seconds));
        let (seconds, requests) = (start.elapsed().as_secs_f64(), answered.load(Relaxed) - before);
        let spent = Cpu::of_all(pids()).zip(cpu).map(|(end, start)| end.since(&start).as_secs_f64());
        is_over.store(true, Relaxed);
        for publisher in publishers {
            publisher.join().map_err(|_| io::Error::other("a publisher failed"))??;
        }
        report.number("seconds", seconds);
        report.number("requests_per_second", requests as f64 / seconds);
        if let Some(spent) = spent {
            report.number("server_cpu_share", spent / seconds);
            report.number("cpu_us_per_request", spent * 1e6 / requests.max(1) as f64);
            report.number("requests_per_second_and_core", requests as f64 / spent.max(1e-9));
        }
        Ok(())
    })?;
    report.memory(options);
    Ok(report)
}

fn publish(
    mut stream: TcpStream,
    request: &[u8],
    answered: &AtomicU64,
    is_over: &AtomicBool,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let (mut line, mut body) = (String::new(), Vec::new());
    while !is_over.load(Relaxed) {
        stream.write_all(request)?;
        let mut length = 0;
        for number in 0.. {
            line.clear();
            answers.read_line(&mut line)?;
            if number == 0 && !line.starts_with("HTTP/1.1 200 ") {
                return Err(io::Error::other(format!("an answer begins {line:?}")));
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim_end().parse().map_err(io::Error::other)?;
            }
        }
        body.resize(length, 0);
        answers.read_exact(&mut body)?;
        answered.fetch_add(1, Relaxed);
    }
    Ok(())
}

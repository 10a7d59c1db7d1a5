//! One GET to the port where a broker speaks WebSocket.

use std::io::Read;
use std::time::Instant;

use super::ConnectArguments;
use super::wire::dial;
use crate::server::cli::CliError;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server::cli) struct Answer {
    pub(in crate::server::cli) status: u16,
    pub(in crate::server::cli) body: String,
}

/// Asks for `path`. Nothing where the address is no HTTP port.
pub(in crate::server::cli) fn get(
    arguments: &ConnectArguments,
    path: &str,
) -> Result<Option<Answer>, CliError> {
    let (address, timeout) = (&arguments.url, arguments.timeout());
    if !address.speaks_http() {
        return Ok(None);
    }
    let deadline = Instant::now() + timeout;
    let (socket, mut stream) = dial(address, &arguments.trust(), timeout)?;
    let failed = |error: std::io::Error| CliError::Failed(format!("GET {path}: {error}"));
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", address.authority());
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
    let mut read = Vec::new();
    let mut chunk = [0; 4 << 10];
    while read.len() < ANSWER_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CliError::Failed(format!("GET {path}: no answer within {} s", timeout.as_secs())));
        }
        socket.set_read_timeout(Some(left)).map_err(failed)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
            // Without its TLS goodbye an answer that has its length is an answer all the same.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(failed(error)),
        }
    }
    let answer =
        parse(&read).ok_or_else(|| CliError::Failed(format!("GET {path}: the answer is no HTTP")))?;
    Ok(Some(answer))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.trim().to_owned() })
}

/// Health and readiness are a line each.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_taken_from_an_answer() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nwhy\n");
        assert_eq!(answer, Some(Answer { status: 503, body: "why".to_owned() }));
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n"), None);
    }
}

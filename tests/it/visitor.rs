//! A client of a broker in another process: one frame after the other, over TCP.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::served::{DEADLINE, login};

/// An open session.
pub(crate) struct Visitor {
    stream: BufReader<TcpStream>,
    /// Came while something else was waited for.
    early: VecDeque<Told>,
    receipts: usize,
}

/// A frame of the broker.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) command: String,
    headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Visitor {
    /// Signs in to a broker in development mode.
    pub(crate) fn new(address: &str, user: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut visitor = Self { stream: BufReader::new(stream), early: VecDeque::new(), receipts: 0 };
        visitor.write(&login(user, "guest"));
        assert_eq!(visitor.read().unwrap().command, "CONNECTED");
        visitor
    }

    /// SEND with a RECEIPT: that, or the ERROR.
    pub(crate) fn send(&mut self, destination: &str, body: &str) -> Told {
        self.ask(&format!("SEND\ndestination:{destination}"), body)
    }

    /// SUBSCRIBE with a RECEIPT: that, or the ERROR. The subscription is called as its destination; headers begin with a
    /// line end each.
    pub(crate) fn subscribe(&mut self, destination: &str, headers: &str) -> Told {
        self.ask(&format!("SUBSCRIBE\nid:{destination}\ndestination:{destination}{headers}"), "")
    }

    /// ACK with a RECEIPT of a message from a work queue.
    pub(crate) fn acknowledge(&mut self, message: &Told) {
        let answer = self.ask(&format!("ACK\nid:{}", message.header("ack")), "");
        assert_eq!(answer.command, "RECEIPT", "{answer:?}");
    }

    /// The next MESSAGE that is no event of a room, such as JOIN.
    pub(crate) fn message(&mut self) -> Told {
        loop {
            let told = self.early.pop_front().or_else(|| self.read()).expect("an open session");
            assert_eq!(told.command, "MESSAGE", "{told:?}");
            if matches!(told.header("event"), "" | "UNREAD") {
                return told;
            }
        }
    }

    /// Writes frames as they are; false when nobody takes them any more.
    pub(crate) fn write(&mut self, frames: &str) -> bool {
        self.stream.get_mut().write_all(frames.as_bytes()).is_ok()
    }

    /// The next frame, or none at the end.
    pub(crate) fn read(&mut self) -> Option<Told> {
        loop {
            // Line ends between frames are signs of life.
            match self.stream.fill_buf().ok()? {
                [] => return None,
                [b'\n', ..] => self.stream.consume(1),
                _ => break,
            }
        }
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut lines = head.lines();
        let command = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: HashMap<_, _> =
            headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut body = Vec::new();
        match headers.get("content-length") {
            Some(length) => {
                body.resize(length.parse::<usize>().unwrap() + 1, 0);
                self.stream.read_exact(&mut body).ok()?;
            }
            None => drop(self.stream.read_until(0, &mut body).ok()?),
        }
        assert_eq!(body.pop()?, 0);
        Some(Told { command, headers, body: String::from_utf8(body).unwrap() })
    }

    /// Sends a frame with a RECEIPT and waits for that, or for the ERROR.
    fn ask(&mut self, head: &str, body: &str) -> Told {
        self.receipts += 1;
        let receipt = self.receipts.to_string();
        assert!(self.write(&format!("{head}\nreceipt:{receipt}\n\n{body}\0")), "{head}");
        loop {
            let told = self.read().unwrap_or_else(|| panic!("no answer to {head}"));
            if told.command == "ERROR" || told.header("receipt-id") == receipt {
                return told;
            }
            self.early.push_back(told);
        }
    }
}

impl Told {
    /// A header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

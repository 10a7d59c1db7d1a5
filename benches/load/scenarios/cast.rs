//! Who takes part: names, destinations and frames as the options say.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use crate::body::Template;
use crate::client::{Client, Publication, Subscription};
use crate::fleet::Fleet;
use crate::jwt::Signer;
use crate::options::Options;

pub(super) struct Cast<'a> {
    options: &'a Options,
    send_to: String,
    subscribe_to: String,
    login: String,
    signer: Option<Signer>,
    pub(super) versions: &'static [&'static str],
    pub(super) heart_beat: Duration,
    pub(super) clients: Vec<Client>,
    /// Of each client, where there is a key to sign with.
    tokens: Vec<Option<String>>,
    /// Streams, with the client that publishes each.
    pub(super) streams: Vec<(usize, Publication)>,
}

impl<'a> Cast<'a> {
    /// With the destinations and the login of the options, or else these.
    pub(super) fn new(
        options: &'a Options,
        send_to: &str,
        subscribe_to: &str,
        login: &str,
    ) -> io::Result<Self> {
        let or =
            |option: &Option<String>, default: &str| option.clone().unwrap_or_else(|| default.to_owned());
        Ok(Self {
            options,
            send_to: or(&options.send_to, send_to),
            subscribe_to: or(&options.subscribe_to, subscribe_to),
            login: or(&options.login, login),
            signer: Signer::of(options)?,
            versions: &["1.0,1.1,1.2"],
            heart_beat: Duration::ZERO,
            clients: Vec::new(),
            tokens: Vec::new(),
            streams: Vec::new(),
        })
    }

    /// Adds a client that may enter the rooms; gives its number.
    pub(super) fn add(&mut self, user: &str, rooms: &[String]) -> io::Result<usize> {
        let number = self.clients.len();
        let Options { passcode, host, .. } = self.options;
        let (beat, version) = (self.heart_beat.as_millis(), self.versions[number % self.versions.len()]);
        let mut connect =
            format!("CONNECT\naccept-version:{version}\nhost:{host}\nheart-beat:{beat},{beat}\n");
        let token = self.signer.as_ref().map(|signer| signer.token(user, rooms)).transpose()?;
        let _ = match &token {
            Some(token) => writeln!(connect, "Authorization:Bearer {token}\n\0"),
            None => {
                writeln!(connect, "login:{}\npasscode:{passcode}\n\0", self.login.replace("{user}", user))
            }
        };
        // The last line's end belongs before the NUL.
        let connect = connect.trim_end_matches(['\n', '\0']).to_owned() + "\n\n\0";
        self.clients.push(Client { connect, ..Client::default() });
        self.tokens.push(token);
        Ok(number)
    }

    /// Has a client subscribe to a room, or as a user, where these streams arrive.
    pub(super) fn subscribe(&mut self, client: usize, room: &str, user: &str, streams: Vec<u32>) {
        let destination = fill(&self.subscribe_to, room, user);
        self.clients[client].subscriptions.push(Subscription { destination, streams, history: None });
    }

    /// Has a client publish to a room, or to a user; gives the stream's number.
    pub(super) fn publish(&mut self, client: usize, room: &str, user: &str) -> u32 {
        let stream = self.streams.len() as u32;
        let publication = Publication::new(stream, &fill(&self.send_to, room, user), &self.options.header);
        self.clients[client].is_lent = true;
        self.clients[client].publishes.push(publication.clone());
        self.streams.push((client, publication));
        stream
    }

    pub(super) fn launch(mut self, padding: &'static str) -> io::Result<Fleet> {
        if self.options.events {
            let both = self.clients.iter_mut().zip(&self.tokens);
            for (client, token) in both.filter(|(client, _)| client.publishes.is_empty()) {
                client.request = Some(client.stream(token.as_deref()));
            }
        }
        let template = Template::new(&self.options.body, padding);
        let template = template.ok_or_else(|| io::Error::other("--body holds no {stamp}"))?;
        let beat = Some(self.heart_beat).filter(|beat| !beat.is_zero());
        Fleet::launch(self.options, template, self.clients, self.streams, beat)
    }
}

fn fill(template: &str, room: &str, user: &str) -> String {
    template.replace("{room}", room).replace("{user}", user)
}

//! The scenarios: who connects, who publishes, what is measured.

mod fanout;

use std::io;
use std::time::Duration;

use crate::body::Template;
use crate::options::{Options, Scenario};
use crate::report::Report;

pub(crate) fn run(options: &Options) -> io::Result<Report> {
    match options.scenario {
        Scenario::Fanout => fanout::run(options),
    }
}

/// Names, destinations and frames as the options say.
struct Cast<'a> {
    options: &'a Options,
    send_to: String,
    subscribe_to: String,
}

impl<'a> Cast<'a> {
    /// With the templates of the options, or else these.
    fn new(options: &'a Options, send_to: &str, subscribe_to: &str) -> Self {
        let or =
            |option: &Option<String>, default: &str| option.clone().unwrap_or_else(|| default.to_owned());
        Self {
            options,
            send_to: or(&options.send_to, send_to),
            subscribe_to: or(&options.subscribe_to, subscribe_to),
        }
    }

    fn send_to(&self, room: usize, user: &str) -> String {
        fill(&self.send_to, room, user)
    }

    fn subscribe_to(&self, room: usize, user: &str) -> String {
        fill(&self.subscribe_to, room, user)
    }

    /// The frame CONNECT of a user.
    fn connect(&self, user: &str, heart_beat: Duration) -> String {
        let Options { login, passcode, host, .. } = self.options;
        let (login, beat) = (login.replace("{user}", user), heart_beat.as_millis());
        format!(
            "CONNECT\naccept-version:1.0,1.1,1.2\nhost:{host}\nheart-beat:{beat},{beat}\nlogin:{login}\npasscode:{passcode}\n\n\0"
        )
    }

    fn template(&self) -> io::Result<Template> {
        Template::new(&self.options.body, "x").ok_or_else(|| io::Error::other("--body holds no {stamp}"))
    }
}

fn fill(template: &str, room: usize, user: &str) -> String {
    template.replace("{room}", &room.to_string()).replace("{user}", user)
}

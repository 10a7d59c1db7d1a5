//! `/metrics`: what it says of a real broker after real traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use stompede::model::CloseReason;

use crate::process::Broker;
use crate::redis::RedisServer;
use crate::served::DEADLINE;
use crate::visitor::Visitor;

/// A page of metrics.
#[derive(Default)]
pub(crate) struct Scrape {
    pub(crate) page: String,
    /// By metric with its labels, as they are printed.
    values: BTreeMap<String, f64>,
    families: BTreeMap<String, Family>,
}

/// What a page says of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

impl Scrape {
    /// What `address` says now.
    pub(crate) fn of(address: &str) -> Self {
        let (head, page) = get(address, "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        let mut scrape = Self::default();
        page.lines().for_each(|line| scrape.take(line));
        Self { page, ..scrape }
    }

    fn take(&mut self, line: &str) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert_eq!(self.families.insert(name.to_owned(), family), None, "{name} is there twice");
            return;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut self.families.get_mut(name).expect("help before the type").kind);
            return;
        }
        let (metric, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(
            self.values.insert(metric.to_owned(), value.parse().unwrap()),
            None,
            "{metric} is there twice"
        );
        let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
        let name = of_histogram.filter(|name| self.families.contains_key(*name)).unwrap_or(name);
        let family = self.families.get_mut(name).unwrap_or_else(|| panic!("{name} has no HELP"));
        for label in labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')) {
            family.labels.insert(label.0.to_owned());
        }
    }

    /// The value of a metric, such as `a_total` or `a{b="c"}`.
    pub(crate) fn value(&self, name: &str) -> f64 {
        *self.values.get(name).unwrap_or_else(|| panic!("no {name} in {}", self.page))
    }

    /// The sum over all labels.
    fn sum(&self, name: &str) -> f64 {
        let of_it = |metric: &str| metric.split('{').next() == Some(name);
        self.values.iter().filter(|(metric, _)| of_it(metric)).map(|(_, value)| value).sum()
    }
}

/// Head and body of the answer to a GET.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Looks again until `is_so`, in time.
#[track_caller]
pub(crate) fn wait_for(address: &str, what: &str, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
    let begin = Instant::now();
    loop {
        let scrape = Scrape::of(address);
        if is_so(&scrape) {
            return scrape;
        }
        assert!(begin.elapsed() < DEADLINE, "no {what} in\n{}", scrape.page);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A broker with some of everything: what it keeps is kept where `arguments` say.
pub(crate) fn lively(directory: &Path, arguments: &[&str]) -> (Broker, Vec<Visitor>) {
    let config = directory.join("stompede.toml");
    std::fs::write(&config, HOOK).unwrap();
    let arguments = [arguments, &["--config", config.to_str().unwrap()]].concat();
    let broker = Broker::start(directory, &arguments);
    let deadline = Instant::now() + DEADLINE;
    while !get(&broker.admin, "/readyz").0.starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline, "it does not become ready");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| Visitor::new(&broker.stomp, name));
    let accepted = |told: &crate::visitor::Told| assert_eq!(told.command, "RECEIPT", "{told:?}");
    accepted(&alice.subscribe("/topic/chat/1", ""));
    accepted(&bob.subscribe("/topic/chat/1", ""));
    accepted(&bob.subscribe("/topic/news/*", ""));
    accepted(&alice.send("/app/chat/1/send", r#"{"type":"TEXT","content":"hello"}"#));
    accepted(&alice.send("/topic/news/a", "news"));
    accepted(&alice.send("/queue/jobs", "one"));
    accepted(&alice.send("/queue/jobs", "two"));
    accepted(&alice.send("/app/user/status", r#"{"status":"away"}"#));
    let mut worker = Visitor::new(&broker.stomp, "worker");
    accepted(&worker.subscribe("/queue/jobs", "\nack:client-individual\nprefetch-count:1"));
    worker.message();
    let mut late = Visitor::new(&broker.stomp, "late");
    accepted(&late.subscribe("/topic/chat/1", "\nstompede-history:10"));
    assert!(late.message().body.contains("hello"));
    (broker, vec![alice, bob, worker, late])
}

#[test]
fn what_clients_do_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, visitors) = lively(directory.path(), &[]);
    let mut refused = Visitor::new(&broker.stomp, "carol");
    assert_eq!(refused.subscribe("/exchange/a", "").header("error-code"), "bad-destination");
    let url = format!("ws://{}/ws", broker.http);
    assert!(Broker::command_at(&url, &["pub", "/topic/news/b", "x"]).status().unwrap().success());
    let wrong = ["pub", "/topic/a", "x", "--login", "a", "--passcode", "wrong"];
    assert!(!broker.run(&wrong).status.success());
    assert!(get(&broker.http, "/ws/websocket").0.starts_with("HTTP/1.1 400 "));
    let is_over = |scrape: &Scrape| scrape.value("stompede_connections{transport=\"tcp\"}") == 4.0;
    let scrape = wait_for(&broker.admin, "end of those who were refused", is_over);
    for (name, value) in [
        ("stompede_ready", 1.0),
        ("stompede_connections{transport=\"websocket\"}", 0.0),
        ("stompede_connections_opened_total{transport=\"tcp\"}", 6.0),
        ("stompede_connections_opened_total{transport=\"websocket\"}", 1.0),
        ("stompede_handshakes_total{kind=\"stomp\",result=\"ok\"}", 6.0),
        ("stompede_handshakes_total{kind=\"stomp\",result=\"failed\"}", 1.0),
        ("stompede_handshakes_total{kind=\"websocket\",result=\"ok\"}", 1.0),
        ("stompede_handshakes_total{kind=\"websocket\",result=\"failed\"}", 1.0),
        ("stompede_handshakes_total{kind=\"tls\",result=\"ok\"}", 0.0),
        ("stompede_frames_received_total{command=\"connect\"}", 7.0),
        ("stompede_frames_received_total{command=\"subscribe\"}", 6.0),
        ("stompede_frames_received_total{command=\"send\"}", 6.0),
        ("stompede_frames_received_total{command=\"disconnect\"}", 1.0),
        ("stompede_messages_accepted_total", 6.0),
        ("stompede_refusals_total{reason=\"bad-destination\"}", 1.0),
        ("stompede_refusals_total{reason=\"unauthorized\"}", 1.0),
        ("stompede_sessions_closed_total{reason=\"bad-destination\"}", 1.0),
        ("stompede_sessions_closed_total{reason=\"slow-consumer\"}", 0.0),
        ("stompede_users_online", 4.0),
        ("stompede_rooms", 1.0),
        ("stompede_users_with_status", 1.0),
        ("stompede_history_destinations", 1.0),
        ("stompede_history_appends_total", 1.0),
        ("stompede_queues", 1.0),
        ("stompede_queue_messages", 2.0),
        ("stompede_queues_consumed", 1.0),
        ("stompede_queue_consumers", 1.0),
        ("stompede_dead_letters_total{kind=\"rejected\"}", 0.0),
    ] {
        assert_eq!(scrape.value(name), value, "{name}");
    }
    // Two said in the room, JOINs, two pieces of news, one job, one out of the history.
    assert!(scrape.value("stompede_deliveries_total") >= 6.0);
    assert!(scrape.value("stompede_history_reads_total") >= 1.0);
    assert!(scrape.value("stompede_fan_out_seconds_count") >= 1.0);
    assert_eq!(
        scrape.value("stompede_fan_out_seconds_bucket{le=\"+Inf\"}"),
        scrape.value("stompede_fan_out_seconds_count")
    );
    for name in [
        "stompede_received_bytes_total",
        "stompede_sent_bytes_total",
        "stompede_answers_sent_total",
        "stompede_memory_held_bytes{part=\"queues\"}",
        "stompede_memory_held_bytes{part=\"history\"}",
        "stompede_memory_max_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(scrape.value(name) > 0.0, "{name}");
    }
    assert!(scrape.value("process_resident_memory_bytes") > 1e6);
    assert!(scrape.value("process_open_fds") < 1e3);
    assert_eq!(scrape.sum("stompede_connections"), 4.0);
    drop(visitors);
    let gone = |scrape: &Scrape| scrape.sum("stompede_connections") == 0.0;
    let scrape = wait_for(&broker.admin, "end of all connections", gone);
    assert_eq!(scrape.value("stompede_queue_consumers"), 0.0);
    let is_busy = |scrape: &Scrape| scrape.sum("stompede_worker_busy_seconds_total") > 0.0;
    wait_for(&broker.admin, "work of the workers", is_busy);
}

#[test]
fn what_a_slow_consumer_leaves_unread_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("stompede.toml");
    std::fs::write(&config, "[limits]\noutbox_bytes_max = 65536\n").unwrap();
    let broker = Broker::start(directory.path(), &["--config", config.to_str().unwrap()]);
    let mut slow = Visitor::new(&broker.stomp, "slow");
    assert_eq!(slow.subscribe("/topic/a", "").command, "RECEIPT");
    let mut fast = Visitor::new(&broker.stomp, "fast");
    let body = "x".repeat(60_000);
    let begin = Instant::now();
    let closed = "stompede_sessions_closed_total{reason=\"slow-consumer\"}";
    while Scrape::of(&broker.admin).value(closed) == 0.0 {
        assert_eq!(fast.send("/topic/a", &body).command, "RECEIPT");
        assert!(begin.elapsed() < DEADLINE * 3, "nobody is slow");
    }
    let scrape = wait_for(&broker.admin, "high water", |scrape| {
        scrape.value("stompede_outbox_high_water_bytes") > 60_000.0
    });
    assert_eq!(scrape.value("stompede_refusals_total{reason=\"slow-consumer\"}"), 1.0);
}

#[test]
fn labels_are_closed_lists_and_no_name_of_a_client_is_on_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let before = Scrape::of(&broker.admin);
    let mut mallory = Visitor::new(&broker.stomp, "mall0ry");
    assert_eq!(mallory.subscribe("/topic/chat/s3cret", "").command, "RECEIPT");
    assert_eq!(mallory.send("/queue/s3cret", "s3cret").command, "RECEIPT");
    let after = Scrape::of(&broker.admin);
    for secret in ["mall0ry", "s3cret"] {
        assert!(!after.page.contains(secret));
    }
    let metrics = |scrape: &Scrape| scrape.values.keys().cloned().collect::<Vec<_>>();
    assert_eq!(metrics(&before), metrics(&after));
    for reason in CloseReason::ALL {
        after.value(&format!("stompede_refusals_total{{reason=\"{}\"}}", reason.code()));
    }
}

#[test]
fn the_page_is_well_formed_as_promtool_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, _visitors) = lively(directory.path(), &[]);
    let page = Scrape::of(&broker.admin).page;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the package prometheus");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_taken_admin_port_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]);
    let port = broker.admin.rsplit_once(':').unwrap().1;
    let mut second = Command::new(env!("CARGO_BIN_EXE_stompede"));
    second.args(["--http-port", "0", "--stomp-port", "0", "--admin-port", port]).env_clear();
    let second = second.output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    for part in [port, "--admin-port PORT", "--admin-port off", &format!("process {}", broker.child.id())] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn the_admin_port_can_be_off_and_metrics_are_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &["--admin-port", "off"]);
    assert_eq!(broker.admin, "");
    let (head, _) = get(&broker.http, "/metrics");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    for path in ["/readyz", "/healthz"] {
        assert!(get(&broker.http, path).0.starts_with("HTTP/1.1 200 "), "{path}");
    }
}

/// A backend that is asked nothing: there is nothing of the kind.
const HOOK: &str = "[[hook]]\nname = \"shop\"\non = [\"subscribe\"]\nurl = \"http://127.0.0.1:9/\"\n\
    secret = \"a secret of at least thirty-two bytes\"\npatterns = [\"/topic/asked\"]\n";

/// Set to rewrite the table instead of comparing it.
const REWRITE: &str = "UPDATE_DOCS";

const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

#[test]
fn the_table_of_metrics_is_the_page_of_each_kind_of_broker() {
    let redis = RedisServer::start();
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let data = directories[1].path().join("data");
    let (data, url) = (data.to_str().unwrap(), redis.url());
    let [memory, disk, shared] = [&[][..], &["--data", data], &["--redis", &url]];
    let brokers = [memory, disk, shared].into_iter().zip(&directories);
    let pages: Vec<_> = brokers
        .map(|(arguments, directory)| {
            let (broker, _visitors) = lively(directory.path(), arguments);
            // The free space is looked at once a second.
            let is_whole = |scrape: &Scrape| {
                !arguments.contains(&"--data") || scrape.families.contains_key("stompede_disk_free_bytes")
            };
            wait_for(&broker.admin, "look at the disk", is_whole).families
        })
        .collect();
    let table = table(&pages);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let doc = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = doc.split_once(BEGIN).expect("docs/metrics.md has a begin mark");
    let (published, after) = rest.split_once(END).expect("docs/metrics.md has an end mark");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        published == table,
        "run `{REWRITE}=1 cargo test --test it table_of_metrics` and look at the difference"
    );
}

/// A row for each metric; where it is not on every page, on which.
fn table(pages: &[BTreeMap<String, Family>]) -> String {
    let mut rows =
        String::from("| metric | type | labels | where | what |\n| --- | --- | --- | --- | --- |\n");
    let names: BTreeSet<&String> = pages.iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let family = pages.iter().find_map(|page| page.get(name)).unwrap();
        let found: Vec<_> = pages
            .iter()
            .zip(["memory", "disk", "Redis"])
            .filter(|(page, _)| page.contains_key(name))
            .collect();
        assert!(found.iter().all(|(page, _)| page[name] == *family), "{name} is another elsewhere");
        let places: Vec<_> = found.iter().map(|(_, place)| *place).collect();
        let place = if places.len() == pages.len() { "all".to_owned() } else { places.join(", ") };
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let Family { kind, help, .. } = family;
        rows += &format!("| `{name}` | {kind} | {} | {place} | {help} |\n", labels.join(", "));
    }
    rows
}

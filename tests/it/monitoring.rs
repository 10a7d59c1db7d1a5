//! Dashboard and alerts as shipped: a real Prometheus asks real brokers, and every query finds all that it names.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::metrics::lively;
use crate::redis::RedisServer;
use crate::served::DEADLINE;

/// A Prometheus of the test's own; killed when it is over.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(directory: &Path, config: &Value) -> Self {
        let (file, log) = (directory.join("prometheus.yml"), directory.join("prometheus.log"));
        // JSON is YAML.
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()));
        command.arg("--web.listen-address=127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(&log).unwrap()).spawn().expect("the package prometheus");
        let mut prometheus = Self { child, address: String::new() };
        let begin = Instant::now();
        while prometheus.address.is_empty() {
            let text = fs::read_to_string(&log).unwrap();
            let listening = text.lines().find_map(|line| line.split_once("msg=\"Listening on\" address="));
            if let Some((_, address)) = listening {
                prometheus.address = address.split_whitespace().next().unwrap().to_owned();
            }
            assert!(begin.elapsed() < DEADLINE, "Prometheus does not listen: {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
        while !ask(&prometheus.address, "/-/ready").0.starts_with("HTTP/1.0 200 ") {
            assert!(begin.elapsed() < DEADLINE, "Prometheus does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        prometheus
    }

    /// What an expression finds; the fault, if it is none.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (_, body) = ask(&self.address, &format!("/api/v1/query?query={escaped}"));
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        let result = answer["data"]["result"].as_array().cloned();
        result.filter(|_| answer["status"] == "success").ok_or(body)
    }

    /// Waits until the expression finds something.
    fn expect(&self, expression: &str, of: &str) {
        let begin = Instant::now();
        loop {
            let found = self.query(expression).unwrap_or_else(|fault| panic!("{of}: {expression}: {fault}"));
            if !found.is_empty() {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{of}: nothing is found by {expression}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Head and body of the answer to a GET, of a time when bodies came in one piece.
fn ask(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// The expressions of the dashboard, its variables replaced.
fn of_dashboard() -> Vec<(String, String)> {
    let text = fs::read_to_string(shipped("grafana/stompede.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$job", "stompede").replace("$instance", ".*");
            let expression = expression.replace("$__rate_interval", "10s");
            assert!(!expression.contains('$'), "{expression}");
            found.push((format!("panel {}", panel["title"]), expression));
        }
    }
    found
}

/// The expressions of the alerts, each on a line of its own.
fn of_alerts() -> Vec<(String, String)> {
    let text = fs::read_to_string(shipped("prometheus/alerts.yml")).unwrap();
    let mut name = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        name = line.strip_prefix("- alert: ").unwrap_or(name);
        if let Some(expression) = line.strip_prefix("expr: ") {
            found.push((format!("alert {name}"), expression.to_owned()));
        }
    }
    assert_eq!(found.len(), text.matches("- alert: ").count());
    found
}

/// The series that an expression names, with the labels that it wants of them.
fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut rest = expression;
    while let Some(start) = rest.find(is_of_name) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let labels = behind.strip_prefix('{').and_then(|labels| labels.split_once('}'));
        rest = labels.map_or(behind, |(_, behind)| behind);
        if name.starts_with("stompede_") || name.starts_with("process_") || name == "up" {
            found.insert(format!("{name}{{{}}}", labels.map_or("", |(labels, _)| labels)));
        }
    }
    found
}

/// The labels by which an expression groups.
fn groupings(expression: &str) -> BTreeSet<&str> {
    let lists = ["by (", "without (", "on ("].into_iter().flat_map(|word| expression.split(word).skip(1));
    let labels = lists.flat_map(|list| list.split_once(')').unwrap().0.split(','));
    labels.map(str::trim).collect()
}

#[test]
fn series_and_labels_are_found_in_an_expression() {
    let expression =
        "sum by (le, a) (rate(stompede_x_bucket{b=\"c d\"}[10s])) > 2 * up and on (job) stompede_y";
    assert_eq!(
        selectors(expression).into_iter().collect::<Vec<_>>(),
        ["stompede_x_bucket{b=\"c d\"}", "stompede_y{}", "up{}"]
    );
    assert_eq!(groupings(expression).into_iter().collect::<Vec<_>>(), ["a", "job", "le"]);
}

#[test]
fn promtool_takes_the_shipped_files() {
    let files = ["prometheus/prometheus.yml", "prometheus/alerts.yml"].map(shipped);
    for (what, file) in ["config", "rules"].into_iter().zip(files) {
        let mut command = Command::new("promtool");
        let output = command.args(["check", what]).arg(file).output().expect("the package prometheus");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_query_of_dashboard_and_alerts_finds_what_it_names() {
    let redis = RedisServer::start();
    let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let data = directories[0].path().join("data");
    let (on_disk, _visitors) = lively(directories[0].path(), &["--data", data.to_str().unwrap()]);
    let (shared, _others) = lively(directories[1].path(), &["--redis", &redis.url()]);
    let config = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [shipped("prometheus/alerts.yml")],
        "scrape_configs": [{
            "job_name": "stompede",
            "static_configs": [{"targets": [on_disk.admin, shared.admin]}],
        }],
    });
    let prometheus = Prometheus::start(directories[2].path(), &config);
    prometheus.expect("sum(up{job=\"stompede\"}) == 2", "the brokers are asked");
    for (of, expression) in of_dashboard().into_iter().chain(of_alerts()) {
        let selectors = selectors(&expression);
        assert!(!selectors.is_empty(), "{of}: {expression}");
        for selector in &selectors {
            prometheus.expect(selector, &of);
        }
        for label in groupings(&expression) {
            let with = |selector: &String| with_label(selector, &format!("{label}!=\"\""));
            let named = selectors.iter().map(with).collect::<Vec<_>>().join(" or ");
            prometheus.expect(&named, &of);
        }
        // What is compared finds nothing while all is well.
        if of.starts_with("panel") && !expression.contains('>') {
            prometheus.expect(&expression, &of);
        } else {
            prometheus.query(&expression).unwrap_or_else(|fault| panic!("{of}: {expression}: {fault}"));
        }
    }
    let (_, rules) = ask(&prometheus.address, "/api/v1/rules");
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let loaded = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(loaded.len(), of_alerts().len());
    assert!(loaded.iter().all(|rule| rule["lastError"].is_null()), "{rules}");
}

/// A selector that asks for one more label.
fn with_label(selector: &str, label: &str) -> String {
    let open = selector.trim_end_matches('}');
    let comma = if open.ends_with('{') { "" } else { "," };
    format!("{open}{comma}{label}}}")
}
